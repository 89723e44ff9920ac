//! What can go wrong between a word and the thing that it names.

use std::io;
use std::path::PathBuf;
use untangle_capture::CaptureError;
use untangle_model::{HubError, ModelError};
use untangle_organism::OrganismError;
use untangle_sae::SaeError;
use untangle_schema::{Classify, Fault};

/// A word that names nothing, or a thing that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A text.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A dictionary.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// The bundled model.
    #[error(transparent)]
    Organism(#[from] OrganismError),
    /// Nothing that could be a model.
    #[error(
        "{name}: {what}; give a model directory in Hugging Face form (config.json, tokenizer.json, *.safetensors), the \
         id `owner/name` of a model on the hub, or `{bundled}` for the bundled model", name = .name.display()
    )]
    NoModel {
        /// What was named.
        name: PathBuf,
        /// What it is instead.
        what: &'static str,
        /// Name of the bundled model.
        bundled: &'static str,
    },
    /// A model's revision, twice.
    #[error("{id}: it names a revision, and so does --revision {asked}; choose one")]
    TwoRevisions {
        /// The model.
        id: String,
        /// The second one.
        asked: String,
    },
    /// A revision of what has none.
    #[error("--revision is for models of the hub, such as `owner/name`")]
    NoRevisions,
    /// A stage of the bundled model that has not learned to reply.
    #[error("{name}: it has no chat template, because it has not learned to reply; {able} have one")]
    DoesNotReply {
        /// The model.
        name: String,
        /// Those that have.
        able: String,
    },
    /// Standard input as a text, from a keyboard.
    #[error("--text -: standard input is a terminal; pipe a text into it")]
    Terminal,
    /// Standard input, twice.
    #[error("--text: `-` is named twice, and standard input can be read once")]
    InputTwice,
    /// A part of the world's documents that there is not.
    #[error("the organism's world has no documents `{part}`; it has train, validation, test and all")]
    NoSuchPart {
        /// What was named.
        part: String,
    },
    /// The user asked to stop.
    #[error("{what}")]
    Interrupted {
        /// What was left undone.
        what: &'static str,
    },
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// The file, or standard input.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The record of a training cannot be read. Taken for none, it would make rows that were trained on judge the dictionary.
    #[error(
        "{path}: it does not say what the dictionary was trained on ({reason}); fetch it again or train again, or remove it \
         to have every row taken as one that training did not see", path = .path.display()
    )]
    DamagedRecord {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is no recipe.
    #[error("{path}: it is no recipe for steering: {reason}", path = .path.display())]
    NoRecipe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A prompt that is longer than the model's context.
    #[error(
        "prompt {number} (`{begins} …`) has {tokens} tokens, and the model's context has {max_context}; shorten it"
    )]
    LongPrompt {
        /// Its number, from 1.
        number: usize,
        /// How it begins.
        begins: String,
        /// Its tokens.
        tokens: usize,
        /// Tokens that the model can read.
        max_context: usize,
    },
    /// Folders without a dictionary.
    #[error("{names}: holds no dictionary; name a dictionary's directory or a grid's")]
    NoDictionary {
        /// What was named.
        names: String,
    },
}

impl SourceError {
    /// A failure to read or write `what`.
    pub(crate) fn io(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| SourceError::Io { what, source }
    }
}

impl Classify for SourceError {
    fn fault(&self) -> Fault {
        use SourceError as E;
        match self {
            E::Model(error) => error.fault(),
            E::Hub(error) => error.fault(),
            E::Capture(error) => error.fault(),
            E::Sae(error) => error.fault(),
            E::Organism(error) => error.fault(),
            E::LongPrompt { .. }
            | E::TwoRevisions { .. }
            | E::NoRevisions
            | E::Terminal
            | E::InputTwice
            | E::NoSuchPart { .. } => Fault::Usage,
            E::Interrupted { .. } => Fault::Interrupted,
            E::Io { source, .. } => Fault::of_file(source),
            E::NoModel { .. }
            | E::DoesNotReply { .. }
            | E::DamagedRecord { .. }
            | E::NoRecipe { .. }
            | E::NoDictionary { .. } => Fault::BadInput,
        }
    }
}
