//! Gated: one path decides whether a latent fires, another how strongly (Rajamanoharan et al. 2024a, equations 6 to 8).
//!
//! ```text
//! u = w_i · z        pi = u + b_gate        m = exp(r) u + b_mag        f = 1[pi > 0] relu(m)
//! L = 1/n sum_r ( |W_dec^T f - z|^2 + lambda sum_i relu(pi) |d_i| + |sg(W_dec)^T relu(pi) - sg(z_hat)|^2 )
//! with g = 2/n e of the first reconstruction, g' = 2/n e' of the one from the gate, where pi > 0:
//! dL/dm = g · d_i where m > 0        dL/dpi = lambda/n + g' · d_i
//! dL/du = exp(r) dL/dm + dL/dpi      dL/dr = exp(r) u dL/dm        dL/db_mag = dL/dm        dL/db_gate = dL/dpi
//! ```
//!
//! `sg` stops gradients: the reconstruction from the gate moves neither decoder nor `b_dec` where they decode. `pi` is the
//! pre-activation of the other architectures and `b_gate` stands where they have `b_enc`. The sum over a latent's entries of
//! `dL/du` is what `b_dec` and the encoder see; `dL/db_gate` follows from it by `gate_bias`.

use super::above::choose_positive;
use super::asked::{About, Asked};
use super::method::{Method, Ruled, Units};
use super::rule::{At, Local, Rule, WithRule};
use super::tensors::{Leaves, Pass, Passed};
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
pub struct Gated {
    /// The coefficient.
    pub sparsity: Sparsity,
}

impl Ruled for Gated {
    const ABOUT: About = About::PENALISED;

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(Gated { sparsity: asked.sparsity_of(L1_COEFFICIENT) })
    }

    #[inline(always)]
    fn with_rule<W: WithRule>(&self, state: &TrainState, n: usize, _: f64, work: W) -> W::Out {
        let scale: Vec<f32> = state.extras[R_MAG].value.iter().map(|r| r.exp()).collect();
        let (b_gate, b_mag) = (&state.b_enc.value, &state.extras[B_MAG].value);
        work.with(&Gate { b_gate, scale: &scale, b_mag, weight: state.penalty_of_entry(self.sparsity, n) })
    }
}

impl Method for Gated {
    fn sparsity(&self) -> Option<Sparsity> {
        Some(self.sparsity)
    }

    fn extras(&self) -> &'static [&'static str] {
        &["r_mag", "b_mag"]
    }

    fn learning_rate(&self, batch: usize) -> f64 {
        of_penalised(0.5, batch)
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        choose_positive(state, scratch, activity)
    }

    fn finish_vectors(&self, state: &TrainState, d_b: &mut [f32], d_extras: &[Vec<f32>]) {
        gate_bias(d_b, &state.extras[R_MAG].value, &d_extras[B_MAG]);
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let Leaves { b_enc, w_dec, b_dec, extras, .. } = pass.leaves;
        let u = pass.pre.f_sub(b_enc)?;
        let magnitude = extras[R_MAG].f_exp()?.f_mul(&u)?.f_add(&extras[B_MAG])?;
        let (open, gate) = (pass.pre.f_gt(0)?, pass.pre.f_relu()?);
        let passed = pass.penalised(magnitude.f_relu()?.f_mul(&open)?, &gate)?;
        let of_gate = pass.error_of(&gate.f_matmul(&w_dec.f_detach()?)?.f_add(&b_dec.f_detach()?)?)?;
        let penalty = passed.penalty.map_or(Ok(of_gate.shallow_clone()), |penalty| penalty.f_add(&of_gate))?;
        Ok(Passed { penalty: Some(penalty), entries: open, ..passed })
    }

    fn saved_as(&self, state: &TrainState, units: Units) -> Activation {
        let r_mag = state.extras[R_MAG].value.to_vec();
        let b_mag = units.divided(state.extras[B_MAG].value.iter().copied());
        Activation::Gated { r_mag, b_mag }
    }

    /// The gate reconstructs as well.
    fn dense_products(&self) -> f64 {
        7.0
    }
}

/// Place of `r_mag` among the further parameters.
const R_MAG: usize = 0;
/// Place of `b_mag`.
const B_MAG: usize = 1;

/// The rule of one step.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// `b_gate`, `[d_sae]`
    pub b_gate: &'a [f32],
    /// `exp(r)`, `[d_sae]`
    pub scale: &'a [f32],
    /// `b_mag`, `[d_sae]`
    pub b_mag: &'a [f32],
    /// `lambda / n`
    pub weight: f32,
}

impl Rule for Gate<'_> {
    const EXTRAS: usize = 2;
    const GATED: bool = true;

    #[inline(always)]
    fn latents(&self) -> usize {
        self.b_gate.len().min(self.scale.len()).min(self.b_mag.len())
    }

    #[inline(always)]
    fn act(&self, latent: usize, p: f32) -> f32 {
        let magnitude = self.scale[latent].mul_add(p - self.b_gate[latent], self.b_mag[latent]);
        if p > 0.0 { magnitude.max(0.0) } else { 0.0 }
    }

    #[inline(always)]
    fn gate(&self, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        if at.p <= 0.0 {
            return Local::default();
        }
        let d_mag = if at.f > 0.0 { at.h } else { 0.0 };
        let of_u = self.scale[at.latent] * d_mag;
        Local {
            d_pre: of_u + at.h_gate + self.weight,
            d_extra: [of_u * (at.p - self.b_gate[at.latent]), d_mag],
            penalty: self.weight * at.p,
        }
    }
}

/// Turns the sums of `dL/du` into the gradient of `b_gate`, given that of `b_mag`.
fn gate_bias(d_b: &mut [f32], r_mag: &[f32], d_b_mag: &[f32]) {
    for ((d_b, r), d_b_mag) in d_b.iter_mut().zip(r_mag).zip(d_b_mag) {
        *d_b -= r.exp() * d_b_mag;
    }
}
