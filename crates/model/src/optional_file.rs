//! What does a file hold that a model may lack?

use crate::error::ModelError;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use untangle_schema::git_lfs;

/// The content of a file that need not be there.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, ModelError> {
    match fs::read(path) {
        Ok(text) if git_lfs::is_pointer(&text) => Err(ModelError::Pointer { path: path.to_owned() }),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::Io { path: path.to_owned(), source }),
    }
}
