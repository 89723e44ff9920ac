//! A dictionary in training: its state, and the scales of its data.

use crate::activity::{Batch, Scaled};
use crate::constraint::Held;
use crate::job::Run;
use crate::plan::TrainPlan;
use crate::scale::{DataScale, TargetScale};
use crate::state::TrainState;
use crate::step::StepSettings;
use untangle_store::RowBlock;

/// A dictionary in training.
pub(crate) struct Trained {
    pub(crate) state: TrainState,
    pub(crate) scale: DataScale,
    /// Of what a transcoder predicts.
    pub(crate) target: Option<TargetScale>,
    /// What holds of its rows.
    pub(crate) held: Held,
}

impl Trained {
    /// What a step learns from, of a block of the source.
    pub(crate) fn batch<'a>(&self, run: &Run, block: &'a RowBlock) -> Batch<'a> {
        let scaled = |column: usize, factor| Scaled { rows: &block.columns[column], factor };
        let target = run.target.zip(self.target).map(|(column, target)| scaled(column, target.factor));
        let inputs = run.columns().zip(self.scale.factors()).map(|(column, factor)| scaled(column, factor)).collect();
        Batch { inputs, target }
    }

    /// Variance of what is reconstructed, in units of training.
    pub(crate) fn variance(&self) -> f64 {
        self.target.map_or(self.scale.variance, |target| target.variance)
    }
}

/// What does not change from step to step.
pub(crate) fn settings<'a>(plan: &'a TrainPlan, held: &'a Held) -> StepSettings<'a> {
    StepSettings {
        architecture: &plan.architecture,
        held,
        clip_norm: plan.clip_norm.map_or(f32::INFINITY, |norm| norm as f32),
        aux_coefficient: plan.aux_coefficient as f32,
        dead_after: plan.dead_after,
    }
}
