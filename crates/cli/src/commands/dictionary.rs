//! A dictionary's directory, and which rows of a store may judge it.

use clap::ValueEnum;
use std::fs;
use std::path::Path;
use untangle_sae::Sae;
use untangle_schema::sae::files;
use untangle_store::{ActivationSet, HeldOut, Part};
use untangle_train::TrainingRecord;

/// A dictionary with what its training recorded.
pub(crate) struct Dictionary {
    /// The dictionary.
    pub(crate) sae: Sae,
    /// Name of its directory.
    pub(crate) name: String,
    training: Option<Training>,
}

/// What training did not read, and of which store. Absent beside dictionaries from elsewhere.
#[derive(Debug)]
struct Training {
    held_out: HeldOut,
    content: String,
}

impl Training {
    fn read(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(dir.join(files::TRAINING)).ok()?;
        let record: TrainingRecord = serde_json::from_str(&text).ok()?;
        Some(Training { held_out: serde_json::from_value(record.data.held_out).ok()?, content: record.data.content })
    }
}

/// Rows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rows {
    /// The held-out part of the store that the dictionary was trained on, all rows of another
    Auto,
    /// Every row
    All,
    /// Rows that training may read
    Train,
    /// Rows that it may not
    HeldOut,
}

impl Dictionary {
    /// Reads the directory.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Self> {
        let sae = Sae::load(dir)?;
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = real.file_name().map_or_else(|| "sae".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Dictionary { sae, name, training: Training::read(dir) })
    }

    /// Which part of `store` is meant, by which split, and its name.
    pub(crate) fn rows_of(&self, store: &ActivationSet, rows: Rows) -> (HeldOut, Part, &'static str) {
        let own = self.training.as_ref().filter(|training| training.content == store.content_identity());
        let split = own.map_or_else(HeldOut::default, |training| training.held_out.clone());
        match rows {
            Rows::Auto if own.is_none() || split == HeldOut::None => (HeldOut::None, Part::All, "all"),
            Rows::Auto | Rows::HeldOut => (split, Part::HeldOut, "held-out"),
            Rows::Train => (split, Part::Train, "train"),
            Rows::All => (split, Part::All, "all"),
        }
    }
}
