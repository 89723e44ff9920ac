//! What can go wrong with a world, its tokenizer and its models.

use crate::stage::{Stage, WORLD};
use std::path::PathBuf;
use thiserror::Error;
use untangle_model::ModelError;
use untangle_schema::{Classify, Fault};

/// A failure of this crate.
#[derive(Debug, Error)]
pub enum OrganismError {
    /// The description of the world, which is part of the program, is damaged.
    #[error("{file}, line {line}: {reason}")]
    World {
        /// Which file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// The tokenizer could not be trained.
    #[error("training a tokenizer of {vocab_size} tokens: {reason}")]
    Tokenizer {
        /// Tokens asked for.
        vocab_size: usize,
        /// What the library says.
        reason: String,
    },
    /// The model refuses its configuration, its tokenizer or its input.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The state of a training run cannot be gone on from.
    #[error("{}: {reason}; remove the file to begin anew", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No bundled model has this name.
    #[error("the organism has no stage `{name}`; it has {}; `organism:random` has learned nothing", known_stages())]
    UnknownStage {
        /// The name asked for.
        name: String,
    },
    /// A model that was trained on another world than the program's.
    #[error(
        "{}: a model of {}; this program has the world `{}`: name the bundled `organism`, or train the folder anew with \
         `organism train`",
        dir.display(),
        world.as_ref().map_or("the first world, whose documents had no topics".to_owned(), |name| format!("the world `{name}`")),
        WORLD
    )]
    OtherWorld {
        /// Folder of the model.
        dir: PathBuf,
        /// Name of its world; the first one had none.
        world: Option<String>,
    },
    /// A stage's parent is not trained yet.
    #[error("{}: there is no finished model of stage {parent}, which {stage} starts from; train it first", dir.display())]
    NoParent {
        /// Where it was looked for.
        dir: PathBuf,
        /// The stage to be trained.
        stage: Stage,
        /// The stage that it starts from.
        parent: Stage,
    },
    /// A pass without a hook gave no logits.
    #[error("a pass without a hook gave no logits")]
    NoLogits,
    /// The user asked to stop; the run can be gone on with.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl Classify for OrganismError {
    fn fault(&self) -> Fault {
        match self {
            OrganismError::World { .. } | OrganismError::NoLogits => Fault::Internal,
            OrganismError::Tokenizer { .. } | OrganismError::UnknownStage { .. } => Fault::Usage,
            OrganismError::Model(error) => error.fault(),
            OrganismError::Io { source, .. } => Fault::of_file(source),
            OrganismError::State { .. } | OrganismError::NoParent { .. } | OrganismError::OtherWorld { .. } => {
                Fault::BadInput
            }
            OrganismError::Interrupted => Fault::Interrupted,
        }
    }
}

fn known_stages() -> String {
    let [first @ .., last] = Stage::ALL.map(Stage::name);
    format!("{} and {last}", first.join(", "))
}
