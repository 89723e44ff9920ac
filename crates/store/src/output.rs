//! What may an output path be? One place decides for everything that writes.
//!
//! Nothing is ever replaced but a finished artefact of the same kind, and that only where it is asked for. A link, a device,
//! a folder with anything else in it, an input: all of it is refused before work begins, and stays as it is.

use crate::error::StoreError;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use untangle_schema::Fault;

/// A kind of finished output: the only thing that an output of the kind may replace.
#[derive(Clone, Copy, Debug)]
pub struct Artefact {
    /// With its article, for messages: `an activation file of Untangle`.
    pub name: &'static str,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Whether a finished one, and nothing else, lies at a path. Asked of regular files, or of folders that are no links.
    pub is_at: fn(&Path) -> std::io::Result<bool>,
}

/// An activation file.
pub const STORE: Artefact = Artefact {
    name: "a finished activation file of Untangle",
    is_folder: false,
    is_at: |path| {
        let found = crate::formats::open_own(path);
        // One of another version is as finished, only not readable.
        Ok(matches!(found, Ok(()) | Err(StoreError::Version { .. })))
    },
};

/// The path without a slash or a point at its end, which would mean what it links to or what it holds.
pub fn plain(output: &Path) -> PathBuf {
    output.components().collect()
}

/// Whether `output` may become an artefact of this kind: nothing lies there, an empty folder where the artefact is one,
/// or, where `force` is set, a finished artefact of the same kind.
///
/// # Errors
/// [`StoreError::Exists`] where only `force` is missing; [`StoreError::Refused`], which says what lies there.
pub fn check(output: &Path, artefact: &Artefact, force: bool) -> Result<(), StoreError> {
    let path = plain(output);
    has_a_name(output, &path)?;
    let Some(about) = standing(&path)? else { return Ok(()) };
    let mine = |problem: String| refused(output, problem);
    if let Some(what) = odd(&about) {
        return mine(format!("is {what}; name a {} of its own", kind_of_file(artefact.is_folder)));
    }
    if about.is_dir() != artefact.is_folder {
        let found = kind_of_file(about.is_dir());
        return mine(format!("is a {found}, where {} would be written; choose another name", artefact.name));
    }
    if about.is_dir() && is_empty(&path)? {
        let parent = fs::metadata(parent(&path)).map_err(StoreError::io(&path))?;
        return match parent.dev() == about.dev() {
            true => Ok(()),
            false => mine("is a mounted file system, which cannot be renamed; name a folder in it".to_owned()),
        };
    }
    match (artefact.is_at)(&path).map_err(StoreError::io(&path))? {
        true if force => Ok(()),
        true => Err(StoreError::Exists { path: output.to_owned() }),
        false => mine(format!(
            "exists and is not {}, or holds more than that; nothing else is replaced, with --force either: move it away, \
             or choose another name",
            artefact.name
        )),
    }
}

/// Whether outputs may be put into the folder `path`: it is absent, or a folder. Nothing in it is replaced on this word.
///
/// # Errors
/// [`StoreError::Refused`] where something else lies there.
pub fn check_folder(path: &Path) -> Result<(), StoreError> {
    let plain = plain(path);
    match (fs::metadata(&plain), standing(&plain)?) {
        (Ok(about), _) if about.is_dir() => Ok(()),
        (_, None) => Ok(()),
        (_, Some(about)) => {
            let what = odd(&about).unwrap_or("a file");
            refused(path, format!("is {what}; name a folder"))
        }
    }
}

/// Whether an output may lie where it shall, beside what is read for it: it is no input, holds none and lies in none,
/// under whatever names; nor does the unfinished work beside it.
///
/// # Errors
/// [`StoreError::Refused`], which names the input.
pub fn check_inputs(output: &Path, inputs: &[PathBuf]) -> Result<(), StoreError> {
    let place = resolved(&plain(output))?;
    let same_file = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let there = fs::metadata(&place).ok();
    let unfinished = crate::durable::with_suffix(&place, ".partial");
    for input in inputs {
        let Ok(real) = fs::canonicalize(input) else { continue };
        let about = fs::metadata(&real).map_err(StoreError::io(input))?;
        let same = real == place || there.as_ref().is_some_and(|there| same_file(there, &about));
        let name = |path: &Path| path.file_name().unwrap_or_default().as_encoded_bytes().to_owned();
        let beside =
            real.parent() == unfinished.parent() && name(&real).starts_with(&[&name(&unfinished)[..], b"."].concat());
        let work = beside || real.starts_with(&unfinished);
        let relation = match () {
            () if same => "is what is read",
            () if real.starts_with(&place) => "holds what is read",
            () if about.is_dir() && place.starts_with(&real) => "lies in what is read",
            () if work => "would be made where what is read lies",
            () => continue,
        };
        return refused(output, format!("{relation}, {}; choose another --out", input.display()));
    }
    Ok(())
}

/// Whether a name of unfinished work is free, or taken by a regular file with no other name. Anything else was put there by
/// somebody else, and writing would go through it.
///
/// # Errors
/// [`StoreError::Refused`] with exit code 3.
pub fn check_unfinished(path: &Path) -> Result<(), StoreError> {
    let Some(about) = standing(path)? else { return Ok(()) };
    let what = match odd(&about) {
        Some(what) => what,
        None if about.is_dir() => "a folder",
        None if about.nlink() > 1 => "a file with a second name (a hard link)",
        None => return Ok(()),
    };
    let problem = format!("is {what}, at a name that unfinished work has; move it away, or choose another --out");
    Err(StoreError::Refused { path: path.to_owned(), problem, fault: Fault::BadInput })
}

fn refused(output: &Path, problem: String) -> Result<(), StoreError> {
    Err(StoreError::Refused { path: output.to_owned(), problem, fault: Fault::Usage })
}

/// `/`, `.` and `..` are folders of other things, whatever they hold.
fn has_a_name(output: &Path, plain: &Path) -> Result<(), StoreError> {
    match plain.components().next_back() {
        Some(Component::Normal(_)) => Ok(()),
        _ => {
            let named = if output.as_os_str().is_empty() { Path::new("--out \"\"") } else { output };
            refused(named, "has no name of its own; name a new file or folder".to_owned())
        }
    }
}

/// What lies at a path, links themselves; none where nothing does.
fn standing(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(about) => Ok(Some(about)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

/// What something is that is neither a regular file nor a folder.
fn odd(about: &Metadata) -> Option<&'static str> {
    let kind = about.file_type();
    let found = [
        (kind.is_symlink(), "a symbolic link"),
        (kind.is_fifo(), "a named pipe"),
        (kind.is_socket(), "a socket"),
        (kind.is_block_device() || kind.is_char_device(), "a device"),
        (!kind.is_file() && !kind.is_dir(), "no regular file"),
    ];
    found.into_iter().find(|(is, _)| *is).map(|(_, what)| what)
}

fn kind_of_file(folder: bool) -> &'static str {
    if folder { "folder" } else { "file" }
}

fn is_empty(folder: &Path) -> Result<bool, StoreError> {
    Ok(fs::read_dir(folder).map_err(StoreError::io(folder))?.next().is_none())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a path leads, links followed as far as it exists.
fn resolved(path: &Path) -> Result<PathBuf, StoreError> {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        match fs::canonicalize(if at.as_os_str().is_empty() { Path::new(".") } else { at }) {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |folder, name| folder.join(name))),
            Err(error) => match (at.file_name(), at.parent()) {
                (Some(name), Some(folder)) => {
                    missing.push(name);
                    at = folder;
                }
                _ => return Err(StoreError::io(path)(error)),
            },
        }
    }
}
