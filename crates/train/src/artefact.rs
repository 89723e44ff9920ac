//! Is a folder a finished dictionary, a finished grid, or the unfinished work on one, and nothing besides?

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use untangle_sae::is_saved_at;
use untangle_schema::sae::files;
use untangle_schema::whole::UNFINISHED;
use untangle_store::Artefact;

/// A dictionary's folder.
pub const DICTIONARY: Artefact =
    Artefact { name: "a finished dictionary of Untangle", is_folder: true, is_at: is_dictionary };
/// A folder with a dictionary's folder each for the dictionaries of a grid.
pub const GRID: Artefact = Artefact { name: "a finished grid of Untangle", is_folder: true, is_at: is_grid };

/// `grid.json`: which dictionaries a grid has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridRecord {
    /// Version of the tool.
    pub tool_version: String,
    /// Their names, which are those of their folders.
    pub dictionaries: Vec<String>,
}

/// Everything that a training writes of a dictionary.
const OF_A_DICTIONARY: [&str; 6] =
    [files::CONFIG, files::WEIGHTS, files::TRAINING, files::METRICS, files::EVENTS, files::REPORT];
/// Without these it is none.
const NEEDED: [&str; 3] = [files::CONFIG, files::WEIGHTS, files::TRAINING];

/// The names in a folder; none where something in it is neither a regular file nor a folder, or has no name in UTF-8.
fn names(folder: &Path) -> io::Result<Option<(BTreeSet<String>, BTreeSet<String>)>> {
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, Ok(name)) = (entry.file_type()?, entry.file_name().into_string()) else { return Ok(None) };
        match () {
            () if kind.is_file() => files.insert(name),
            () if kind.is_dir() => folders.insert(name),
            () => return Ok(None),
        };
    }
    Ok(Some((files, folders)))
}

fn is_dictionary(folder: &Path) -> io::Result<bool> {
    let Some((files, folders)) = names(folder)? else { return Ok(false) };
    let known = files.iter().all(|name| OF_A_DICTIONARY.contains(&name.as_str()));
    if !known || !folders.is_empty() || !NEEDED.iter().all(|name| files.contains(*name)) {
        return Ok(false);
    }
    let training: Value = serde_json::from_slice(&fs::read(folder.join(files::TRAINING))?).unwrap_or_default();
    let ours = training["tool_version"].is_string() && training["plan"].is_object();
    Ok(ours && is_saved_at(folder)?)
}

fn is_grid(folder: &Path) -> io::Result<bool> {
    let Some((files, folders)) = names(folder)? else { return Ok(false) };
    // Dictionaries that somebody put into one folder are no grid: a record says which ones were made together.
    let Ok(record) = fs::read(folder.join(files::GRID)) else { return Ok(false) };
    let record = serde_json::from_slice::<GridRecord>(&record);
    let made = record.map(|record| record.dictionaries.into_iter().collect::<BTreeSet<_>>());
    let is_known = |name: &String| [files::REPORT, files::GRID].contains(&name.as_str());
    if folders.is_empty() || !made.is_ok_and(|made| made == folders) || !files.iter().all(is_known) {
        return Ok(false);
    }
    for name in folders {
        if !is_dictionary(&folder.join(name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a folder of which [`Artefact::is_at`] has said what it holds, and nothing that came to lie there since.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let Some((files, folders)) = names(folder)? else { return Err(io::ErrorKind::DirectoryNotEmpty.into()) };
    for name in files.iter().filter(|name| OF_A_DICTIONARY.contains(&name.as_str()) || *name == files::GRID) {
        fs::remove_file(folder.join(name))?;
    }
    for name in folders {
        remove(&folder.join(name))?;
    }
    fs::remove_dir(folder)
}

/// What of the unfinished work in a folder is none: another file than those in `own`, or a folder of another name than in
/// `folders`, at any depth; files that have a second name, which writing would change as well.
pub(crate) fn stranger(folder: &Path, own: &[&str], folders: &BTreeSet<String>) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name, about) = (entry.path(), entry.file_name(), entry.metadata()?);
        let name = name.to_string_lossy();
        let plain = name.strip_suffix(UNFINISHED).unwrap_or(&name);
        let is_own = own.contains(&plain) || OF_A_DICTIONARY.contains(&plain);
        match () {
            () if about.is_dir() && folders.contains(&*name) => {
                if let Some(found) = stranger(&path, own, folders)? {
                    return Ok(Some(found));
                }
            }
            () if about.is_file() && is_own && about.nlink() == 1 => {}
            () => return Ok(Some(path)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(folder: &Path) {
        fs::create_dir_all(folder).expect("made");
        let write = |name: &str, text: &[u8]| fs::write(folder.join(name), text).expect("written");
        write(files::CONFIG, br#"{"architecture":"topk"}"#);
        write(files::TRAINING, br#"{"tool_version":"1","plan":{}}"#);
        write(files::WEIGHTS, b"\x02\0\0\0\0\0\0\0{}");
    }

    #[test]
    fn only_what_training_wrote_is_a_dictionary_or_a_grid() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, grid) = (folder.path().join("one"), folder.path().join("grid"));
        dictionary(&one);
        dictionary(&grid.join("a"));
        fs::write(grid.join(files::REPORT), "page").expect("written");
        assert!(!is_grid(&grid).expect("read"), "dictionaries that lie in one folder");
        let record = |names: &[&str]| {
            let record = serde_json::json!({ "tool_version": "1", "dictionaries": names }).to_string();
            fs::write(grid.join(files::GRID), record).expect("written");
        };
        record(&["a", "b"]);
        assert!(!is_grid(&grid).expect("read"), "not the same dictionaries");
        record(&["a"]);
        let (is_one, is_many) =
            (|path: &Path| is_dictionary(path).expect("read"), |path: &Path| is_grid(path).expect("read"));
        assert!(is_one(&one) && !is_many(&one) && is_many(&grid) && !is_one(&grid));
        for (name, text) in
            [(files::TRAINING, "null"), (files::CONFIG, "{}"), (files::WEIGHTS, "weights of somebody"), ("mine", "")]
        {
            let before = fs::read(one.join(name)).ok();
            fs::write(one.join(name), text).expect("written");
            assert!(!is_one(&one), "{name}");
            match before {
                Some(before) => fs::write(one.join(name), before).expect("written"),
                None => fs::remove_file(one.join(name)).expect("removed"),
            }
        }
        std::os::unix::fs::symlink("/", one.join(files::REPORT)).expect("linked");
        assert!(!is_one(&one), "a link");
        fs::write(grid.join("a/mine"), "").expect("written");
        assert!(!is_many(&grid));
        assert!(remove(&grid).is_err() && grid.join("a/mine").exists(), "what is not ours stays");
    }
}
