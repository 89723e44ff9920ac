//! What a feature of a crosscoder costs, the sum of the norms of its decoder row's parts, and how a penalty on it moves the row.
//!
//! ```text
//! c_i = sum_m |d_i^m|        dL/dd_i^m of lambda/n sum_r f_ri c_i is lambda/n (sum_r f_ri) d_i^m / |d_i^m|
//! ```

use untangle_sae::kernels::vector::{axpy, dot};

/// `c_i` of a decoder row of so many parts.
#[inline(always)]
pub(crate) fn norm_sum(row: &[f32], parts: usize) -> f32 {
    row.chunks_exact(row.len() / parts).map(|part| dot(part, part).sqrt()).sum()
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
