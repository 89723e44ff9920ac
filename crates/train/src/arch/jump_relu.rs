//! JumpReLU: every latent has a threshold of its own, learned through straight-through estimators (Rajamanoharan et al.
//! 2024b, sections 3 and 4).
//!
//! ```text
//! f = p H(p - theta)        K = 1[|p - theta| < eps/2]        L0_r = sum_i H(p_ri - theta_i)
//! L = 1/n sum_r |W_dec^T f_r - z_r|^2 + S
//! step       S = lambda/n sum_r L0_r                                 Rajamanoharan et al. 2024b
//! quadratic  S = lambda (L0 / T - 1)^2, L0 the batch's mean          Gemma Scope 2
//! tanh       S = lambda/n sum_r sum_i tanh(c f_ri |d_i|)             Anthropic, January 2025 update
//! dL/df = g · d_i  (tanh: + lambda c/n (1 - tanh^2(c f)))
//! dL/dp = dL/df where p > theta      df/dtheta := -theta/eps K       dH/dtheta := -1/eps K
//! ```
//!
//! Entries within the kernel's window on either side of the threshold carry the threshold's gradient, so both are chosen.
//! Thresholds are f32 and never negative.

use super::above::choose_above;
use super::asked::{About, Asked, Setting};
use super::method::{Method, Ruled, SumOverActive, Units};
use super::rule::{At, Local, Rule, WithRule};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Scratches};
use crate::error::TrainError;
use crate::penalty::{Penalty, PenaltyKind, Sparsity};
use crate::schedule::of_penalised;
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};
use untangle_sae::kernels::bounds::Bounds;
use untangle_sae::{Activation, SaeError};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JumpRelu {
    /// The penalty on L0.
    pub penalty: Penalty,
    /// Its coefficient.
    pub sparsity: Sparsity,
    /// Width of the straight-through estimators' window.
    pub bandwidth: f64,
    /// Thresholds at the start.
    pub threshold: f64,
}

/// Window of the estimators and the first thresholds, in units of normalised data, where pre-activations begin with a
/// standard deviation of one half. Chosen by the table at the end of `defaults.md`.
const BANDWIDTH: f64 = 0.5;
const FIRST_THRESHOLD: f64 = 0.75;
/// Coefficients where none is given, in units of normalised data.
const STEP: f64 = 0.1;
const TANH: f64 = 0.1;
const QUADRATIC: f64 = 3.0;
/// Part of the run in which the quadratic penalty, which nothing steers, rises from zero: it shall press late and not drive out
/// early what is being learned.
const QUADRATIC_WARM_UP: f64 = 0.5;
/// Entries, which are those that fire and those near a threshold, per one that fires: 3.5 in dictionaries of
/// the bundled organism at the end of training.
const NEAR_A_THRESHOLD: f64 = 3.5;

impl Ruled for JumpRelu {
    const ABOUT: About = About {
        settings: &[Setting::Sparsity, Setting::Bandwidth, Setting::Threshold],
        has_thresholds: true,
        ..About::PENALISED
    };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        let (penalty, usual) = match asked.penalty {
            PenaltyKind::Step => (Penalty::Step, STEP),
            PenaltyKind::Tanh => (Penalty::Tanh, TANH),
            PenaltyKind::Quadratic => (Penalty::Quadratic { target: asked.aim() }, QUADRATIC),
        };
        let mut sparsity = asked.sparsity_of(usual);
        if asked.penalty == PenaltyKind::Quadratic {
            // It has its target itself.
            sparsity.l0 = None;
            sparsity.warm_up = (QUADRATIC_WARM_UP * asked.steps as f64).round() as u64;
        }
        let (bandwidth, threshold) = (asked.bandwidth.unwrap_or(BANDWIDTH), asked.threshold.unwrap_or(FIRST_THRESHOLD));
        Ok(JumpRelu { penalty, sparsity, bandwidth, threshold })
    }

    #[inline(always)]
    fn with_rule<W: WithRule>(&self, state: &TrainState, n: usize, l0: f64, work: W) -> W::Out {
        let weight = state.penalty_of_entry(self.sparsity, n);
        let (theta, bandwidth) = (&state.extras[0].value[..], self.bandwidth as f32);
        let per_entry = match self.penalty {
            Penalty::Step => weight,
            Penalty::Tanh => 0.0,
            Penalty::Quadratic { target } => {
                let lambda = state.lambda(self.sparsity);
                (lambda * 2.0 * (l0 / target - 1.0) / target / n as f64) as f32
            }
        };
        let counts = self.penalty == Penalty::Step;
        match self.penalty {
            Penalty::Tanh => work.with(&Jump::<true> { theta, bandwidth, per_entry, counts, tanh: weight }),
            _ => work.with(&Jump::<false> { theta, bandwidth, per_entry, counts, tanh: 0.0 }),
        }
    }
}

impl Method for JumpRelu {
    fn sparsity(&self) -> Option<Sparsity> {
        Some(self.sparsity)
    }

    fn target_l0(&self) -> Option<f64> {
        match self.penalty {
            Penalty::Quadratic { target } => Some(target),
            _ => self.sparsity.l0,
        }
    }

    fn is_calibrated(&self) -> bool {
        self.target_l0().is_some()
    }

