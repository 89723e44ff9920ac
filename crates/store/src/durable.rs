//! How does a file reach the disk so that a crash leaves the old one or the new one, never a half?

use crate::error::StoreError;
use crate::sys;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use untangle_schema::whole;

pub use untangle_schema::whole::{create, with_suffix};

/// Replaces `path` by `content`: written beside it, synced, renamed over it, and the folder synced.
///
/// # Errors
/// When writing fails; `path` is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    whole::replace(path, content).map_err(StoreError::io(path))
}

/// Lets a finished folder take the place of another one, which is then at `from`: in one step, or where the file system
/// has none, by way of `aside`, where the other one is found after a crash in between.
///
/// # Errors
/// When renaming fails; the other one is then where it was.
pub fn exchange(from: &Path, to: &Path, aside: &Path) -> Result<(), StoreError> {
    match sys::exchange(from, to) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        exchanged => {
            exchanged.map_err(StoreError::io(to))?;
            return sync_folder(to);
        }
    }
    fs::rename(to, aside).map_err(StoreError::io(to))?;
    if let Err(error) = fs::rename(from, to) {
        fs::rename(aside, to).map_err(StoreError::io(to))?;
        return Err(StoreError::io(to)(error));
    }
    sync_folder(to)?;
    fs::rename(aside, from).map_err(StoreError::io(from))
}

/// Gives finished work its final name: `from` becomes `to`, and the folder is synced. An existing `to` is replaced only
/// where `force` is set, and only if it is a file.
///
/// # Errors
/// [`StoreError::Exists`] where `to` exists and `force` is not set.
pub fn place(from: &Path, to: &Path, force: bool) -> Result<(), StoreError> {
    let placed = if force { fs::rename(from, to) } else { place_new(from, to) };
    match placed {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(StoreError::Exists { path: to.to_owned() }),
        placed => placed.map_err(StoreError::io(to)),
    }?;
    sync_folder(to)
}

/// A rename that never replaces; where the file system has none, a hard link does the same for files.
fn place_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match sys::rename_new(from, to) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        renamed => return renamed,
    }
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // Neither: folders, and file systems without links. The writer's lock keeps out other writers of this output.
        Err(_) if to.try_exists()? => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// Syncs the folder that holds `path`, so that a new name in it survives a crash.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> Result<(), StoreError> {
    whole::sync_folder(path).map_err(StoreError::io(path))
}

/// Removes a file; one that is absent counts as removed.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(StoreError::io(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_file_is_never_replaced_unless_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("x.partial"), folder.path().join("x"));
        fs::write(&from, "new").expect("written");
        fs::write(&to, "old").expect("written");
        assert!(matches!(place(&from, &to, false), Err(StoreError::Exists { .. })));
        assert_eq!(fs::read_to_string(&to).expect("read"), "old");
        place(&from, &to, true).expect("placed");
        assert_eq!(fs::read_to_string(&to).expect("read"), "new");
        assert!(!from.exists());
    }
}
