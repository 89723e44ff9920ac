//! What can be wrong with texts to contrast and with files of vectors.

use std::path::{Path, PathBuf};

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorProblem {
    /// Too few texts, some of which are kept for judging.
    #[error("there are {found} {which} texts, and at least {least} are needed, as every fifth judges; give more")]
    TooFew {
        /// Texts of one kind.
        found: usize,
        /// Which kind.
        which: &'static str,
        /// How many there must be.
        least: usize,
    },
    /// Differences of texts that are no pairs.
    #[error(
        "the principal direction of differences needs pairs of texts, and these are two sets; take mean or logistic"
    )]
    NoPairs,
    /// A kind of text that activates the same as the other.
    #[error("at {point} the two kinds of text are the same to the model; give texts that differ")]
    NoDifference {
        /// The hook point.
        point: String,
    },
    /// A text without a token to read.
    #[error("text {number} of the {which} ones has no token to read: {text:?}; leave it out")]
    NothingToRead {
        /// Its number, from 1.
        number: usize,
        /// Which kind.
        which: &'static str,
        /// The text.
        text: String,
    },
    /// A file that is no GGUF control vector.
    #[error("{path}: {problem}; give a GGUF control vector, as `untangle vector`, repeng and llama.cpp write them", path = .path.display())]
    NoControlVector {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A layer that the file has no direction for.
    #[error("{}", no_such_layer(.path, .asked.as_deref(), .known))]
    NoSuchLayer {
        /// The file.
        path: PathBuf,
        /// What was asked for; none where nothing was, and there are several.
        asked: Option<String>,
        /// What there is.
        known: String,
    },
    /// A dictionary that writes elsewhere than the vector lies.
    #[error("the dictionary writes at {written}, and there is no vector there; add that to the hooks")]
    WritesElsewhere {
        /// Where the dictionary writes.
        written: String,
    },
}

fn no_such_layer(path: &Path, asked: Option<&str>, known: &str) -> String {
    let path = path.display();
    match asked {
        Some(asked) => format!("{path} has no direction for {asked}, but for {known}"),
        None => format!(
            "{path} has directions for {known}; say which, as in vector '{path}' in {first}",
            first = known.split(", ").next().unwrap_or_default()
        ),
    }
}
