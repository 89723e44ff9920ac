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

use super::rule::{At, Local, Rule};
use crate::state::TrainState;
use untangle_sae::kernels::vector::{axpy, dot};

/// `c_i` of a decoder row of so many parts.
#[inline(always)]
pub(crate) fn norm_sum(row: &[f32], parts: usize) -> f32 {
    row.chunks_exact(row.len() / parts).map(|part| dot(part, part).sqrt()).sum()
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

/// What the penalty sends to decoder rows.
#[derive(Clone, Copy, Debug)]
pub struct NormPenalty {
    /// `lambda / n`
    pub weight: f32,
    /// `M`
    pub parts: usize,
}

impl NormPenalty {
    /// That of a batch of `n` rows; none where the loss has none.
    pub fn of(state: &TrainState, n: usize) -> Option<Self> {
        let crate::Architecture::CrosscoderL1 { parts, .. } = state.architecture else { return None };
        Some(NormPenalty { weight: (super::lambda(state) / n as f64) as f32, parts })
    }

    /// Adds the gradient of a latent's row, `[d_out]`, whose activations sum to `acts`.
    #[inline(always)]
    pub(crate) fn add(&self, row: &[f32], acts: f32, d_d: &mut [f32]) {
        let d = row.len() / self.parts;
        for (part, gradient) in row.chunks_exact(d).zip(d_d.chunks_exact_mut(d)) {
            let norm = dot(part, part).sqrt();
            if norm > 0.0 {
                axpy(gradient, self.weight * acts / norm, part);
            }
        }
    }
}
