//! What is asked of generation, and what comes of it.

use crate::sampling::Sampling;

/// How a prompt is continued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens that are added.
    pub max_new_tokens: usize,
    /// How each is chosen.
    pub sampling: Sampling,
    /// Seed of the choice.
    pub seed: u64,
    /// Whether an end-of-sequence token ends the text; it is not part of the result.
    pub stop_at_eos: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { max_new_tokens: 64, sampling: Sampling::default(), seed: 0, stop_at_eos: true }
    }
}

/// A prompt and how it is continued.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// How it is continued.
    pub options: GenerateOptions,
}

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It has as many new tokens as were asked for.
    MaxNewTokens,
    /// The model chose an end-of-sequence token.
    EndOfSequence,
    /// The model's context is full.
    ContextFull,
    /// Words came that end it, see [`super::written`].
    StopString,
    /// Whoever listened wanted no more.
    Cancelled,
}

/// What was added to a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The new tokens, without the prompt and without an end-of-sequence token that ended them.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub stop: StopReason,
}
