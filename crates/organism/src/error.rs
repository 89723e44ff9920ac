//! What can be wrong with the files that describe a world.

use thiserror::Error;
use untangle_schema::{Classify, Fault};

/// A defect of a world's description.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{file}, line {line}: {reason}")]
pub struct WorldError {
    /// Which file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what is expected.
    pub reason: String,
}

impl Classify for WorldError {
    fn fault(&self) -> Fault {
        Fault::Internal // the description is part of the program
    }
}