    fn extras(&self) -> &'static [&'static str] {
        &["threshold"]
    }

    fn learning_rate(&self, batch: usize) -> f64 {
        of_penalised(0.4, batch)
    }

    fn begin(&self, state: &mut TrainState) {
        state.extras[0].value.fill(self.threshold as f32);
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        let bounds = bounds(&state.extras[0].value, self.bandwidth as f32);
        choose_above(state, &Bounds::new(&state.encoder(), bounds), scratch, activity)
    }

    fn thresholds<'a>(&self, state: &'a TrainState) -> Option<&'a [f32]> {
        Some(&state.extras[0].value)
    }

    fn batch_penalty(&self, state: &TrainState, l0: f64) -> f64 {
        match self.penalty {
            Penalty::Quadratic { target } => state.lambda(self.sparsity) * (l0 / target - 1.0).powi(2),
            _ => 0.0,
        }
    }

    fn after_step(&self, state: &mut TrainState, _: &SumOverActive<'_>) {
        state.extras[0].value.iter_mut().for_each(|theta| *theta = theta.max(0.0));
    }

    /// Straight-through estimators by their definition: terms whose value is zero and whose slopes are the estimators'.
    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let (theta, n) = (&pass.leaves.extras[0], pass.n() as f64);
        let constant = theta.f_detach()?;
        let moved = theta.f_sub(&constant)?;
        let above = pass.pre.f_detach()?.f_sub(&constant)?;
        let fires = above.f_gt(0)?.f_to_kind(Kind::Float)?;
        let window = above.f_abs()?.f_lt(self.bandwidth / 2.0)?.f_to_kind(Kind::Float)?;
        let slope = window.f_div_scalar(self.bandwidth)?.f_mul(&moved)?;
        let acts = pass.pre.f_mul(&fires)?.f_sub(&slope.f_mul(&constant)?)?;
        let l0 = fires.f_sub(&slope)?.f_sum(Kind::Float)?.f_div_scalar(n)?;
        let penalty = match self.penalty {
            Penalty::Step => l0,
            Penalty::Quadratic { target } => l0.f_div_scalar(target)?.f_sub_scalar(1)?.f_square()?,
            Penalty::Tanh => pass.mean(&acts.f_mul_scalar(f64::from(TANH_SCALE))?.f_tanh()?)?,
        };
        let entries = above.f_gt(-self.bandwidth / 2.0)?;
        let penalty = Some(penalty.f_mul_scalar(pass.lambda)?);
        Ok(Passed { penalty, entries, ..pass.passed(acts)? })
    }

    fn extra_in_range(&self, values: &Tensor) -> Result<Tensor, TchError> {
        values.f_clamp_min(0)
    }

    fn saved_as(&self, state: &TrainState, units: Units) -> Activation {
        let thresholds = state.extras[0].value.iter().map(|theta| (theta + units.shift).max(0.0));
        Activation::JumpRelu { threshold: units.divided(thresholds) }
    }

    fn entries_per_active(&self) -> f64 {
        NEAR_A_THRESHOLD
    }

    fn half_window(&self) -> Option<f64> {
        Some(self.bandwidth / 2.0)
    }
}

/// `c`, from the published recipe.
pub const TANH_SCALE: f32 = 4.0;

/// The rule of one step. Whether the penalty is tanh is part of the type: without it, loops over latents vectorise.
#[derive(Clone, Copy, Debug)]
pub struct Jump<'a, const TANH: bool> {
    /// `theta`, `[d_sae]`
    pub theta: &'a [f32],
    /// `eps`
    pub bandwidth: f32,
    /// dS/dL0 of one entry: `lambda / n`, or `2 lambda (L0 / T - 1) / (T n)`; zero for tanh.
    pub per_entry: f32,
    /// Whether the loss grows by `per_entry` with every entry, as in step.
    pub counts: bool,
    /// `lambda / n` of tanh, else zero.
    pub tanh: f32,
}

/// What a pre-activation has to exceed in order to matter.
fn bounds(theta: &[f32], bandwidth: f32) -> Vec<f32> {
    theta.iter().map(|theta| theta - bandwidth / 2.0).collect()
}

impl<const TANH: bool> Rule for Jump<'_, TANH> {
    const EXTRAS: usize = 1;
    const SILENT_LEARN: bool = true;

    #[inline(always)]
    fn latents(&self) -> usize {
        self.theta.len()
    }

    #[inline(always)]
    fn act(&self, latent: usize, p: f32) -> f32 {
        if p > self.theta[latent] { p.max(0.0) } else { 0.0 }
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        let theta = self.theta[at.latent];
        let (mut d_f, mut penalty) = (at.h, 0.0);
        if TANH {
            let t = (TANH_SCALE * at.f).tanh();
            d_f += self.tanh * TANH_SCALE * (1.0 - t * t);
            penalty = self.tanh * t;
        }
        let fires = at.p > theta;
        penalty += if fires & self.counts { self.per_entry } else { 0.0 };
        let in_window = (at.p - theta).abs() < self.bandwidth / 2.0;
        let d_theta = if in_window { -(theta * d_f + self.per_entry) / self.bandwidth } else { 0.0 };
        Local { d_pre: if fires { d_f } else { 0.0 }, d_extra: [d_theta, 0.0], penalty }
    }
}
