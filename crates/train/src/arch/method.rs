//! What an architecture has to say of itself: everything that the rest of training asks it.
//!
//! [`Method`] is what is asked once a step or less. [`Ruled`] is what loops over entries are compiled for, and what makes an
//! architecture of what is asked for.

use super::asked::{About, Asked};
use super::controller::Aim;
use super::decode::{Decode, Totals};
use super::rule::{Rectified, WithRule};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Scratches, TileMut};
use crate::error::TrainError;
use crate::norms::NormPenalty;
use crate::penalty::Sparsity;
use crate::state::TrainState;
use tch::{TchError, Tensor};
use untangle_sae::{Activation, SaeError};

/// What is asked of an architecture once a step or less. What is left out is as in topk.
pub trait Method: std::fmt::Debug + Send + Sync {
    /// The sparsity penalty's coefficient, where the loss has one.
    fn sparsity(&self) -> Option<Sparsity> {
        None
    }

    /// Active latents per row that are aimed at, where the architecture aims at a number.
    fn target_l0(&self) -> Option<f64> {
        self.sparsity()?.l0
    }

    /// The same for people, behind the number of features; empty where it aims at no number.
    fn aims_at(&self) -> String {
        self.target_l0().map_or_else(String::new, |l0| format!(", l0 {l0}"))
    }

    /// Whether thresholds are calibrated after training, on rows that training did not read.
    fn is_calibrated(&self) -> bool {
        false
    }

    /// Number of activations that are read at once; 1 but in crosscoders.
    fn parts(&self) -> usize {
        1
    }

    /// Names of the parameters that a latent has beside its rows of the matrices and `b_enc`.
    fn extras(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether there is a linear way past the latents.
    fn has_skip(&self) -> bool {
        false
    }

    /// `c` of the usual learning rate `c / sqrt(d_sae)` with this many rows per step ([`crate::schedule`]).
    fn learning_rate(&self, _batch: usize) -> f64 {
        0.25
    }

    /// Sets what does not begin at zero, beside the matrices.
    fn begin(&self, _state: &mut TrainState) {}

    /// Whether latents are ranked by the size of their pre-activations, whatever its sign.
    fn ranks_by_magnitude(&self) -> bool {
        false
    }

    /// The ends of the groups of latents that receive different gradients at a step.
    fn groups(&self, d_sae: usize, _step: u64) -> Vec<usize> {
        vec![d_sae]
    }

    /// Fills the tiles with the chosen latents and their pre-activations.
    ///
    /// # Errors
    /// When libtorch refuses a product.
    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError>;

    /// The same and all that follows, densely, in operations on tensors whose gradients libtorch can find.
    ///
    /// # Errors
    /// When libtorch refuses an operation, as where a device's memory is too small.
    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError>;

    /// A further parameter that was moved, back in its range.
    ///
    /// # Errors
    /// As above.
    fn extra_in_range(&self, values: &Tensor) -> Result<Tensor, TchError> {
        Ok(values.shallow_clone())
    }

    /// What a latent's pre-activation must exceed for it to fire, where every latent has a threshold of its own.
    fn thresholds<'a>(&self, _state: &'a TrainState) -> Option<&'a [f32]> {
        None
    }

    /// The part of the loss that belongs to the batch and to none of its entries; `l0` latents of a row are active.
    fn batch_penalty(&self, _state: &TrainState, _l0: f64) -> f64 {
        0.0
    }

    /// What the loss of `n` rows sends to decoder rows by their norms.
    fn norm_penalty(&self, _state: &TrainState, _n: usize) -> Option<NormPenalty> {
        None
    }

    /// Turns the sums over entries into the gradients of `b_enc` and the further parameters.
    fn finish_vectors(&self, _state: &TrainState, _d_b: &mut [f32], _d_extras: &[Vec<f32>]) {}

    /// What remains after the parameters have moved; `active` sums a function of the activations of the step's active entries,
    /// as far as the step kept these.
    fn after_step(&self, _state: &mut TrainState, _active: &SumOverActive<'_>) {}

    /// What L0 is steered to, where it is. Untrained, half of all latents fire.
    fn aim(&self, d_sae: usize) -> Option<Aim> {
        let Sparsity { l0, steps, .. } = self.sparsity()?;
        Some(Aim::falling(d_sae as f64 / 2.0, l0?, steps))
    }

    /// The non-linearity of what was trained, in these units.
    fn saved_as(&self, state: &TrainState, units: Units) -> Activation;

    /// Entries that a sparse step takes for each that fires.
    fn entries_per_active(&self) -> f64 {
        1.0
    }

    /// Half of the width around thresholds within which entries matter that do not fire, where there is such a window.
    fn half_window(&self) -> Option<f64> {
        None
    }

    /// Products that a dense step takes, of what begins so.
    fn dense_products(&self) -> f64 {
        5.0
    }

    /// Groups of latents at a step, at most.
    fn most_groups(&self) -> usize {
        1
    }

    /// Whether a step keeps what its product in bytes proposes for the dead.
    fn keeps_proposals(&self) -> bool {
        false
    }
}

/// Sums a function over the activations of the entries that are active.
pub type SumOverActive<'a> = dyn Fn(&dyn Fn(f32) -> f64) -> f64 + 'a;

/// Units of the raw activations.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// What raw rows, or what a transcoder predicts, were multiplied by.
    pub factor: f32,
    /// What calibration added to the thresholds, in units of training.
    pub shift: f32,
}

impl Units {
    /// Values in units of training, in raw units.
    pub fn divided(self, values: impl IntoIterator<Item = f32>) -> Vec<f32> {
        values.into_iter().map(|v| v / self.factor).collect()
    }

    /// The threshold of all latents of what chooses by batch.
    pub fn one_threshold(self, d_sae: usize) -> Activation {
        Activation::JumpRelu { threshold: vec![self.shift / self.factor; d_sae] }
    }
}

/// What loops over entries are compiled for, and what makes an architecture.
pub trait Ruled: Method + Sized {
    /// What is known of it by its name.
    const ABOUT: About;

    /// The architecture that is asked for; its settings were checked.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names the setting that cannot be.
    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError>;

    /// Does `work` under the rule of this step, for a batch of `n` rows of which `l0` latents are active.
    #[inline(always)]
    fn with_rule<W: WithRule>(&self, _state: &TrainState, _n: usize, _l0: f64, work: W) -> W::Out {
        work.with(&Rectified)
    }

    /// Reconstructs a tile of a batch of `n` rows from its entries and sends back to these what the loss says.
    #[inline(always)]
    fn decode(&self, state: &TrainState, n: usize, l0: f64, _groups: &[usize], tile: TileMut<'_>) -> Totals {
        self.with_rule(state, n, l0, Decode { state, n, tile })
    }
}
