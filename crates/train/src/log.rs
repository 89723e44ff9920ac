//! `metrics.jsonl`: one JSON object per logged step; where it is asked for, the same as an event file of TensorBoard.

use crate::error::TrainError;
use crate::record::Record;
use crate::tensorboard;
use crc32fast::Hasher;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use untangle_store::durable;

/// The records of a file; a line that is no record, such as one that was cut short by a kill, is left out.
pub fn read(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Records of a run in `metrics.jsonl`.
pub(crate) const RECORDS: u64 = 500;

/// Appends records to the files. Every record is written at once, so that who looks on sees it.
pub(crate) struct Log {
    metrics: Appended,
    events: Option<Appended>,
    /// Whether a record has been written, now or by the run that is continued.
    begun: bool,
    mark: Mark,
}

/// How far a log is: what a checkpoint says of it, so that what a later run takes over is what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Its length.
    pub(crate) bytes: u64,
    /// CRC-32 of all of them.
    pub(crate) crc: u32,
}

impl Mark {
    fn add(&mut self, bytes: &[u8]) {
        let mut hasher = Hasher::new_with_initial(self.crc);
        hasher.update(bytes);
        *self = Mark { bytes: self.bytes + bytes.len() as u64, crc: hasher.finalize() };
    }
}

/// What the log at `metrics` begins with, as far as a checkpoint has seen it.
///
/// # Errors
/// [`TrainError::Checkpoint`] where it is something else.
pub(crate) fn begins_with(metrics: &Path, mark: Mark) -> Result<Vec<u8>, TrainError> {
    let mut kept = match fs::read(metrics) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|source| TrainError::Io { path: metrics.to_owned(), source })?,
    };
    kept.truncate(mark.bytes as usize);
    let mut found = Mark::default();
    found.add(&kept);
    if found != mark {
        let reason = "it is not what the checkpoint beside it was saved with".to_owned();
        return Err(TrainError::Checkpoint { path: metrics.to_owned(), reason });
    }
    Ok(kept)
}

impl Log {
    /// Opens the log of a run whose last checkpoint has seen it as far as `mark`: what was logged later is dropped, because
    /// those steps are done again. The event file is made anew from what stays.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] where the log does not begin with what the checkpoint has seen.
    pub(crate) fn open(metrics: &Path, events: Option<&Path>, mark: Mark) -> Result<Self, TrainError> {
        let kept = begins_with(metrics, mark)?;
        let metrics = match kept.is_empty() {
            true => Appended::new(metrics)?,
            false => Appended::after(metrics, mark.bytes)?,
        };
        let events = events.map(Appended::new).transpose()?;
        let mut log = Log { metrics, events, begun: false, mark };
        kept.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| log.show(line))?;
        Ok(log)
    }

    /// How far the log is, on disk.
    pub(crate) fn mark(&self) -> Result<Mark, TrainError> {
        let synced = self.metrics.file.sync_data();
        synced.map_err(|source| TrainError::Io { path: self.metrics.path.clone(), source })?;
        Ok(self.mark)
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = serde_json::to_string(record);
        let line = line.map_err(|e| TrainError::Io { path: self.metrics.path.clone(), source: e.into() })?;
        self.write_line(format!("{line}\n").as_bytes())
    }

    fn write_line(&mut self, line: &[u8]) -> Result<(), TrainError> {
        self.metrics.append(line)?;
        self.mark.add(line);
        self.show(line)
    }

    /// Adds a line to the event file.
    fn show(&mut self, line: &[u8]) -> Result<(), TrainError> {
        let Ok(record) = serde_json::from_slice::<Record>(line) else { return Ok(()) };
        if let Some(events) = &mut self.events {
            let beginning = if self.begun { Vec::new() } else { tensorboard::beginning(&record) };
            events.append(&[beginning, tensorboard::scalars(&record)].concat())?;
        }
        self.begun = true;
        Ok(())
    }
}

/// A file that grows.
struct Appended {
    path: PathBuf,
    file: File,
}

impl Appended {
    /// The file without what it held.
    fn new(path: &Path) -> Result<Self, TrainError> {
        let file = durable::create(path).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        Ok(Appended { path: path.to_owned(), file })
    }

    /// The file, from `bytes` on. What stands before stays where it is, so that a kill at any moment leaves it.
    fn after(path: &Path, bytes: u64) -> Result<Self, TrainError> {
        let cut = || {
            let mut file = File::options().write(true).open(path)?;
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = cut().map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        Ok(Appended { path: path.to_owned(), file })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        self.file.write_all(bytes).map_err(|source| TrainError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_goes_on_is_that_of_a_run_that_never_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = |step: u64| Record { step, fvu: 1.0 / step as f64, time: 1e9 + step as f64, ..Record::default() };
        let paths = |name: &str| (folder.path().join(name), folder.path().join(format!("{name}.tfevents")));
        let ((whole, whole_events), (cut, cut_events)) = (paths("whole"), paths("cut"));
        let write = |path: &Path, events: &Path, mark: Mark, steps: std::ops::RangeInclusive<u64>| {
            let mut log = Log::open(path, Some(events), mark).expect("writable");
            steps.for_each(|step| log.write(&record(step)).expect("writable"));
            log.mark().expect("synced")
        };
        write(&whole, &whole_events, Mark::default(), 1..=9);
        let saved = write(&cut, &cut_events, Mark::default(), 1..=5);
        write(&cut, &cut_events, saved, 6..=7);
        // A kill in the middle of a line and of an event.
        let append = |path: &Path| File::options().append(true).open(path).expect("there");
        let mut torn = append(&cut);
        torn.write_all(b"{\"step\":8,\"tok").expect("writable");
        let mut torn = append(&cut_events);
        torn.write_all(&[99, 0, 0]).expect("writable");
        // What the checkpoint has seen stays where it is: a kill while the log is opened cannot make it shorter.
        let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("there"));
        let before = number(&cut);
        write(&cut, &cut_events, saved, 6..=9);
        assert_eq!(number(&cut), before);
        for (a, b) in [(whole, cut), (whole_events, cut_events)] {
            assert_eq!(fs::read(a).expect("there"), fs::read(&b).expect("there"));
            let mut damaged = fs::read(&b).expect("there");
            damaged[9] ^= 1;
            fs::write(b, damaged).expect("written");
        }
        let refused = Log::open(&folder.path().join("cut"), None, saved).map(drop);
        assert!(matches!(refused, Err(TrainError::Checkpoint { .. })), "{refused:?}");
    }
}
