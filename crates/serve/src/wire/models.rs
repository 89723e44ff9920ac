//! `/v1/models` and `/health`: what is served, and how much of it is taken.

use serde::Serialize;

/// All models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    /// The model, and its steered variants.
    pub data: Vec<ModelCard>,
}

/// A model, and what it can be steered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelCard {
    /// Its name.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// When the server began, in seconds since 1970.
    pub created: u64,
    /// `untangle`.
    pub owned_by: &'static str,
    /// Tokens that a text may have.
    pub context_length: usize,
    /// Whether it replies to conversations.
    pub chat: bool,
    /// Dictionaries whose features can be named.
    pub dictionaries: Vec<DictionaryCard>,
    /// Files of control vectors that can be named.
    pub vectors: Vec<String>,
    /// What is steered under this name.
    pub steering: Vec<String>,
}

/// A dictionary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DictionaryCard {
    /// Its name, for features of several dictionaries: `NAME#12`.
    pub name: String,
    /// The number of its features.
    pub features: usize,
    /// Whether features can be named by label, and strengths be multiples of the largest activation (`2x`).
    pub has_database: bool,
}

/// How busy the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok`, or `closing` where it takes no more.
    pub status: &'static str,
    /// Texts that are being written.
    pub writing: usize,
    /// Texts that wait.
    pub waiting: usize,
    /// Questions that wait: what fires in a text.
    pub questions: usize,
    /// Texts that may wait, and as many questions.
    pub queue: usize,
}
