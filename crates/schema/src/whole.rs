//! How does a file reach the disk so that a crash leaves the old one or the new one, never a half?

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What a new file is called while it is written, after the name that it will have.
pub const UNFINISHED: &str = ".new";

/// `path` with `suffix` appended to its last component: `x.h5` and `.partial` give `x.h5.partial`, as does `x.h5/`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    // Components leave out a slash at the end, behind which the suffix would name something inside of `path`.
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Replaces `path` by `content`: written beside it, synced, renamed over it, and the folder synced.
///
/// # Errors
/// When writing fails; `path` is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = with_suffix(path, UNFINISHED);
    // What cannot be replaced by a new file is somebody else's, and stays.
    let mut file = create(&beside)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if let Err(error) = renamed {
        // On a full disk a half-written file would only be in the way; the error that matters is the first one.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    sync_folder(path)
}

/// Creates a file of unfinished work, in place of what an earlier run left under its name. Never written through is what
/// somebody else put there: a link, a pipe, or another name of a file.
///
/// # Errors
/// Where something lies there that is no regular file, or appears in between.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(about) if !about.is_file() => {
            let problem =
                format!("{} is no regular file, at a name that unfinished work has; move it away", path.display());
            return Err(io::Error::other(problem));
        }
        // Its other names, where it has some, keep what they had.
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Syncs the folder that holds `path`, so that a new name in it survives a crash.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_does_not_put_the_suffix_inside() {
        for (path, expected) in
            [("a/x", "a/x.partial"), ("a/x/", "a/x.partial"), ("/a/x.h5//", "/a/x.h5.partial"), ("x/.", "x.partial")]
        {
            assert_eq!(with_suffix(Path::new(path), ".partial").as_os_str(), expected, "{path}");
        }
    }

    #[test]
    fn replacing_leaves_nothing_beside_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        replace(&path, b"one").expect("written");
        replace(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_link_at_the_unfinished_name_is_never_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("cfg.json"), folder.path().join("somebody's"));
        fs::write(&other, "mine").expect("written");
        std::os::unix::fs::symlink(&other, with_suffix(&path, UNFINISHED)).expect("linked");
        let error = replace(&path, b"ours").expect_err("a link lies there");
        assert!(error.to_string().contains("is no regular file"), "{error}");
        assert_eq!(fs::read_to_string(&other).expect("read"), "mine");
        assert!(!path.exists());
    }
}
