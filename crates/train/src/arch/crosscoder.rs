//! Crosscoders: features of several activations at once, of several hook points or several models (Lindsey et al. 2024).
//!
//! ```text
//! z = (s_1 x^1 - b^1, ..., s_M x^M - b^M)        p = W_enc z + b_enc        x_hat^m = sum_i f_i d_i^m + b^m
//! L = 1/n sum_r sum_m |x_hat_r^m - s_m x_r^m|^2
//! c_i = sum_m |d_i^m|                            what a unit of feature i costs
//!
//! batch-topk  f = the k n largest of relu(p_i) c_i over all rows and latents, there p_i, elsewhere zero
//! L1          f = relu(p)        L' = L + lambda/n sum_r sum_i f_ri c_i
//!             dL'/dp_ri = g_r · d_i + lambda/n c_i where p_ri > 0
//!             dL'/dd_i^m has besides lambda/n (sum_r f_ri) d_i^m / |d_i^m|
//! ```
//!
//! The ranking and the penalty by the sum of the norms are what lets a feature be one part's alone: of rows that are unit over
//! all parts together, one that lies in one part costs 1, one that is spread over all costs up to sqrt(M) (Minder et al.
//! 2025 of batch-topk). The scales `s_m` make the parts equally large. All else is as in an autoencoder of the parts put
//! side by side.

use super::above::choose_positive;
use super::asked::{About, Asked};
use super::batch_top_k;
use super::controller::Aim;
use super::method::{Method, Ruled, Units};
use super::rule::{At, Local, Rule, WithRule};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Scratches};
use crate::error::TrainError;
use crate::norms::NormPenalty;
use crate::penalty::{L1_COEFFICIENT, Sparsity};
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::{Activation, SaeError};

/// Settings of a crosscoder that chooses by batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crosscoder {
    /// As of batch-topk.
    pub k: usize,
    /// As of batch-topk.
    pub l0: f64,
    /// Number of activations.
    pub parts: usize,
}

/// Settings of a crosscoder with L1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrosscoderL1 {
    /// The coefficient.
    pub sparsity: Sparsity,
    /// Number of activations.
    pub parts: usize,
}

impl Ruled for Crosscoder {
    const ABOUT: About = About { is_crosscoder: true, ..About::BY_BATCH };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(Crosscoder { k: asked.k, l0: asked.aim(), parts: asked.parts })
    }
}

impl Method for Crosscoder {
    fn target_l0(&self) -> Option<f64> {
        Some(self.l0)
    }

    fn is_calibrated(&self) -> bool {
        true
    }

    fn parts(&self) -> usize {
        self.parts
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        batch_top_k::choose(state, self.k, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let ranks = pass.pre.f_relu()?.f_mul(&pass.costs(self.parts)?)?;
        let (acts, smallest) = pass.largest_of_batch(&ranks, self.k)?;
        Ok(Passed { smallest: Some(smallest), ..pass.passed(acts)? })
    }

    fn saved_as(&self, _: &TrainState, _: Units) -> Activation {
        Activation::Relu
    }
}

impl Ruled for CrosscoderL1 {
    const ABOUT: About = About { is_crosscoder: true, ..About::PENALISED };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(CrosscoderL1 { sparsity: asked.sparsity_of(L1_COEFFICIENT), parts: asked.parts })
    }

    #[inline(always)]
    fn with_rule<W: WithRule>(&self, state: &TrainState, n: usize, _: f64, work: W) -> W::Out {
        let weight = state.penalty_of_entry(self.sparsity, n);
        work.with(&WeightedL1 { weight, norm_sums: &state.norm_sums })
    }
}

impl Method for CrosscoderL1 {
    fn sparsity(&self) -> Option<Sparsity> {
        Some(self.sparsity)
    }

    fn parts(&self) -> usize {
        self.parts
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        choose_positive(state, scratch, activity)
    }

    fn norm_penalty(&self, state: &TrainState, n: usize) -> Option<NormPenalty> {
        Some(NormPenalty { weight: state.penalty_of_entry(self.sparsity, n), parts: self.parts })
    }

    /// Straight to its target: of 36 planted features it then finds 35.3, along a fall 30.8 (mean of eight seeds,
    /// `tests/crosscoder.rs`).
    fn aim(&self, _: usize) -> Option<Aim> {
        Some(Aim::straight(self.sparsity.l0?, self.sparsity.steps))
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let acts = pass.pre.f_relu()?;
        let costs = acts.f_mul(&pass.costs(self.parts)?)?;
        pass.penalised(acts, &costs)
    }

    fn saved_as(&self, _: &TrainState, _: Units) -> Activation {
        Activation::Relu
    }
}

/// The rule of one step with L1.
#[derive(Clone, Copy, Debug)]
pub struct WeightedL1<'a> {
    /// `lambda / n`
    pub weight: f32,
    /// `c`, `[d_sae]`
    pub norm_sums: &'a [f32],
}

impl Rule for WeightedL1<'_> {
    #[inline(always)]
    fn act(&self, _: usize, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        let cost = self.weight * self.norm_sums[at.latent];
        let fires = if at.f > 0.0 { 1.0 } else { 0.0 };
        Local { d_pre: fires * (at.h + cost), penalty: cost * at.f, ..Local::default() }
    }
}
