//! What the tests share: the binary, scratch folders, test material.

mod command;
mod material;
mod matrix;
mod process;
pub(crate) mod server;
mod tiny_model;

pub(crate) use command::{Outcome, Untangle};
pub(crate) use material::{corpus_text, skip};
pub(crate) use matrix::matrix;
pub(crate) use process::{kill_after, peak_anonymous_memory, timed};
pub(crate) use tiny_model::TinyModel;

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The workspace's root folder.
pub(crate) fn workspace_root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// A folder on the target directory's file system, removed at the end of the test.
pub(crate) fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo provides a temporary folder")
}

/// Names of the entries of a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let listing = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> =
        listing.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
