//! `/api/v1/read` and `/api/v1/activations`: what fires in a text.

use crate::limits::{READ_TEXTS, TOLD};
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use untangle_interpret::Summary;
use untangle_interpret::read::ReadToken;

/// Features that are told of a token where no number is said.
const USUAL: u64 = 64;

/// Asks for what fires in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReadRequest {
    /// Name of the dictionary; the first where it is left out.
    pub dictionary: Option<String>,
    /// The text.
    pub prompt: Option<String>,
    /// Whether losses, what is missing and likely next tokens are wanted as well, which takes several times as long.
    pub losses: Option<bool>,
    /// Features told of every token, strongest first.
    pub top: Option<u64>,
}

/// What fires in a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadAnswer {
    /// Name of the dictionary.
    pub dictionary: String,
    /// The tokens.
    pub tokens: Vec<ReadToken>,
    /// Mean of the losses, in nats; null where there are none.
    pub mean_loss: Option<f64>,
    /// Mean of the losses with reconstructions in the activations' place.
    pub mean_spliced_loss: Option<f64>,
    /// The part of the activations that reconstructions miss.
    pub missing: Option<f64>,
    /// What is known of the features that fire, by number; empty without a database.
    pub features: Vec<Summary>,
}

/// Asks how strongly a feature fires in texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationsRequest {
    /// Name of the dictionary; the first where it is left out.
    pub dictionary: Option<String>,
    /// The feature.
    pub feature: Option<u64>,
    /// The texts.
    pub texts: Option<Vec<String>>,
}

/// How strongly a feature fires.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivationsAnswer {
    /// Name of the dictionary.
    pub dictionary: String,
    /// The feature.
    pub feature: usize,
    /// The texts, in their order.
    pub texts: Vec<FiredText>,
}

/// A text, token by token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FiredText {
    /// Texts of its tokens.
    pub tokens: Vec<String>,
    /// How strongly the feature fires on each.
    pub activations: Vec<f32>,
}

impl ReadRequest {
    /// Features told of every token.
    pub(crate) fn top(&self) -> Result<usize, Problem> {
        match self.top.unwrap_or(USUAL) {
            top if (1..=TOLD as u64).contains(&top) => Ok(top as usize),
            top => Err(Problem::field("top", format!("top is {top}; expected 1 to {TOLD}"))),
        }
    }
}

impl ActivationsRequest {
    /// The texts.
    pub(crate) fn texts(&self) -> Result<&[String], Problem> {
        match self.texts.as_deref() {
            Some(texts) if (1..=READ_TEXTS).contains(&texts.len()) => Ok(texts),
            texts => {
                let n = texts.map_or(0, <[String]>::len);
                Err(Problem::field("texts", format!("there are {n} texts; expected 1 to {READ_TEXTS}")))
            }
        }
    }
}
