//! p-annealing: ReLU with an Lp penalty whose p falls from 1, so that it ends close to counting (Karvonen et al. 2024).
//!
//! ```text
//! f = relu(p)        L = 1/n sum_r |W_dec^T f_r - z_r|^2 + alpha_t/n sum_r sum_i phi(f_ri),  phi(f) = f^q
//! dL/dp_ri = g_r · d_i + alpha_t/n q f_ri^(q-1) where p_ri > 0, else 0
//! ```
//!
//! `q` falls in [`UPDATES`] equal drops; at each, `alpha` is multiplied by `sum phi_q / sum phi_q'` of the batch, so that the
//! penalty goes on where it was. The slope of `f^q` is infinite at zero: below [`FLOOR`] the curve goes on as its tangent.

use super::above::choose_positive;
use super::asked::{About, Asked};
use super::method::{Method, Ruled, SumOverActive, Units};
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
pub struct PAnneal {
    /// The coefficient at the start.
    pub sparsity: Sparsity,
    /// Step at which p begins to fall.
    pub begin: u64,
    /// Steps of the run.
    pub steps: u64,
    /// What p falls to.
    pub end: f64,
}

/// Part of the run after which the exponent begins to fall, and what it falls to (Karvonen et al. 2024).
const BEGIN: f64 = 0.2;
const END: f64 = 0.2;

impl Ruled for PAnneal {
    const ABOUT: About = About::PENALISED;

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        let (sparsity, steps) = (asked.sparsity_of(L1_COEFFICIENT), asked.steps);
        Ok(PAnneal { sparsity, begin: (BEGIN * steps as f64).round() as u64, steps, end: END })
    }

    #[inline(always)]
    fn with_rule<W: WithRule>(&self, state: &TrainState, n: usize, _: f64, work: W) -> W::Out {
        work.with(&Lp { weight: state.penalty_of_entry(self.sparsity, n), q: state.carried.exponent as f32 })
    }
}

impl Method for PAnneal {
    fn sparsity(&self) -> Option<Sparsity> {
        Some(self.sparsity)
    }

    fn learning_rate(&self, batch: usize) -> f64 {
        of_penalised(0.5, batch)
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        choose_positive(state, scratch, activity)
    }

    fn after_step(&self, state: &mut TrainState, active: &SumOverActive<'_>) {
        let (now, next) = (state.carried.exponent, exponent(state.step + 1, self.begin, self.steps, self.end));
        if next != now {
            state.carried.coefficient *= ratio_of_penalties(active, now, next);
            state.carried.exponent = next;
        }
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let (acts, q, floor) = (pass.pre.f_relu()?, pass.exponent, f64::from(FLOOR));
        let tangent = acts.f_sub_scalar(floor)?.f_mul_scalar(q * floor.powf(q - 1.0))?.f_add_scalar(floor.powf(q))?;
        let power = acts.f_clamp_min(floor)?.f_pow_tensor_scalar(q)?;
        let phi = power.f_where_self(&acts.f_gt(floor)?, &tangent)?.f_mul(&acts.f_gt(0)?)?;
        pass.penalised(acts, &phi)
    }

    fn saved_as(&self, _: &TrainState, _: Units) -> Activation {
        Activation::Relu
    }
}

/// `sum phi_now / sum phi_next` over the batch's active entries; 1 where there are none, as in a dense step.
fn ratio_of_penalties(active: &SumOverActive<'_>, now: f64, next: f64) -> f64 {
    let total = |q: f64| {
        let lp = Lp { weight: 1.0, q: q as f32 };
        active(&|f| f64::from(lp.phi(f).0))
    };
    let (now, next) = (total(now), total(next));
    if now > 0.0 && next > 0.0 { now / next } else { 1.0 }
}

/// Drops of the exponent in a run (the reference's number of sparsity updates).
pub const UPDATES: u64 = 10;
/// Where the tangent takes over; chosen, a hundredth of what a latent that fires has in normalised units.
pub const FLOOR: f32 = 0.01;

/// The rule of one step.
#[derive(Clone, Copy, Debug)]
pub struct Lp {
    /// `alpha / n`
    pub weight: f32,
    /// `q`
    pub q: f32,
}

impl Lp {
    /// `phi` and its slope.
    #[inline(always)]
    pub fn phi(&self, f: f32) -> (f32, f32) {
        let at = f.max(FLOOR);
        let power = at.powf(self.q);
        let slope = self.q * power / at;
        (power + slope * (f - at), slope)
    }
}

impl Rule for Lp {
    #[inline(always)]
    fn act(&self, _: usize, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        if at.f <= 0.0 {
            return Local::default();
        }
        let (phi, slope) = self.phi(at.f);
        Local { d_pre: at.h + self.weight * slope, penalty: self.weight * phi, ..Local::default() }
    }
}

/// The exponent of a step: 1 until `begin`, then down to `end` in equal drops over the rest of the run.
pub fn exponent(step: u64, begin: u64, steps: u64, end: f64) -> f64 {
    let length = steps.saturating_sub(begin).max(1);
    let drops = (step.saturating_sub(begin) * (UPDATES + 1) / length).min(UPDATES);
    1.0 - (1.0 - end) * drops as f64 / UPDATES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_falls_in_equal_drops_and_the_curve_has_no_corner() {
        assert_eq!([0, 20, 29].map(|step| exponent(step, 20, 130, 0.2)), [1.0; 3]);
        assert!((exponent(30, 20, 130, 0.2) - 0.92).abs() < 1e-12 && (exponent(129, 20, 130, 0.2) - 0.2).abs() < 1e-12);
        let lp = Lp { weight: 1.0, q: 0.5 };
        let ((below, slope_below), (above, slope_above)) = (lp.phi(FLOOR * 0.9999), lp.phi(FLOOR * 1.0001));
        assert!((below - 0.1).abs() < 1e-4 && (above - 0.1).abs() < 1e-4 && (slope_below - slope_above).abs() < 1e-3);
        assert_eq!(lp.phi(4.0), (2.0, 0.25));
    }
}
