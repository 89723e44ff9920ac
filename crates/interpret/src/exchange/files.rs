//! Which files make up an export, so that nothing else is ever replaced by one?

use super::delphi;
use crate::dashboard::names;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use untangle_store::{Artefact, StoreError};

/// An export's folder.
pub const EXPORT: Artefact = Artefact { name: "a finished export of Untangle", is_folder: true, is_at: is_export };

/// Says that a folder is one.
pub(super) const RECORD: &str = "export.json";
const KIND: &str = "untangle export";
/// Folders of batches, and files beside them.
const FOLDERS: [&str; 3] = ["features", "activations", "explanations"];
const FILES: [&str; 9] = [
    "model.jsonl",
    "release.jsonl",
    "source.jsonl",
    "sourceset.jsonl",
    "run_settings.json",
    "skipped_indexes.json",
    "features.csv",
    "features.parquet",
    "labels.parquet",
];

/// `export.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    kind: String,
    tool_version: String,
    features: usize,
}

impl Record {
    pub(super) fn of(features: usize, tool_version: &str) -> Self {
        Record { kind: KIND.to_owned(), tool_version: tool_version.to_owned(), features }
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// Writes a file of this name, whose folders are made where they are missing.
pub(super) fn write(root: &Path, name: &str, content: &[u8]) -> Result<(), StoreError> {
    let path = root.join(name);
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        File::create_new(&path)?.write_all(content)
    };
    write().map_err(StoreError::io(&path))
}

/// The same, compressed.
pub(super) fn write_gzip(root: &Path, name: &str, content: &[u8]) -> Result<(), StoreError> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packed.write_all(content).and_then(|()| packed.finish()).map_err(StoreError::io(root))?;
    write(root, name, &packed)
}

/// The number of features of a finished export; none of any other folder.
pub fn exported(folder: &Path) -> Option<usize> {
    let record = fs::read(folder.join(RECORD)).ok()?;
    let record = serde_json::from_slice::<Record>(&record).ok().filter(|record| record.kind == KIND)?;
    is_part(folder).ok()?.then_some(record.features)
}

fn is_export(folder: &Path) -> io::Result<bool> {
    Ok(exported(folder).is_some())
}

/// Whether a folder holds nothing but files of an export, all of them or some.
pub(super) fn is_part(folder: &Path) -> io::Result<bool> {
    for (name, is_folder) in names(folder)? {
        let known = match is_folder {
            true if name == delphi::FOLDER => is_of_delphi(&folder.join(&name))?,
            true => {
                FOLDERS.contains(&&*name)
                    && names(&folder.join(&name))?
                        .iter()
                        .all(|(inner, is_folder)| !is_folder && is_batch(inner, ".jsonl.gz"))
            }
            false => name == RECORD || FILES.contains(&&*name) || is_batch(&name, ".json"),
        };
        if !known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a folder holds nothing but folders of hook points.
fn is_of_delphi(folder: &Path) -> io::Result<bool> {
    for (name, is_folder) in names(folder)? {
        let is_file = |(name, is_folder): (String, bool)| !is_folder && delphi::is_file(&name);
        if !is_folder || !names(&folder.join(&name))?.into_iter().all(is_file) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_batch(name: &str, end: &str) -> bool {
    let number = name.strip_prefix("batch-").and_then(|rest| rest.strip_suffix(end)).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_here_is_an_export() {
        let folder = tempfile::tempdir().expect("a folder");
        let is = || is_export(folder.path()).expect("read");
        write(folder.path(), "features/batch-0.jsonl.gz", b"").expect("written");
        assert!(!is() && is_part(folder.path()).expect("read"), "not finished");
        write(folder.path(), RECORD, Record::of(3, "1").text().as_bytes()).expect("written");
        assert!(is());
        for stranger in [
            "notes.txt",
            "latents/x/mine.safetensors",
            "latents/0_1.safetensors",
            "features/batch-.jsonl.gz",
            "features/mine.txt",
            "mine/batch-0.jsonl.gz",
            "batch-x.json",
        ] {
            write(folder.path(), stranger, b"").expect("written");
            assert!(!is(), "{stranger}");
            let path = folder.path().join(stranger);
            fs::remove_file(&path).expect("removed");
            let _ = fs::remove_dir(path.parent().expect("a folder"));
            let _ = fs::remove_dir_all(folder.path().join("latents"));
        }
        write(folder.path(), "latents/blocks.0.hook/0_1.safetensors", b"").expect("written");
        assert!(is());
    }
}
