//! How far from its bound a latent is recomputed: what a proposal may be wrong by.
//!
//! A product of rounded operands errs by at most `u |x| |w_i|` (Cauchy and Schwarz). For bytes that proof is some thirty
//! times what a product of width 768 errs by, because roundings seldom add up in one direction. There a part of it is taken
//! first:
//!
//! ```text
//! first = |x_0| |w'| + |x'| |w_0| + DEVIATIONS / sqrt(d_in) whole        x_0, w_0: what became zero
//! ```
//!
//! What became zero errs by all of itself, always in the same direction, and counts in full; the rest is taken to be
//! independent. Where twice the largest error seen in a row's recomputed latents is more than `first`, as much as that is
//! looked at, up to the whole. It is an estimate as that of [`super::encode`], which has no first guess: weights can be made
//! up that deceive it. In random and trained dictionaries the chosen set is that of f32 arithmetic in every row tested.

use crate::precision::Precision;

/// Standard deviations of a product in bytes, or more, within which latents are recomputed at first: where either operand's
/// roundings are independent, one product errs by `1 / sqrt(d_in)` of its proof or less, and six times as much once in a
/// billion.
const DEVIATIONS: f32 = 6.0;

/// What a proposal may be wrong by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Margin {
    /// Certainly no more.
    pub whole: f32,
    /// What is looked at first; not more than the whole.
    pub first: f32,
}

impl Margin {
    /// Of a product of width `d_in` in bytes that errs by at most `whole`, and always by `systematic`.
    #[inline(always)]
    pub(super) fn of_bytes(whole: f32, systematic: f32, d_in: usize) -> Self {
        let first = systematic + DEVIATIONS / (d_in as f32).sqrt() * whole;
        Margin { whole, first: first.min(whole) }
    }

    /// With what may be added to the error in full.
    #[inline(always)]
    pub(super) fn plus(self, more: f32) -> Self {
        Margin { whole: self.whole + more, first: self.first + more }
    }
}

/// Largest error of a product relative to `|x| |w|`. Sums of `d` terms in f32 err by at most `d 2^-24`, twice, because the
/// value that decides is such a sum too; bf16 rounds either operand and the result by `2^-9`, a little more to be safe. What
/// bytes add depends on the operands and is not part of it.
pub(super) fn of_rounding(precision: Precision, d_in: usize) -> f32 {
    let of_sums = d_in as f32 * f32::EPSILON;
    if precision == Precision::Bf16 { of_sums + 1.0 / 128.0 } else { of_sums }
}
