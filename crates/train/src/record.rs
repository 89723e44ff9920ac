//! A logged step, as a line of `metrics.jsonl` has it.

use crate::step::StepReport;
use serde::{Deserialize, Serialize};
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
