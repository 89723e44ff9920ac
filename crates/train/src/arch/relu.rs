//! ReLU with an L1 penalty, weighted by the decoder's norms (Bricken et al. 2023; the weighting: Anthropic, April 2024
//! update).
//!
//! ```text
//! f = relu(p)        L = 1/n sum_r |W_dec^T f_r - z_r|^2 + lambda/n sum_r sum_i f_ri |d_i|
//! dL/dp_ri = g_r · d_i + lambda/n where p_ri > 0, else 0
//! ```
//!
//! Decoder rows are unit, so `|d_i| = 1`: on the sphere this is the same loss as with free rows.

use super::above::choose_positive;
use super::asked::{About, Asked};
use super::method::{Method, Ruled, Units};
use super::rule::{At, Local, Rule, WithRule};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Scratches};
use crate::error::TrainError;
use crate::penalty::{L1_COEFFICIENT, Sparsity};
use crate::schedule::of_penalised;
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::{Activation, SaeError};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relu {
    /// The coefficient.
    pub sparsity: Sparsity,
}

impl Ruled for Relu {
    const ABOUT: About = About::PENALISED;

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(Relu { sparsity: asked.sparsity_of(L1_COEFFICIENT) })
    }

    #[inline(always)]
    fn with_rule<W: WithRule>(&self, state: &TrainState, n: usize, _: f64, work: W) -> W::Out {
        work.with(&L1 { weight: state.penalty_of_entry(self.sparsity, n) })
    }
}

impl Method for Relu {
    fn sparsity(&self) -> Option<Sparsity> {
        Some(self.sparsity)
    }

    fn learning_rate(&self, batch: usize) -> f64 {
        of_penalised(0.5, batch)
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        choose_positive(state, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let acts = pass.pre.f_relu()?;
        pass.penalised(acts.shallow_clone(), &acts)
    }

    fn saved_as(&self, _: &TrainState, _: Units) -> Activation {
        Activation::Relu
    }
}

/// The rule of one step.
#[derive(Clone, Copy, Debug)]
pub struct L1 {
    /// `lambda / n`
    pub weight: f32,
}

impl Rule for L1 {
    #[inline(always)]
    fn act(&self, _: usize, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        let fires = if at.f > 0.0 { 1.0 } else { 0.0 };
        Local { d_pre: fires * (at.h + self.weight), penalty: self.weight * at.f, ..Local::default() }
    }
}
