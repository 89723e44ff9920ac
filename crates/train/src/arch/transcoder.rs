//! Transcoders: what a place of the model will say, from what another says: latents of a computation and not of a state
//! (Dunefsky et al. 2024, section 3). A skip connection takes the linear part of it (Paulo et al. 2025).
//!
//! ```text
//! z_r = s x_r - c        f = the k n largest of relu(W_enc z + b_enc), as in batch-topk
//! y_hat_r = sum_i f_ri d_i + b_dec + W_skip z_r        e_r = y_hat_r - t y_r        L = 1/n sum_r |e_r|^2        g_r = 2/n e_r
//! dL/df_ri = g_r · d_i      dL/db_dec = sum_r g_r      dL/dW_skip = sum_r g_r z_r^T
//! ```
//!
//! `s` and `t` are the scales of the two activations; `c`, the mean of `s x`, stays, and is folded into `b_enc` and `b_dec`
//! when the dictionary is saved. `b_dec` starts at the mean of `t y`, `W_skip` at zero. Without a skip connection, the terms
//! with `W_skip` are absent.
//!
//! Latents are left to explain `t y - b_dec - W_skip z`, which is computed first; all that follows is as in an autoencoder,
//! AuxK as well, whose residual is the target's and whose `k_aux` is half of the target's width.

use super::asked::{About, Asked};
use super::batch_top_k;
use super::method::{Method, Ruled, Units};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Scratches};
use crate::error::TrainError;
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::{Activation, SaeError};

/// Settings of a transcoder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcoder {
    /// As of batch-topk.
    pub k: usize,
    /// As of batch-topk.
    pub l0: f64,
}

/// Settings of a transcoder with a linear way past its latents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkipTranscoder {
    /// As of batch-topk.
    pub k: usize,
    /// As of batch-topk.
    pub l0: f64,
}

impl Ruled for Transcoder {
    const ABOUT: About = About { is_transcoder: true, ..About::BY_BATCH };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(Transcoder { k: asked.k, l0: asked.aim() })
    }
}

impl Method for Transcoder {
    fn target_l0(&self) -> Option<f64> {
        Some(self.l0)
    }

    fn is_calibrated(&self) -> bool {
        true
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        batch_top_k::choose(state, self.k, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        pass.by_batch(self.k)
    }

    fn saved_as(&self, state: &TrainState, units: Units) -> Activation {
        units.one_threshold(state.d_sae)
    }
}

impl Ruled for SkipTranscoder {
    const ABOUT: About = Transcoder::ABOUT;

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(SkipTranscoder { k: asked.k, l0: asked.aim() })
    }
}

impl Method for SkipTranscoder {
    fn target_l0(&self) -> Option<f64> {
        Some(self.l0)
    }

    fn is_calibrated(&self) -> bool {
        true
    }

    fn has_skip(&self) -> bool {
        true
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        batch_top_k::choose(state, self.k, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        pass.by_batch(self.k)
    }

    fn saved_as(&self, state: &TrainState, units: Units) -> Activation {
        units.one_threshold(state.d_sae)
    }
}
