//! What can go wrong in training.

use std::path::PathBuf;
use untangle_sae::SaeError;
use untangle_schema::{Classify, Fault};
use untangle_store::StoreError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Settings that contradict each other or the data.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting, as the command line spells it.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A finished dictionary lies at the output.
    #[error("{path} exists already; choose another --out, or --force to replace it", path = .path.display())]
    Exists {
        /// The output directory.
        path: PathBuf,
    },
    /// An unfinished run of other settings lies at the output.
    #[error("{path} was begun with other settings ({differing}); repeat those, choose another --out, or remove it", path = .path.display())]
    OtherRun {
        /// The partial directory.
        path: PathBuf,
        /// The differing fields, each with both values.
        differing: String,
    },
    /// A checkpoint cannot be used.
    #[error("{path}: {reason}; pass --force to begin anew", path = .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A grid that cannot be.
    #[error("{path}: {problem}", path = .path.display())]
    Grid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The loss is no longer a number.
    #[error("{}the loss of step {step} is not finite; lower --lr (it was {lr:e})", named(.name))]
    Diverged {
        /// The dictionary's name; empty for the only one.
        name: String,
        /// The step, from 0.
        step: u64,
        /// Its learning rate.
        lr: f64,
    },
    /// The user asked to stop.
    #[error("interrupted after step {step}; the same command continues from there")]
    Interrupted {
        /// Steps done and kept.
        step: u64,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Reading activations failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A kernel or a file of the dictionary failed.
    #[error(transparent)]
    Sae(#[from] SaeError),
}

/// Refuses a setting, as the command line spells it.
pub(crate) fn refuse<T>(setting: &'static str, problem: String) -> Result<T, TrainError> {
    Err(TrainError::Setting { setting, problem })
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}: ") }
}

impl Classify for TrainError {
    fn fault(&self) -> Fault {
        match self {
            // What is wrong with the columns that are read is a fault of the store, as it is where one is not there.
            TrainError::Setting { setting: "--hook" | "--hook-out", .. } => Fault::BadInput,
            TrainError::Exists { .. } | TrainError::OtherRun { .. } | TrainError::Setting { .. } => Fault::Usage,
            TrainError::Checkpoint { .. } | TrainError::Grid { .. } | TrainError::Diverged { .. } => Fault::BadInput,
            TrainError::Io { source, .. } => Fault::of_file(source),
            TrainError::Interrupted { .. } => Fault::Interrupted,
            TrainError::Store(e) => e.fault(),
            TrainError::Sae(e) => e.fault(),
        }
    }
}
