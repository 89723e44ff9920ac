//! `metrics.jsonl`: one JSON object per logged step.

use crate::error::TrainError;
use crate::step::StepReport;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A logged step. Losses are of normalised rows; `fvu` is the batch's loss over the variance of a sample of the training
/// rows, a running figure and not the held-out metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Dead latents.
    pub dead: usize,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Seconds of this process since it began the run or continued it.
    pub seconds: f64,
}

impl Record {
    pub(crate) fn new(step: u64, tokens: u64, report: &StepReport, variance: f64, lr: f64, seconds: f64) -> Self {
        let StepReport { loss, penalty, aux_loss, l0, dead, grad_norm, .. } = *report;
        Record { step, tokens, loss, penalty, aux_loss, fvu: loss / variance, l0, dead, grad_norm, lr, seconds }
    }
}

/// Appends records to the file.
pub(crate) struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Log {
    /// Opens the log of a run that has done `step` steps: what an interrupted run logged after its last checkpoint is
    /// dropped, because those steps are done again.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Self, TrainError> {
        let io = |source| TrainError::Io { path: path.to_owned(), source };
        let before = if step == 0 { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
        let done = |line: &&str| serde_json::from_str(line).is_ok_and(|record: Record| record.step <= step);
        let kept: String = before.lines().filter(done).map(|line| format!("{line}\n")).collect();
        fs::write(path, kept).map_err(io)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        Ok(Log { path: path.to_owned(), file: BufWriter::new(file) })
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        let io = |source| TrainError::Io { path: self.path.clone(), source };
        let line = serde_json::to_string(record).map_err(|e| io(e.into()))?;
        writeln!(self.file, "{line}").map_err(io)
    }

    pub(crate) fn flush(&mut self) -> Result<(), TrainError> {
        self.file.flush().map_err(|source| TrainError::Io { path: self.path.clone(), source })
    }
}
