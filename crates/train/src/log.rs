//! `metrics.jsonl`: one JSON object per logged step; where it is asked for, the same as an event file of TensorBoard.

use crate::error::TrainError;
use crate::step::StepReport;
use crate::tensorboard;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A logged step. Losses are of normalised rows; `fvu` is the batch's loss over the variance of a sample of the training
/// rows, a running figure and not the held-out metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Mean squared error per row.
    pub loss: f64,
    /// What the loss has beside it: penalties, and the errors of partial reconstructions.
    #[serde(default)]
    pub penalty: f64,
    /// The auxiliary loss.
    pub aux_loss: f64,
    /// `loss` over the variance of the data.
    pub fvu: f64,
    /// Active latents per row.
    pub l0: f64,
    /// Latents per row that could receive a gradient: of JumpReLU those near their threshold as well.
    #[serde(default)]
    pub entries: f64,
    /// Dead latents.
    pub dead: usize,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Seconds of this process since it began the run or continued it.
    pub seconds: f64,
    /// Seconds since 1970.
    #[serde(default)]
    pub time: f64,
}

impl Record {
    pub(crate) fn new(step: u64, tokens: u64, report: &StepReport, variance: f64, lr: f64, seconds: f64) -> Self {
        let StepReport { loss, penalty, aux_loss, l0, entries, dead, grad_norm, .. } = *report;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let fvu = loss / variance;
        Record { step, tokens, loss, penalty, aux_loss, fvu, l0, entries, dead, grad_norm, lr, seconds, time }
    }

    /// What is shown of a step over time, by name.
    pub(crate) fn figures(&self) -> [(&'static str, f64); 8] {
        [
            ("fvu", self.fvu),
            ("l0", self.l0),
            ("loss", self.loss),
            ("penalty", self.penalty),
            ("aux_loss", self.aux_loss),
            ("dead", self.dead as f64),
            ("grad_norm", self.grad_norm),
            ("lr", self.lr),
        ]
    }
}

/// The records of a file; a line that is no record, such as one that was cut short by a kill, is left out.
pub(crate) fn read(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Appends records to the files. Every record is written at once, so that who looks on sees it.
pub(crate) struct Log {
    metrics: Appended,
    events: Option<Appended>,
    /// Whether a record has been written, now or by the run that is continued.
    begun: bool,
}

impl Log {
    /// Opens the log of a run that has done `step` steps: what an interrupted run logged after its last checkpoint is
    /// dropped, because those steps are done again. The event file is made anew from what stays.
    pub(crate) fn open(metrics: &Path, events: Option<&Path>, step: u64) -> Result<Self, TrainError> {
        let kept: Vec<Record> = read(metrics).into_iter().filter(|record| record.step <= step).collect();
        let metrics = Appended::new(metrics)?;
        let mut log = Log { metrics, events: events.map(Appended::new).transpose()?, begun: false };
        kept.iter().try_for_each(|record| log.write(record))?;
        Ok(log)
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = serde_json::to_string(record);
        let line = line.map_err(|e| TrainError::Io { path: self.metrics.path.clone(), source: e.into() })?;
        self.metrics.append(format!("{line}\n").as_bytes())?;
        if let Some(events) = &mut self.events {
            let beginning = if self.begun { Vec::new() } else { tensorboard::beginning(record) };
            events.append(&[beginning, tensorboard::scalars(record)].concat())?;
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
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path);
        let file = file.map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
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
        let write = |path: &Path, events: &Path, done: u64, steps: std::ops::RangeInclusive<u64>| {
            let mut log = Log::open(path, Some(events), done).expect("writable");
            steps.for_each(|step| log.write(&record(step)).expect("writable"));
        };
        write(&whole, &whole_events, 0, 1..=9);
        write(&cut, &cut_events, 0, 1..=7);
        // A kill in the middle of a line and of an event.
        let mut torn = OpenOptions::new().append(true).open(&cut).expect("there");
        torn.write_all(b"{\"step\":8,\"tok").expect("writable");
        let mut torn = OpenOptions::new().append(true).open(&cut_events).expect("there");
        torn.write_all(&[99, 0, 0]).expect("writable");
        write(&cut, &cut_events, 5, 6..=9);
        for (a, b) in [(whole, cut), (whole_events, cut_events)] {
            assert_eq!(fs::read(a).expect("there"), fs::read(b).expect("there"));
        }
    }
}
