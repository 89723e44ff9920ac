//! Whose dictionary lies in a directory, and how is it read?
//!
//! A file per form. SAELens' is the one that is written; those of other tools are read where what they compute is known and certain, and
//! named otherwise ([`foreign`]).

pub(crate) mod file;
mod foreign;
mod gemma_scope;
mod known;
mod npz;
mod older;
pub(crate) mod saelens;
mod sparsify;
pub(crate) mod tensors;

use crate::error::SaeError;
use crate::sae::Sae;
use std::path::Path;
use untangle_schema::sae::files;

impl Sae {
    /// Reads a dictionary's directory: SAELens' form of any version, with the architectures `standard`, `topk`, `abstopk`, `jumprelu`, `gated` and
    /// four transcoders, EleutherAI's sparsify, and Gemma Scope. Others, and settings that would change the numbers, are refused by
    /// name rather than guessed at; what is not used and may matter is in [`Sae::notes`].
    ///
    /// # Errors
    /// When a file is missing, broken, or asks for something that is not supported.
    pub fn load(dir: &Path) -> Result<Self, SaeError> {
        if let Some(read) = gemma_scope::reader_of(dir) {
            return read.read(dir);
        }
        let path = dir.join(files::CONFIG);
        if !path.exists() {
            return Err(foreign::instead_of(dir));
        }
        let config = file::json(&path)?;
        if sparsify::is_its(&config, dir) {
            return sparsify::read(config, dir);
        }
        saelens::read(config, dir)
    }

    /// Whether a directory holds a dictionary, of this or of another tool, as far as the names of its files say.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(files::CONFIG).exists() || gemma_scope::reader_of(dir).is_some() || foreign::tool_of(dir).is_some()
    }
}
