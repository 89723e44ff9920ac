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

use super::rule::{At, Local, Rule};

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
pub(crate) fn bounds(theta: &[f32], bandwidth: f32) -> Vec<f32> {
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
