//! How wrong a product in bytes can be: the bound with which its proposals are a proof, and what estimates it (`margin.rs`).
//!
//! ```text
//! x' = x / c = s q + e        w' = w c = t v + d                                        (see `super::int8`)
//! |x · w - s t q · v| = |x' · d + e · w' - e · d| <= |x'| |d| + |e| |w'| + |e| |d|      (Cauchy and Schwarz)
//! ```
//!
//! Sizes and errors are those of the vectors at hand and not the worst that rounding could do, which is nearly twice as much.

use super::int8::{Int8Rows, Int8Weights, quantise};
use super::vector::dispatch;
use rayon::prelude::*;

/// Size and errors of an equalised vector; of many vectors, the largest of each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rounded {
    /// `|v|`
    pub norm: f32,
    /// `|v - rounded v|`
    pub error: f32,
    /// The part of the error that is of what was rounded to zero, and therefore in one direction: its square, divided by the
    /// error. Of most vectors next to nothing, and all of it where one value is so large that the others become zero.
    pub systematic: f32,
}

/// Latents that a worker takes at a time.
const BLOCK: usize = 256;
/// For the roundings of f32 in equalising, scaling and adding up, relative to `|x'| |w'|`.
const OF_F32: f32 = 16.0 * f32::EPSILON;
/// For the roundings of the sizes and errors themselves.
const SAFETY: f32 = 1.001;

impl Rounded {
    /// Of `values * factors`, which were rounded to `q` steps of size `step`.
    #[inline(always)]
    fn of(values: &[f32], factors: &[f32], q: &[i8], step: f32) -> Self {
        const LANES: usize = 16;
        let (mut squares, mut errors, mut lost) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let chunks = values.chunks(LANES).zip(factors.chunks(LANES)).zip(q.chunks(LANES));
        for ((values, factors), q) in chunks {
            let lanes = squares.iter_mut().zip(&mut errors).zip(&mut lost);
            for (((square, error), lost), ((v, f), &q)) in lanes.zip(values.iter().zip(factors).zip(q)) {
                let (equalised, rounded) = (v * f, step * f32::from(q));
                *square += equalised * equalised;
                *error += (equalised - rounded) * (equalised - rounded);
                *lost += if q == 0 { equalised * equalised } else { 0.0 };
            }
        }
        let size = |squares: [f32; LANES]| squares.iter().sum::<f32>().sqrt();
        let (error, lost) = (size(errors), size(lost));
        Rounded { norm: size(squares), error, systematic: if error > 0.0 { lost * lost / error } else { 0.0 } }
    }

    /// What the product of two vectors can be wrong by.
    #[inline(always)]
    pub(super) fn product_error(self, other: Self) -> f32 {
        let exact = self.norm * other.error + self.error * (other.norm + other.error);
        SAFETY * (exact + OF_F32 * self.norm * other.norm)
    }

    /// The larger of either.
    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        let largest = |of: fn(&Self) -> f32| of(&self).max(of(&other));
        Rounded { norm: largest(|r| r.norm), error: largest(|r| r.error), systematic: largest(|r| r.systematic) }
    }
}

impl Int8Weights {
    /// Sizes and errors of all latents, where these are the weights of `w_enc`, `[d_sae, d_in]`.
    pub fn rounded(&self, w_enc: &[f32]) -> Vec<Rounded> {
        let d = self.factors_of_w().len();
        let mut all = vec![Rounded::default(); w_enc.len() / d];
        all.par_chunks_mut(BLOCK).zip(w_enc.par_chunks(BLOCK * d)).for_each(|(all, rows)| {
            let mut q = vec![0i8; d];
            dispatch(
                #[inline(always)]
                || {
                    for (rounded, row) in all.iter_mut().zip(rows.chunks_exact(d)) {
                        let step = quantise(row, self.factors_of_w(), &mut q);
                        *rounded = Rounded::of(row, self.factors_of_w(), &q, step);
                    }
                },
            );
        });
        all
    }
}

impl Int8Rows {
    /// Size and error of row number `row`, which was filled from `x`, `[d_in]`, for `weights`.
    #[inline(always)]
    pub fn rounded(&self, row: usize, x: &[f32], weights: &Int8Weights) -> Rounded {
        let (q, step) = self.row(row, weights);
        Rounded::of(x, weights.factors_of_x(), q, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::int8::{GROUP, PANEL, product};
    use proptest::prelude::*;

    #[test]
    fn sizes_and_errors_by_hand() {
        // Steps of one: 0.25 is lost, the rest is kept.
        let mut weights = Int8Weights::zeros(1, &[1.0; 3]);
        weights.blocks_mut(PANEL).next().expect("a block").set(0, &[127.0, 0.25, 0.0]);
        let found = weights.rounded(&[127.0, 0.25, 0.0])[0];
        assert_eq!(found.error, 0.25);
        assert!((found.norm - (127.0f32 * 127.0 + 0.0625).sqrt()).abs() < 1e-4);
        assert_eq!(found.systematic, 0.25);
        // Errors of 0.3 and 0.4 in one direction each, 0.25 of which was rounded to zero.
        let of = Rounded::of(&[5.3, 7.6, 0.25], &[1.0; 3], &[5, 8, 0], 1.0);
        assert!((of.systematic - 0.0625 / of.error).abs() < 1e-6);
        let x = Rounded { norm: 2.0, error: 0.5, systematic: 0.2 };
        let w = Rounded { norm: 3.0, error: 0.1, systematic: 0.05 };
        assert!((x.product_error(w) - (2.0 * 0.1 + 0.5 * 3.0 + 0.5 * 0.1)).abs() < 0.01);
        assert_eq!(x.max(w), Rounded { norm: 3.0, error: 0.5, systematic: 0.2 });
    }

    proptest! {
        #[test]
        fn no_product_is_further_off(
            d in 1usize..80, outlier in 1f32..300.0, seed in proptest::collection::vec(-2.0f32..2.0, 89),
        ) {
            let value = |i: usize| seed[i % 89] * seed[i / 89 % 89] + seed[i * 7 % 89];
            let mut x: Vec<f32> = (0..GROUP * d).map(value).collect();
            x.chunks_exact_mut(d).for_each(|row| row[d / 2] *= outlier);
            let w: Vec<f32> = (0..PANEL * d).map(|i| value(3 * i + 5)).collect();
            let mut spread = vec![1.0; d];
            spread[d / 2] = outlier;
            let mut weights = Int8Weights::zeros(PANEL, &spread);
            let mut block = weights.blocks_mut(PANEL).next().expect("a block");
            w.chunks_exact(d).enumerate().for_each(|(place, row)| block.set(place, row));
            let mut rows = Int8Rows::new(GROUP, d);
            rows.fill(&x, &weights);
            let mut out = vec![0f32; GROUP * PANEL];
            product(&rows, 0, &weights, 0..1, &mut out);
            for (latent, w) in w.chunks_exact(d).enumerate() {
                for (row, x) in x.chunks_exact(d).enumerate() {
                    let exact: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                    let bound = rows.rounded(row, x, &weights).product_error(weights.rounded(w)[0]);
                    let off = (exact - f64::from(out[row * PANEL + latent])).abs();
                    prop_assert!(off <= f64::from(bound), "off by {off}, bound {bound}");
                }
            }
        }
    }
}
