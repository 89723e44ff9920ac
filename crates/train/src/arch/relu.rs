//! ReLU with an L1 penalty, weighted by the decoder's norms (Bricken et al. 2023; the weighting: Anthropic, April 2024
//! update).
//!
//! ```text
//! f = relu(p)        L = 1/n sum_r |W_dec^T f_r - z_r|^2 + lambda/n sum_r sum_i f_ri |d_i|
//! dL/dp_ri = g_r · d_i + lambda/n where p_ri > 0, else 0
//! ```
//!
//! Decoder rows are unit, so `|d_i| = 1`: on the sphere this is the same loss as with free rows.

use super::rule::{At, Local, Rule};

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
