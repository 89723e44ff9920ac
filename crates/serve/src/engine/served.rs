//! What is served?

use std::path::PathBuf;
use untangle_interpret::Dictionary;
use untangle_model::LanguageModel;

/// What is served.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// The model.
    pub model: &'a LanguageModel,
    /// Dictionaries whose features can be named.
    pub dictionaries: &'a [Dictionary<'a>],
    /// Files of control vectors that can be named.
    pub vectors: &'a [PathBuf],
}
