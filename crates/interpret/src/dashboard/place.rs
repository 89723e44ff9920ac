//! Where a dashboard is written to, and how much of it lies in a file.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use untangle_store::StoreError;

/// Lines of the list in a file (chosen: a quarter of a megabyte, of which the first page needs one).
pub const INDEX_SHARD: usize = 2048;
/// Features in a file (chosen: some hundred kilobytes, which a browser reads in a few milliseconds).
pub const FEATURE_SHARD: usize = 64;

/// The folder that is written to.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(super) fn new(root: PathBuf) -> Self {
        Place { root }
    }

    /// Writes a file of this name, whose folders are made where they are missing.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<(), StoreError> {
        let path = self.root.join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            File::create_new(&path)?.write_all(content.as_bytes())
        };
        write().map_err(StoreError::io(&path))
    }
}
