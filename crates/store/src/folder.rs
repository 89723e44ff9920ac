//! How does an output that is a folder come to be: beside its name, and at it only when it is whole?
//!
//! Work on `DIR` happens in `DIR.partial/finished` under the lock `DIR.partial.lock`. What a killed run left is of no use and
//! goes when the next one begins; a finished folder that is replaced changes places with the new one and goes then.

use crate::durable;
use crate::error::StoreError;
use crate::lock::Lock;
use crate::output::{self, Artefact};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use untangle_schema::Fault;

const FINISHED: &str = "finished";
/// Where a folder that is replaced lies for a moment, where the file system cannot exchange two of them.
const REPLACED: &str = "replaced";

/// Whether a folder holds nothing but what an artefact of a kind consists of, whole or not.
pub type IsPart = fn(&Path) -> io::Result<bool>;

/// The right to write one folder, held until dropped; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct PartialFolder {
    output: PathBuf,
    partial: PathBuf,
    force: bool,
    artefact: Artefact,
    is_part: IsPart,
    /// Whether what lies at the place of work is ours, to be removed when this is dropped.
    is_ours: bool,
    _lock: Lock,
}

impl PartialFolder {
    /// Takes the lock of `output` and makes an empty folder to write to.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where the finished output is there and `force` is not set, [`StoreError::Refused`] where
    /// something lies there or at the place of work that is never replaced, [`StoreError::Locked`] where another process is at
    /// work on it.
    pub fn claim(output: &Path, artefact: Artefact, is_part: IsPart, force: bool) -> Result<Self, StoreError> {
        let output = output::plain(output);
        let partial = durable::with_suffix(&output, ".partial");
        let moved_away = partial.join(REPLACED).is_dir() && !output.exists();
        if !moved_away {
            output::check(&output, &artefact, force)?;
        }
        if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        }
        let lock = Lock::take(&durable::with_suffix(&partial, ".lock"), &output)?;
        let mut claimed = PartialFolder { output, partial, force, artefact, is_part, is_ours: false, _lock: lock };
        claimed.refuse_strangers()?;
        let replaced = claimed.partial.join(REPLACED);
        if replaced.is_dir() && !claimed.output.exists() {
            durable::place(&replaced, &claimed.output, false)?;
        }
        claimed.is_ours = true;
        output::check(&claimed.output, &artefact, force)?;
        claimed.remove_work()?;
        fs::create_dir_all(claimed.data()).map_err(StoreError::io(&claimed.partial))?;
        Ok(claimed)
    }

    /// The folder to write to.
    pub fn data(&self) -> PathBuf {
        self.partial.join(FINISHED)
    }

    /// Makes sure that everything at the place of work is of such work: it is going to be removed.
    fn refuse_strangers(&self) -> Result<(), StoreError> {
        let about = match fs::symlink_metadata(&self.partial) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            about => about.map_err(StoreError::io(&self.partial))?,
        };
        match about.is_dir() && self.holds_work_alone().map_err(StoreError::io(&self.partial))? {
            true => Ok(()),
            false => {
                let (path, out) = (self.partial.clone(), self.output.display());
                let problem = format!("is not of unfinished work, but lies where that of {out} would; move it away");
                Err(StoreError::Refused { path, problem, fault: Fault::BadInput })
            }
        }
    }

    fn holds_work_alone(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.partial)? {
            let entry = entry?;
            let known = [FINISHED, REPLACED].iter().any(|name| entry.file_name() == *name);
            if !known || !entry.file_type()?.is_dir() || !(self.is_part)(&entry.path())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the place of work, which holds work alone.
    fn remove_work(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(&self.partial)(error)),
            _ => Ok(()),
        }
    }

    /// Syncs the folder with everything in it, and gives it its final name.
    ///
    /// # Errors
    /// Where something came to lie there meanwhile that may not be replaced; when the disk refuses.
    pub fn finish(mut self) -> Result<PathBuf, StoreError> {
        let data = self.data();
        sync_all(&data).map_err(StoreError::io(&data))?;
        output::check(&self.output, &self.artefact, self.force)?;
        // An empty folder is free, but no rename that replaces nothing goes onto it.
        let _ = fs::remove_dir(&self.output);
        // From here on a finished folder may lie at the place of work for a moment, and whatever fails must not take it away.
        self.is_ours = false;
        match self.output.exists() {
            true => durable::exchange(&data, &self.output, &self.partial.join(REPLACED))?,
            false => durable::place(&data, &self.output, false)?,
        }
        // What was replaced lies here now, and somebody may have put something into it since it was looked at.
        self.refuse_strangers()?;
        self.remove_work()?;
        Ok(self.output.clone())
    }
}

