//! Whose dictionary lies in a directory, and how is it read and written?
//!
//! A file for each format ([`format`] says what is asked of one), and a [`table`] of them. A format turns files into a
//! [`Description`](crate::Description) and [`Parts`](crate::Parts), and back where it is one that is written; what its keys are called
//! is known nowhere else. Formats of other tools are read where what they compute is known and certain, and named otherwise
//! ([`foreign`]).

mod crosscoder;
mod file;
mod foreign;
mod format;
mod gemma_scope;
mod npz;
mod saelens;
mod sparsify;
mod table;
mod tensors;

pub use saelens::Written;

use crate::crosscoder::Crosscoder;
use crate::error::SaeError;
use crate::io::io;
use crate::sae::Sae;
use format::{Folder, Found};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
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
        let folder = Folder::open(dir)?;
        let Some(format) = table::format_of(&folder) else {
            return Err(foreign::instead_of(dir));
        };
        if format.of_several {
            let reason = "is a crosscoder, whose features belong to several activations at once; inspect, evaluate, features, encode, read and steer take it";
            return Err(SaeError::Config { path: dir.join(format.marker), reason: reason.to_owned() });
        }
        let Found { description, parts, notes } = (format.read)(folder)?;
        Ok(Sae::new(description, parts)?.with_notes(notes))
    }

    /// Whether a directory holds a dictionary, of this or of another tool, as far as the names of its files say.
    pub fn is_at(dir: &Path) -> bool {
        table::is_at(dir) || foreign::tool_of(dir).is_some()
    }

    /// Writes `cfg.json` and `sae_weights.safetensors`, as SAELens has them, into `dir`, which is made where it is missing. Each file
    /// appears whole, by rename.
    ///
    /// # Errors
    /// When writing fails, or SAELens has no form for what the dictionary computes.
    pub fn save(&self, dir: &Path) -> Result<(), SaeError> {
        save(self, false, dir)
    }

    /// What [`Self::save`] writes into `cfg.json`, to be shown, recorded and compared.
    pub fn written(&self) -> Written {
        Written::of(self.description(), self.parts())
    }
}

impl Crosscoder {
    /// Whether a directory holds a crosscoder, as far as its `cfg.json` says.
    pub fn is_at(dir: &Path) -> bool {
        let folder = file::json(&dir.join(files::CONFIG)).map(|config| Folder { dir, config });
        folder.is_ok_and(|folder| (crosscoder::FORMAT.sniff)(&folder))
    }

    /// Reads a crosscoder's directory.
    ///
    /// # Errors
    /// When a file is missing or broken, or the tensors are not what the configuration says.
    pub fn load(dir: &Path) -> Result<Self, SaeError> {
        let config = file::json(&dir.join(files::CONFIG))?;
        let Found { description, parts, .. } = (crosscoder::FORMAT.read)(Folder { dir, config })?;
        Self::new(description, parts)
    }

    /// Writes `cfg.json` and `sae_weights.safetensors` into `dir`, which is made where it is missing. Each file appears
    /// whole, by rename.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, dir: &Path) -> Result<(), SaeError> {
        save(self.joined(), true, dir)
    }

    /// What [`Self::save`] writes into `cfg.json`, to be shown.
    pub fn written(&self) -> Value {
        crosscoder::written(self.description())
    }
}

fn save(sae: &Sae, of_several: bool, dir: &Path) -> Result<(), SaeError> {
    fs::create_dir_all(dir).map_err(io(dir))?;
    table::writer(of_several)(sae.description(), sae.parts(), dir)
}

/// Longest header of safetensors that is believed.
const LONGEST_HEADER: u64 = 100 << 20;

/// Whether what [`Sae::save`] or [`Crosscoder::save`] wrote lies in `dir`, as far as the beginnings of its files say.
///
/// # Errors
/// When one of the two files cannot be read.
pub fn is_saved_at(dir: &Path) -> std::io::Result<bool> {
    let config: Value = serde_json::from_slice(&fs::read(dir.join(files::CONFIG))?).unwrap_or_default();
    Ok(config["architecture"].is_string() && has_header(&dir.join(files::WEIGHTS))?)
}

/// Whether a file begins as safetensors do.
fn has_header(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut length = [0; 8];
    if size < 10 || file.read_exact(&mut length).is_err() {
        return Ok(false);
    }
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    if length > LONGEST_HEADER.min(size - 8) {
        return Ok(false);
    }
    file.take(length).read_to_end(&mut header)?;
    Ok(serde_json::from_slice::<Value>(&header).is_ok_and(|header| header.is_object()))
}
