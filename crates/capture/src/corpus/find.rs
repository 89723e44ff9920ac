//! Which files do paths mean?
//!
//! A file means itself. A folder means every file below it whose ending says that it holds text, in the order of their
//! paths. What begins with a dot is passed over; links to folders are not followed, because they may lead in circles.

use super::file::TextFile;
use super::form::FileForm;
use crate::error::CaptureError;
use std::fs;
use std::path::Path;

/// Files, and what was found beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) files: Vec<TextFile>,
    /// Names of files in folders that are no text.
    pub(super) ignored: Vec<String>,
}

impl Found {
    /// Adds what `path` means.
    pub(super) fn add(&mut self, path: &Path) -> Result<(), CaptureError> {
        if !path.is_dir() {
            self.files.push(TextFile::at(path)?);
            return Ok(());
        }
        let before = self.files.len();
        self.walk(path, "")?;
        if self.files.len() == before {
            let problem = "no file of text in this folder; give one that holds .txt, .jsonl or .parquet files";
            return Err(CaptureError::NotAFile { path: path.to_owned(), problem });
        }
        // By whole paths, so that the order is that of any other program which sorts them.
        self.files[before..].sort_by(|a, b| a.name().cmp(b.name()));
        Ok(())
    }

    /// Adds the files below `folder`, which is `prefix` from where the walk began.
    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<(), CaptureError> {
        for entry in fs::read_dir(folder).map_err(CaptureError::io(folder))? {
            let entry = entry.map_err(CaptureError::io(folder))?;
            let own_name = entry.file_name().to_string_lossy().into_owned();
            if own_name.starts_with('.') {
                continue;
            }
            let (path, name) = (entry.path(), format!("{prefix}{own_name}"));
            if entry.file_type().map_err(CaptureError::io(&path))?.is_dir() {
                self.walk(&path, &format!("{name}/"))?;
            } else if path.is_dir() {
                self.ignored.push(name);
            } else {
                match FileForm::in_folder(&own_name) {
                    Some(form) => self.files.push(TextFile::named(&path, name, form)?),
                    None => self.ignored.push(name),
                }
            }
        }
        Ok(())
    }
}
