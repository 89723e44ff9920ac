//! What is read, as it is drawn.

use super::named::Named;
use clap::ValueEnum;
use serde::Serialize;
use untangle_interpret::read::{Ablation, Contrast, Reading};

/// What features are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// Its activation
    Activation,
    /// Its activation as a part of the largest that was seen, which needs --features
    Share,
}

/// A prompt with everything that is known of it.
#[derive(Serialize)]
pub(super) struct Read {
    pub(super) prompt: String,
    #[serde(flatten)]
    pub(super) reading: Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ablation: Option<Ablation>,
}

/// Everything that is drawn.
pub(super) struct Told {
    /// Features shown of every token.
    pub(super) top: usize,
    pub(super) by: By,
    /// What is read with what.
    pub(super) head: String,
    pub(super) read: Vec<Read>,
    /// Of two prompts.
    pub(super) contrast: Option<Contrast>,
    pub(super) named: Named,
}
