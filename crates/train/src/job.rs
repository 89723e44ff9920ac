//! What is to be trained on what, and what comes of it.

use crate::plan::TrainPlan;
use crate::provenance::DataProvenance;
use crate::record::Record;
use std::path::Path;
use untangle_store::{RowSource, StoreError};

/// A dictionary to train.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of its folder in the output; empty for the only dictionary of a run, which is the output itself.
    pub name: String,
    /// The column of the source that it is trained on.
    pub column: usize,
    /// The columns that a crosscoder reads beside it.
    pub further: Vec<usize>,
    /// The column that a transcoder predicts; none of autoencoders.
    pub target: Option<usize>,
    /// What decides the result.
    pub plan: TrainPlan,
    /// Where the rows came from.
    pub data: DataProvenance,
}

impl Run {
    /// Width of what is read, of each part.
    pub(crate) fn part_width(&self) -> usize {
        self.plan.d_in / self.plan.architecture.parts()
    }

    /// The columns that are read, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.column).chain(self.further.iter().copied())
    }
}

/// Gives the rows of columns, `[n, d]` each, the same rows of all.
pub type CalibrationRows<'a> = dyn Fn(&[usize]) -> Result<Vec<Vec<f32>>, StoreError> + 'a;

/// What is to be done.
pub struct Job<'a> {
    /// The dictionaries; of one batch size and number of steps.
    pub runs: &'a [Run],
    /// The rows.
    pub source: &'a mut dyn RowSource,
    /// Rows of columns that neither training reads nor the judge of the result will, `[n, d]` each, for thresholds; where
    /// there are none, thresholds are calibrated on rows of training.
    pub calibration: &'a CalibrationRows<'a>,
    /// The directory of the finished dictionary or dictionaries; work happens in `OUT.partial`.
    pub out: &'a Path,
    /// Replace a finished dictionary, and discard an unfinished run of other settings.
    pub force: bool,
    /// Steps between checkpoints; none for one every two minutes.
    pub checkpoint_every: Option<u64>,
    /// What is written for people to look at.
    pub shown: Shown<'a>,
    /// What the dictionaries are stepped by.
    pub engine: EngineKind,
}

/// What dictionaries are stepped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// The sparse step of CPUs.
    #[default]
    Native,
    /// Plain tensor operations on a device.
    Tensors(tch::Device),
}

/// Calls its second argument with blocks of rows of columns, `[n, d]` each, the same rows of all, and with which of them are
/// ordinary.
pub type ReadRows<'a> = dyn Fn(&[usize], &mut dyn FnMut(&[Vec<f32>], &[bool])) -> Result<(), StoreError> + 'a;

/// What is written for people to look at. None of it changes a result.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// Whether logged steps are also written as an event file of TensorBoard.
    pub tensorboard: bool,
    /// Whether a report is written.
    pub report: bool,
    /// Rows that training did not read, for the figures of the report; none for rows of training.
    pub held_out: Option<&'a ReadRows<'a>>,
}

/// A finished dictionary.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Name of its folder in the output.
    pub name: String,
    /// Its configuration as it is shown.
    pub config: serde_json::Value,
    /// Features that every row has at most, where that is a number of its own.
    pub k: Option<usize>,
    /// The last step's figures.
    pub last: Record,
    /// Active features per row on the calibration rows, where thresholds were calibrated.
    pub calibrated_l0: Option<f64>,
}
