//! Where do the files of a repository lie on disk?
//!
//! The layout is that of Python's `huggingface_hub`, so that both use what either has fetched:
//!
//! ```text
//! models--owner--name/blobs/ETAG             content, named by its hash
//! models--owner--name/snapshots/COMMIT/FILE  link to a blob
//! models--owner--name/refs/REVISION          the commit that a branch or tag stood for
//! models--owner--name/untangle/COMMIT        names of the files that are here if the commit has them (ours alone)
//! .locks/models--owner--name/ETAG.lock       held while a blob is fetched
//! ```

use super::error::HubError;
use super::repository::{Repository, is_commit};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock that somebody else holds is looked at.
const LOCK_AGAIN: Duration = Duration::from_millis(200);
/// Ending of a blob that is being fetched. Not Python's `.incomplete`, which some of its versions write without a lock.
pub(crate) const INCOMPLETE: &str = "untangle-incomplete";

/// Folder of what only we look at.
const OURS: &str = "untangle";

/// The folder of one repository.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path, repository: &Repository) -> Self {
        let name = repository.folder();
        Cache { folder: root.join(&name), locks: root.join(".locks").join(name) }
    }

    /// The folder of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit that a revision stood for when it was last fetched; none where nothing of it is here.
    pub(crate) fn commit_of(&self, revision: &str) -> Option<String> {
        let written = fs::read_to_string(self.folder.join("refs").join(revision)).ok();
        let commit = written.map(|text| text.trim().to_owned()).filter(|commit| is_commit(commit));
        let commit = commit.or_else(|| is_commit(revision).then(|| revision.to_owned()))?;
        self.snapshot(&commit).is_dir().then_some(commit)
    }

    /// The file of a commit, where it is complete.
    pub(crate) fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        let path = self.snapshot(commit).join(name);
        path.is_file().then_some(path)
    }

    /// Where a content lies.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Where a content lies while it is incomplete.
    pub(crate) fn incomplete(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.{INCOMPLETE}"))
    }

    /// Remembers what a revision stands for.
    pub(crate) fn set_revision(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        if fs::read_to_string(&path).is_ok_and(|known| known == commit) {
            return Ok(());
        }
        make_parent(&path)?;
        let new = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&new, commit).map_err(HubError::io(&new))?;
        fs::rename(&new, &path).map_err(HubError::io(&path))
    }

    /// Whether all of these files are here that the commit has.
    pub(crate) fn has_all(&self, commit: &str, names: &[&str]) -> bool {
        fs::read_to_string(self.folder.join(OURS).join(commit)).is_ok_and(|text| text == names.join("\n"))
    }

    /// Remembers that all of these files are here that the commit has. Where that cannot be written, the hub is asked
    /// again.
    pub(crate) fn note_all(&self, commit: &str, names: &[&str]) {
        let path = self.folder.join(OURS).join(commit);
        let new = path.with_extension(format!("{}.new", std::process::id()));
        if !self.has_all(commit, names) && make_parent(&path).is_ok() && fs::write(&new, names.join("\n")).is_ok() {
            let _ = fs::rename(&new, &path);
        }
    }

    /// Gives a blob its name in a commit.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.snapshot(commit).join(name);
        make_parent(&path)?;
        let depth = Path::new(name).components().count() + 1;
        let target = "../".repeat(depth) + "blobs/" + etag;
        match symlink(Path::new(&target), &path) {
            Ok(()) => Ok(path),
            // Somebody else was faster, or a link that leads nowhere is left of a blob that was deleted.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_file() => Ok(path),
            // A file system without symbolic links.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                fs::copy(self.blob(etag), &path).map_err(HubError::io(&path))?;
                Ok(path)
            }
            Err(source) => Err(HubError::Io { path, source }),
        }
    }

    /// Waits for the right to fetch a content; none where `stop` says so while waiting. File systems without locks
    /// grant it at once.
    pub(crate) fn lock(&self, etag: &str, stop: &dyn Fn() -> bool) -> Result<Option<Claim>, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_parent(&path)?;
        let options = File::options().write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(HubError::io(&path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Claim { _file: file })),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Some(Claim { _file: file }));
                }
                Err(TryLockError::Error(source)) => return Err(HubError::Io { path, source }),
                Err(TryLockError::WouldBlock) if stop() => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_AGAIN),
            }
        }
    }
}

/// The right to fetch a content, held until dropped.
pub(crate) struct Claim {
    _file: File,
}

/// Makes the folder of a file.
pub(crate) fn make_parent(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(HubError::io(folder))
}

/// Makes a link; one that leads nowhere is replaced.
#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> std::io::Result<()> {
    if path.is_symlink() && !path.exists() {
        fs::remove_file(path)?;
    }
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::repository::RepositoryKind;

    #[test]
    fn links_are_relative_and_revisions_remembered() {
        let root = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(root.path(), &Repository::new(RepositoryKind::Dataset, "o/n").expect("an id"));
        let commit = "ab".repeat(20);
        assert_eq!(cache.commit_of("main"), None);
        make_parent(&cache.blob("e1")).expect("made");
        fs::write(cache.blob("e1"), "content").expect("written");
        let path = cache.link(&commit, "data/deep/x.parquet", "e1").expect("linked");
        assert_eq!(fs::read_link(&path).expect("a link"), Path::new("../../../../blobs/e1"));
        assert_eq!(
            fs::read_to_string(cache.file(&commit, "data/deep/x.parquet").expect("there")).expect("read"),
            "content"
        );
        cache.link(&commit, "data/deep/x.parquet", "e1").expect("again");

        cache.set_revision("refs/pr/1", &commit).expect("remembered");
        assert_eq!(cache.commit_of("refs/pr/1").as_deref(), Some(commit.as_str()));
        assert_eq!(cache.commit_of(&commit).as_deref(), Some(commit.as_str()));
        assert!(root.path().join("datasets--o--n/refs/refs/pr/1").is_file());

        fs::remove_file(cache.blob("e1")).expect("removed");
        assert_eq!(cache.file(&commit, "data/deep/x.parquet"), None, "a link that leads nowhere is no file");
        fs::write(cache.blob("e2"), "other").expect("written");
        cache.link(&commit, "data/deep/x.parquet", "e2").expect("replaced");
        assert_eq!(fs::read_to_string(path).expect("read"), "other");
    }

    #[test]
    fn a_lock_that_is_held_can_be_given_up_on() {
        let root = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(root.path(), &Repository::new(RepositoryKind::Model, "n").expect("an id"));
        let held = cache.lock("e", &|| false).expect("locked").expect("not stopped");
        assert!(cache.lock("e", &|| true).expect("tried").is_none());
        drop(held);
        assert!(cache.lock("e", &|| true).expect("locked").is_some());
    }
}
