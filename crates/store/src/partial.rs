//! Which files make up an unfinished output, and how does it become the finished one?
//!
//! Work on `FILE` happens in `FILE.partial`; what belongs to it lies beside it as `FILE.partial.NAME`. All of it is
//! guarded by the lock `FILE.partial.lock` and goes when the output has its final name.

use crate::durable;
use crate::error::StoreError;
use crate::lock::Lock;
use crate::output::{self, Artefact, STORE};
use std::fs;
use std::path::{Path, PathBuf};
use untangle_schema::Fault;

/// Name of the side file that a resume believes.
pub(crate) const JOURNAL: &str = "journal";
/// Name of the side file that becomes the output where it is compressed.
pub(crate) const PACKED: &str = "packed";

/// Names of side files by which an unfinished output is known as one. Work without any of them is removed by whoever does
/// it, unless that one is killed: then its lock is left.
const WITNESSES: [&str; 3] = [JOURNAL, "tokens", "spool"];
/// Names of everything that can lie beside an unfinished file.
const BESIDE: [&str; 10] =
    [JOURNAL, "journal.new", PACKED, "tokens", "spool", "spool.new", "rows", "starts", "features", "activations"];

/// The right to write one output, held until dropped.
#[derive(Debug)]
pub struct Partial {
    output: PathBuf,
    data: PathBuf,
    force: bool,
    artefact: Artefact,
    side_files: Vec<PathBuf>,
    _lock: Lock,
}

impl Partial {
    /// Takes the lock of `output`, an activation file, creating its folder where needed.
    ///
    /// # Errors
    /// As [`Partial::claim_for`].
    pub fn claim(output: &Path, force: bool) -> Result<Self, StoreError> {
        Self::claim_for(output, STORE, force)
    }

    /// The same for a file of any kind.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where the finished output is there and `force` is not set, [`StoreError::Refused`] where
    /// something lies there that is never replaced, [`StoreError::Locked`] where another process is at work on it.
    pub fn claim_for(output: &Path, artefact: Artefact, force: bool) -> Result<Self, StoreError> {
        // Before anything is made; the lock comes first only for what a killed run left.
        match output::check(output, &artefact, force) {
            Err(StoreError::Exists { .. }) | Ok(()) => {}
            refused => refused?,
        }
        // Without a slash at the end, which would ask for a folder.
        let output: &Path = &output::plain(output);
        if let Some(folder) = output.parent() {
            fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        }
        let data = durable::with_suffix(output, ".partial");
        let lock = Lock::take(&durable::with_suffix(&data, ".lock"), output)?;
        output::check_unfinished(&data)?;
        let beside = |name: &str| durable::with_suffix(&data, &format!(".{name}"));
        BESIDE.iter().try_for_each(|name| output::check_unfinished(&beside(name)))?;
        if !lock.was_left() && !WITNESSES.iter().any(|name| beside(name).exists()) {
            let taken = std::iter::once(data.clone()).chain(BESIDE.map(beside));
            taken.filter(|path| path.exists()).try_for_each(|path| Err(stranger(path, output)))?;
        }
        let side_files = Vec::new();
        let mut partial = Partial { output: output.to_owned(), data, force, artefact, side_files, _lock: lock };
        let journal = partial.side_file(JOURNAL);
        if let Err(error) = output::check(output, &artefact, force) {
            // A run that was killed after giving the output its name leaves its journal.
            if !partial.data.try_exists().map_err(StoreError::io(&partial.data))? {
                durable::remove(&journal)?;
            }
            return Err(error);
        }
        Ok(partial)
    }

    /// The final name.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The unfinished file.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Whether a finished output is to be replaced, and an unfinished one of other settings to be discarded.
    pub fn force(&self) -> bool {
        self.force
    }

    /// The path of a file that belongs to the unfinished output and is removed when it is finished.
    pub fn side_file(&mut self, name: &str) -> PathBuf {
        let path = durable::with_suffix(&self.data, &format!(".{name}"));
        if !self.side_files.contains(&path) {
            self.side_files.push(path.clone());
        }
        path
    }

