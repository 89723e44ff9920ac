//! What can go wrong with a dictionary.

use std::path::PathBuf;
use untangle_schema::{Classify, Fault};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaeError {
    /// Reading or writing failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `cfg.json` is not what it should be.
    #[error("{path}: {reason}", path = .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The file of tensors cannot be read.
    #[error("{path}: not a whole safetensors file ({reason}); copy or train it again", path = .path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A tensor is missing, has the wrong shape or the wrong type.
    #[error("{path}: tensor `{tensor}` {problem}", path = .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A dictionary of another tool.
    #[error("{path}: holds a dictionary of {tool}, which is not read here; {remedy}", path = .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is, and by what that is known.
        tool: String,
        /// What to do.
        remedy: String,
    },
    /// A directory without a dictionary.
    #[error("{path}: {problem}; {remedy}", path = .path.display())]
    NoDictionary {
        /// The directory.
        path: PathBuf,
        /// What it is or holds instead.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The tensors do not fit into memory.
    #[error("{path}: takes about {gib} GiB of memory, more than can be had here", path = .path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Memory that reading it needs.
        gib: u64,
    },
    /// Rows of another width than the dictionary's.
    #[error(
        "the dictionary reads activations of width {expected}, these rows have {found}; take those of its own model and hook point"
    )]
    Width {
        /// `d_in` of the dictionary.
        expected: usize,
        /// Width of the rows.
        found: usize,
    },
    /// Slices that do not fit together.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The operation.
        what: &'static str,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape or length that was given.
        found: Vec<usize>,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl Classify for SaeError {
    fn fault(&self) -> Fault {
        match self {
            SaeError::Io { source, .. } => Fault::of_file(source),
            SaeError::Config { .. }
            | SaeError::Weights { .. }
            | SaeError::Tensor { .. }
            | SaeError::Foreign { .. }
            | SaeError::NoDictionary { .. }
            | SaeError::Memory { .. }
            | SaeError::Width { .. } => Fault::BadInput,
            SaeError::Shape { .. } | SaeError::Torch(_) => Fault::Internal,
        }
    }
}
