//! Which kind of failure is an error of this crate, and how are its facts put into words?

use crate::differences::Difference;
use crate::error::StoreError;
use std::path::Path;
use untangle_schema::{Classify, Fault};

impl StoreError {
    /// Turns what the system said about `path` into an error of this crate.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
        move |source| StoreError::Io { path: path.to_owned(), source }
    }
}

/// Differences in one line.
pub(crate) fn join(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// At most a dozen names, for a message of one line.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// What a file holds, for a message of one line.
pub(crate) fn listing(names: &[String]) -> String {
    if names.is_empty() { "it holds none".to_owned() } else { format!("it holds {}", few(names)) }
}

impl Classify for StoreError {
    fn fault(&self) -> Fault {
        use StoreError as E;
        match self {
            E::Io { source, .. } => Fault::of_file(source),
            E::DiskFull { .. } | E::Locked { .. } => Fault::Io,
            E::Exists { .. } | E::OtherSettings { .. } | E::NothingNamed | E::NamedTwice { .. } => Fault::Usage,
            E::HeldOut { .. } | E::TooFewRows { .. } | E::EmptyBatch => Fault::Usage,
            E::Source { fault, .. } | E::Refused { fault, .. } => *fault,
            E::Interrupted => Fault::Interrupted,
            E::Unfinished { .. } | E::BadRows { .. } | E::ReaderGone { .. } => Fault::Internal,
            _ => Fault::BadInput,
        }
    }
}