    /// Removes the unfinished output and everything that belongs to it: nothing can come of it.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub fn discard(self) -> Result<(), StoreError> {
        durable::remove(&self.data)?;
        self.side_files.iter().try_for_each(|path| durable::remove(path))
    }

    /// Gives the side file `name`, which was made of the unfinished file, the output's name, and removes the rest.
    pub(crate) fn finish_with(mut self, name: &str) -> Result<PathBuf, StoreError> {
        output::check(&self.output, &self.artefact, self.force)?;
        durable::place(&self.side_file(name), &self.output, self.force)?;
        durable::remove(&self.data)?;
        self.side_files.iter().try_for_each(|path| durable::remove(path))?;
        Ok(self.output.clone())
    }

    /// Gives the unfinished file its final name and removes what belonged to it.
    ///
    /// # Errors
    /// Where something came to lie there meanwhile that may not be replaced; when renaming fails.
    pub fn finish(self) -> Result<PathBuf, StoreError> {
        output::check(&self.output, &self.artefact, self.force)?;
        durable::place(&self.data, &self.output, self.force)?;
        self.side_files.iter().try_for_each(|path| durable::remove(path))?;
        Ok(self.output.clone())
    }
}

/// Something lies at a name that unfinished work has, and nothing says that it is that.
fn stranger(path: PathBuf, output: &Path) -> StoreError {
    let output = output.display();
    let problem = format!("is not of unfinished work, but lies where that of {output} would; move it away");
    StoreError::Refused { path, problem, fault: Fault::BadInput }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_of_the_output_means_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let claimed = Partial::claim(&folder.path().join("x.h5/"), false).expect("free");
        assert_eq!(claimed.data(), folder.path().join("x.h5.partial"));
        fs::write(claimed.data(), "rows").expect("written");
        claimed.finish().expect("placed");
        assert!(folder.path().join("x.h5").is_file());
    }

    #[test]
    fn what_is_not_known_as_unfinished_work_is_no_place_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for mine in ["x.h5.partial", "x.h5.partial.rows"] {
            fs::write(at(mine), "my notes").expect("written");
            for force in [false, true] {
                let refused = Partial::claim(&at("x.h5"), force).expect_err("somebody else's");
                assert!(matches!(&refused, StoreError::Refused { path, .. } if *path == at(mine)), "{refused}");
            }
            assert_eq!(fs::read(at(mine)).expect("kept"), b"my notes");
            // A run that was killed leaves its lock, one that was interrupted its journal.
            for witness in ["x.h5.partial.lock", "x.h5.partial.journal"] {
                fs::write(at(witness), "").expect("written");
                Partial::claim(&at("x.h5"), false).expect("known");
                let _ = fs::remove_file(at(witness));
            }
            fs::remove_file(at(mine)).expect("removed");
        }
    }

    #[test]
    fn an_output_is_claimed_once_and_never_when_finished() {
        const ROWS: Artefact =
            Artefact { name: "rows", is_folder: false, is_at: |path| Ok(fs::read(path)? == b"rows") };
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("new/folder/x.h5");
        let first = Partial::claim_for(&output, ROWS, false).expect("free");
        assert!(matches!(Partial::claim_for(&output, ROWS, true), Err(StoreError::Locked { .. })));
        fs::write(first.data(), "rows").expect("written");
        assert_eq!(first.finish().expect("placed"), output);
        assert!(matches!(Partial::claim_for(&output, ROWS, false), Err(StoreError::Exists { .. })));
        Partial::claim_for(&output, ROWS, true).expect("forced");
        assert!(
            matches!(Partial::claim(&output, true), Err(StoreError::Refused { .. })),
            "rows are no activation file"
        );
        let left: Vec<_> = fs::read_dir(folder.path().join("new/folder")).expect("listed").collect();
        assert_eq!(left.len(), 1, "only the output is left: {left:?}");
    }
}
