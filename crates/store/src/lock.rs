//! Who may write an output? The holder of its lock file.

use crate::durable;
use crate::error::StoreError;
use crate::output::check_unfinished;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use untangle_schema::Fault;

/// An exclusive lock on an output, held until dropped; a process that dies releases it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    was_left: bool,
    _file: File,
}

/// Where no file can be begun in a folder, the output is what the user named; what else is wrong is so with the lock itself.
fn unwritable(path: &Path, output: &Path, error: io::Error) -> StoreError {
    use io::ErrorKind as Kind;
    let of_folder = matches!(
        error.kind(),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::NotFound | Kind::NotADirectory
    );
    if !of_folder {
        return StoreError::Io { path: path.to_owned(), source: error };
    }
    let source = io::Error::new(error.kind(), format!("nothing can be written there ({error}); choose another place"));
    StoreError::Io { path: output.to_owned(), source }
}

impl Lock {
    /// Takes the lock file `path` on behalf of `output`.
    ///
    /// # Errors
    /// [`StoreError::Locked`], naming `output`, where another process holds it.
    pub fn take(path: &Path, output: &Path) -> Result<Self, StoreError> {
        loop {
            check_unfinished(path)?;
            // Two that find nothing at once differ in nothing that matters: neither finds work of a killed one.
            let was_left = path.try_exists().map_err(StoreError::io(path))?;
            let mut options = OpenOptions::new();
            // Neither through a link nor waiting for the other end of a pipe that appeared just now.
            options.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            let file = options.open(path).map_err(|error| unwritable(path, output, error))?;
            if file.metadata().map_err(StoreError::io(path))?.len() > 0 {
                let problem = "holds something, at a name that a lock has; move it away, or choose another --out";
                let (path, problem) = (path.to_owned(), problem.to_owned());
                return Err(StoreError::Refused { path, problem, fault: Fault::BadInput });
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: output.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(StoreError::Io { path: path.to_owned(), source }),
            }
            // The former holder removes the file when it is done: a lock on a removed file keeps nobody out.
            if is_at(&file, path) {
                return Ok(Lock { path: path.to_owned(), was_left, _file: file });
            }
        }
    }

    /// Whether a holder that was killed left its lock file: what lies beside it is then the work of that one.
    pub fn was_left(&self) -> bool {
        self.was_left
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still held, so that nobody locks a file that is about to go. A file left behind does no harm.
        let _ = durable::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let (lock, output) = (folder.path().join("x.lock"), folder.path().join("x"));
        let held = Lock::take(&lock, &output).expect("free");
        let refused = Lock::take(&lock, &output).expect_err("held");
        assert!(matches!(&refused, StoreError::Locked { path } if *path == output), "{refused}");
        drop(held);
        assert!(!lock.exists());
        assert!(!Lock::take(&lock, &output).expect("free again").was_left());
        File::create(&lock).expect("made");
        assert!(Lock::take(&lock, &output).expect("nobody holds it").was_left());
    }
}
