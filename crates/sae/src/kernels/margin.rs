//! How far from its bound a latent is recomputed: what a proposal may be wrong by.
//!
//! A product of rounded operands errs by at most `u |x| |w_i|` (Cauchy and Schwarz). For bytes that proof is some sixty
//! times what a product of width 768 errs by, because roundings seldom add up in one direction. There an estimate is looked
//! at first:
//!
//! ```text
//! x' = q + e,  w' = v + d             equalised vectors, rounded ones and what rounding took (`int8_error.rs`)
//! sigma = sqrt((|x'| |d|)^2 + (|e| |w'|)^2) / sqrt(d_in)
//! first = DEVIATIONS sigma + |x'| s(w') + s(x') |w'|        s = |what became zero|^2 / |what rounding took|
//! ```
//!
//! `sigma` is the standard deviation of independent roundings; measured at width 768 on a trained dictionary it is that of
//! the products' errors to a thousandth. What became zero errs by all of itself, always in the same direction: as much of an
//! error as is of that kind counts in full. Where a recomputed latent errs by more than half of `first`, everything within
//! twice that is recomputed, and where one of these errs by more than `first`, all latents of the row. It is an estimate as
//! that of [`super::encode`]: weights can be made up that deceive it. In random and trained dictionaries the chosen set is
//! that of f32 arithmetic in every row tested.

use super::int8_error::Rounded;
use crate::precision::Precision;

/// Standard deviations within which latents are recomputed at first. Half of them are seen once in sixteen thousand products.
const DEVIATIONS: f32 = 8.0;

/// What the products of a row may be wrong by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Margin {
    /// How far below its bound a latent is proposed.
    pub(super) proposed: f32,
    /// Whether nothing further below can lie above its bound.
    pub(super) proven: bool,
    /// What counts in full, whatever the latent.
    pub(super) rest: f32,
    row: Rounded,
    of_sigma: f32,
}

impl Margin {
    /// Of products that err by at most `whole`.
    pub(super) fn proof(whole: f32) -> Self {
        Margin { proposed: whole, proven: true, rest: whole, ..Margin::default() }
    }

    /// Of products in bytes of a row of width `d_in` with latents of which none is larger or errs more than `largest`.
    #[inline(always)]
    pub(super) fn of_bytes(row: Rounded, largest: Rounded, d_in: usize) -> Self {
        let whole = row.product_error(largest);
        let margin = Margin { row, of_sigma: DEVIATIONS / (d_in as f32).sqrt(), ..Margin::default() };
        let twice = 2.0 * margin.first(largest);
        Margin { proposed: twice.min(whole), proven: whole <= twice, ..margin }
    }

    /// With what may be added to the error in full.
    #[inline(always)]
    pub(super) fn plus(self, more: f32) -> Self {
        Margin { proposed: self.proposed + more, rest: self.rest + more, ..self }
    }

    /// Whether products of the row that err by this much leave doubt about what was not proposed.
    #[inline(always)]
    pub(super) fn is_refuted_by(&self, error: f32) -> bool {
        !self.proven && 2.0 * (error - self.rest) > self.proposed - self.rest
    }

    /// What the product with a latent is taken to err by at most, without the rest.
    #[inline(always)]
    pub(super) fn first(&self, latent: Rounded) -> f32 {
        let (of_w, of_x) = (self.row.norm * latent.error, self.row.error * latent.norm);
        let systematic = self.row.norm * latent.systematic + self.row.systematic * latent.norm;
        systematic + self.of_sigma * (of_w * of_w + of_x * of_x).sqrt()
    }
}

/// Largest error of a product relative to `|x| |w|`. Sums of `d` terms in f32 err by at most `d 2^-24`, twice, because the
/// value that decides is such a sum too; bf16 rounds either operand and the result by `2^-9`, a little more to be safe. What
/// bytes add depends on the operands and is not part of it.
pub(super) fn of_rounding(precision: Precision, d_in: usize) -> f32 {
    let of_sums = d_in as f32 * f32::EPSILON;
    if precision == Precision::Bf16 { of_sums + 1.0 / 128.0 } else { of_sums }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_by_hand() {
        let row = Rounded { norm: 2.0, error: 0.02, systematic: 0.0 };
        let latent = Rounded { norm: 3.0, error: 0.04, systematic: 0.01 };
        let margin = Margin::of_bytes(row, latent, 1600);
        let (sigma, systematic) = (0.1 / 40.0, 2.0 * 0.01);
        assert!((margin.first(latent) - (8.0 * sigma + systematic)).abs() < 1e-6);
        assert!((margin.proposed - 2.0 * margin.first(latent)).abs() < 1e-6 && !margin.proven);
        let more = margin.plus(1.0);
        assert_eq!((more.rest, more.proposed), (1.0, margin.proposed + 1.0));
        assert!(more.is_refuted_by(1.05) && !more.is_refuted_by(1.03));
        let narrow = Margin::of_bytes(row, latent, 25);
        assert!((narrow.proposed - (2.0 * 0.04 + 0.02 * 3.04)).abs() < 1e-3, "never more than the proof");
        assert!(narrow.proven && !narrow.is_refuted_by(1.0));
        assert_eq!(Margin::proof(0.5).first(latent), 0.0);
        assert!(Margin::proof(0.5).proven);
    }
}
