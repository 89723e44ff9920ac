//! The checked plan of a run: every number that decides its result, a function of what was asked for and of the data.

use crate::adam::Optimiser;
use crate::arch::Architecture;
use crate::constraint::Freeze;
use crate::scale::Centre;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};
use untangle_sae::Precision;

/// An arithmetic that nobody asked for, and that the machine chooses when the run begins.
pub(crate) const AUTO: &str = "auto";

/// A checked run: every number that decides the result. Saved beside it, and compared before a run is continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainPlan {
    /// The architecture with its settings.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// Width of the activations; of a crosscoder, of all its parts together.
    pub d_in: usize,
    /// Width of what a transcoder predicts; none of autoencoders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_out: Option<usize>,
    /// Number of features.
    pub d_sae: usize,
    /// Rows per step.
    pub batch: usize,
    /// Learning rate by step, and the number of steps.
    pub schedule: Schedule,
    /// How weights are moved.
    #[serde(default)]
    pub optimiser: Optimiser,
    /// Where `b_dec` starts.
    #[serde(default)]
    pub centre: Centre,
    /// Seed of the first weights.
    pub seed: u64,
    /// Global norm that gradients are clipped to; none for no clipping.
    pub clip_norm: Option<f64>,
    /// Coefficient of AuxK.
    pub aux_coefficient: f64,
    /// Tokens of silence after which a latent counts as dead.
    pub dead_after: u64,
    /// Whether rows are scaled in training.
    pub normalise: bool,
    /// Arithmetic of the encoder product: `f32`, `bf16` or `int8`; or `auto`, which is not yet chosen ([`crate::settle()`]).
    pub precision: String,
    /// Decay of the average of the weights that is saved in their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// What stays as it was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

impl TrainPlan {
    /// Tokens of the whole run.
    pub fn tokens(&self) -> u64 {
        self.schedule.steps * self.batch as u64
    }

    /// Widths of what is read and of what is reconstructed.
    pub fn widths(&self) -> (usize, usize) {
        (self.d_in, self.d_out.unwrap_or(self.d_in))
    }

    /// The name of the architecture, and how many features are to be active, for people.
    pub fn summary(&self) -> String {
        let frozen = self.freeze.map_or_else(String::new, |what| format!(", {what} frozen"));
        format!("{} with {} features{}{frozen}", self.architecture.name(), self.d_sae, self.architecture.aims_at())
    }

    /// Whether nothing in it is left to the machine.
    pub(crate) fn is_settled(&self) -> bool {
        self.precision != AUTO
    }

    /// Arithmetic of the encoder product; what is fastest here, where it is not yet chosen.
    pub fn precision(&self) -> Precision {
        match self.precision.as_str() {
            AUTO => Precision::fastest(),
            name => Precision::named(name).unwrap_or(Precision::F32),
        }
    }
}
