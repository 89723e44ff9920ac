//! Which files make up a dashboard, so that nothing else is ever replaced by one?

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use untangle_store::Artefact;

/// A dashboard's folder.
pub const DASHBOARD: Artefact =
    Artefact { name: "a finished dashboard of Untangle", is_folder: true, is_at: is_dashboard };

/// Says that a folder is one.
pub(super) const RECORD: &str = "dashboard.json";
/// Style and scripts, in the order in which they are loaded.
pub(super) const ASSETS: [&str; 5] =
    ["assets/style.css", "assets/parts.js", "assets/data.js", "assets/list.js", "assets/dashboard.js"];
/// What the record says of its kind.
const KIND: &str = "untangle dashboard";

/// `dashboard.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// Whether a folder is a finished dashboard and holds nothing besides.
fn is_dashboard(folder: &Path) -> io::Result<bool> {
    let Ok(record) = fs::read(folder.join(RECORD)) else { return Ok(false) };
    let is_ours = serde_json::from_slice::<Record>(&record).is_ok_and(|record| record.kind == KIND);
    Ok(is_ours && folder.join("index.html").is_file() && is_part(folder)?)
}

/// Whether a folder holds nothing but files of a dashboard, all of them or some.
pub(super) fn is_part(folder: &Path) -> io::Result<bool> {
    for (name, is_folder) in names(folder)? {
        let known = match (&*name, is_folder) {
            ("assets" | "data", true) => names(&folder.join(&name))?.iter().all(|(inner, is_folder)| {
                !is_folder && (ASSETS.contains(&&*format!("{name}/{inner}")) || name == "data" && is_data(inner))
            }),
            (name, false) => name == RECORD || name == "index.html",
            _ => false,
        };
        if !known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `run.js`, `index-0000.js`, `features-00000.js`.
fn is_data(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".js") else { return false };
    let numbered = |prefix: &str| {
        let digits = stem.strip_prefix(prefix).unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    stem == "run" || numbered("index-") || numbered("features-")
}

/// Names in a folder, and whether they are folders; a link or a name that is no text is called by a name that nothing has.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<(String, bool)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        match entry.file_name().into_string() {
            Ok(name) if kind.is_file() || kind.is_dir() => names.push((name, kind.is_dir())),
            _ => names.push((String::new(), false)),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_here_is_a_dashboard() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::create_dir_all(folder.path().join(name).parent().expect("a folder")).expect("made");
            fs::write(folder.path().join(name), text).expect("written");
        };
        let is = || is_dashboard(folder.path()).expect("read");
        write("index.html", "");
        write("data/index-0001.js", "");
        write(ASSETS[1], "");
        assert!(!is() && is_part(folder.path()).expect("read"), "not finished");
        write(RECORD, &Record::of(3, "1").text());
        assert!(is());
        for stranger in
            ["notes.txt", "data/index-.js", "data/mine.js", "assets/mine.css", "data/sub/run.js", "more/run.js"]
        {
            write(stranger, "");
            assert!(!is(), "{stranger}");
            let path = folder.path().join(stranger);
            fs::remove_file(&path).expect("removed");
            let _ = fs::remove_dir(path.parent().expect("a folder"));
        }
        assert!(is());
        write(RECORD, "{\"kind\":\"other\",\"tool_version\":\"1\",\"features\":3}");
        assert!(!is());
        std::os::unix::fs::symlink("/", folder.path().join("data/run.js")).expect("linked");
        assert!(!is_part(folder.path()).expect("read"), "a link");
    }
}