impl Drop for PartialFolder {
    fn drop(&mut self) {
        if self.is_ours {
            // What cannot be removed is removed by the next run.
            let _ = self.remove_work();
        }
    }
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_all(&path)? } else { File::open(&path)?.sync_all()? }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_pages(folder: &Path) -> io::Result<bool> {
        let mut entries = fs::read_dir(folder)?;
        entries.try_fold(true, |all, entry| Ok(all && entry?.path().extension().is_some_and(|end| end == "page")))
    }

    const PAGES: Artefact = Artefact {
        name: "pages",
        is_folder: true,
        is_at: |folder| Ok(only_pages(folder)? && folder.join("first.page").is_file()),
    };

    fn claim(output: &Path, force: bool) -> Result<PartialFolder, StoreError> {
        PartialFolder::claim(output, PAGES, only_pages, force)
    }

    fn write(output: &Path, text: &str, force: bool) {
        let claimed = claim(output, force).expect("free");
        fs::write(claimed.data().join("first.page"), text).expect("written");
        assert_eq!(claimed.finish().expect("placed"), output);
    }

    #[test]
    fn a_folder_appears_when_it_is_whole_and_is_replaced_when_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("new/out");
        let claimed = claim(&out, false).expect("free");
        assert!(matches!(claim(&out, false), Err(StoreError::Locked { .. })));
        fs::write(claimed.data().join("first.page"), "half").expect("written");
        drop(claimed);
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("listed").count(), 0, "nothing is left");
        fs::create_dir(&out).expect("an empty folder is free");
        write(&out, "old", false);
        assert!(matches!(claim(&out, false), Err(StoreError::Exists { .. })));
        write(&out, "new", true);
        assert_eq!(fs::read_to_string(out.join("first.page")).expect("read"), "new");
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("listed").count(), 1, "only the output is left");
        fs::write(out.join("notes.txt"), "mine").expect("written");
        assert!(matches!(claim(&out, true), Err(StoreError::Refused { .. })));
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_somebody_elses_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (out, work) = (folder.path().join("out"), folder.path().join("out.partial"));
        fs::create_dir_all(work.join(FINISHED)).expect("made");
        fs::write(work.join(FINISHED).join("half.page"), "").expect("written");
        write(&out, "whole", false);
        assert!(!out.join("half.page").exists() && !work.exists());
        fs::create_dir_all(work.join(FINISHED)).expect("made");
        fs::write(work.join(FINISHED).join("notes.txt"), "mine").expect("written");
        assert!(matches!(claim(&out, true), Err(StoreError::Refused { path, .. }) if path == work));
        assert!(work.join(FINISHED).join("notes.txt").exists());
        fs::remove_dir_all(&work).expect("removed");
        // Killed between the two renames of a file system that cannot exchange folders.
        fs::create_dir_all(&work).expect("made");
        fs::rename(&out, work.join(REPLACED)).expect("moved");
        assert!(matches!(claim(&out, false), Err(StoreError::Exists { .. })));
        assert_eq!(fs::read_to_string(out.join("first.page")).expect("back"), "whole");
    }
}
