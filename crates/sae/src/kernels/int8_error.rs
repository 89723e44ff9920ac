//! How wrong a product in bytes can be: the bound with which its proposals are a proof.
//!
//! ```text
//! x' = x / c = s q + e        w' = w c = t v + d                                        (see `super::int8`)
//! |x · w - s t q · v| = |x' · d + e · w' - e · d| <= |x'| |d| + |e| |w'| + |e| |d|      (Cauchy and Schwarz)
//! ```
//!
//! Sizes and errors are those of the vectors at hand and not the worst that rounding could do, which is nearly twice as much.

use super::int8::{Int8Rows, Int8Weights, quantise};
use super::margin::Margin;
use super::vector::dispatch;
use rayon::prelude::*;

/// `|v|` of an equalised vector, `|v - rounded v|`, and how much of that is of what was rounded to zero; of many vectors,
/// the largest of each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rounded {
    /// Size.
    pub norm: f32,
    /// What rounding took from it or added.
    pub error: f32,
    /// Size of what it took to zero.
    pub lost: f32,
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
        Rounded { norm: size(squares), error: size(errors), lost: size(lost) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let largest = |of: fn(&Self) -> f32| of(&self).max(of(&other));
        Rounded { norm: largest(|r| r.norm), error: largest(|r| r.error), lost: largest(|r| r.lost) }
    }

    /// What the product of two vectors of width `d` can be wrong by.
    #[inline(always)]
    pub fn product_error(self, other: Self, d: usize) -> Margin {
        let exact = self.norm * other.error + self.error * (other.norm + other.error);
        let systematic = self.norm * other.lost + self.lost * other.norm;
        Margin::of_bytes(SAFETY * (exact + OF_F32 * self.norm * other.norm), SAFETY * systematic, d)
    }
}

impl Int8Weights {
    /// The largest size and the largest error of all latents, where these are the weights of `w_enc`, `[d_sae, d_in]`.
    pub fn rounded(&self, w_enc: &[f32]) -> Rounded {
        let d = self.factors_of_w().len();
        let of_block = |rows: &[f32]| {
            let mut q = vec![0i8; d];
            dispatch(
                #[inline(always)]
                || {
                    let mut largest = Rounded::default();
                    for row in rows.chunks_exact(d) {
                        let step = quantise(row, self.factors_of_w(), &mut q);
                        largest = largest.max(Rounded::of(row, self.factors_of_w(), &q, step));
                    }
                    largest
                },
            )
        };
        w_enc.par_chunks(BLOCK * d).map(of_block).reduce(Rounded::default, Rounded::max)
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
        let found = weights.rounded(&[127.0, 0.25, 0.0]);
        assert_eq!(found.error, 0.25);
        assert!((found.norm - (127.0f32 * 127.0 + 0.0625).sqrt()).abs() < 1e-4);
        assert_eq!(found.lost, 0.25);
        let (x, w) = (Rounded { norm: 2.0, error: 0.5, lost: 0.2 }, Rounded { norm: 3.0, error: 0.1, lost: 0.05 });
        let (whole, lost) = (2.0 * 0.1 + 0.5 * 3.0 + 0.5 * 0.1, 2.0 * 0.05 + 0.2 * 3.0);
        let margin = x.product_error(w, 144);
        assert!((margin.whole - whole).abs() < 0.01);
        assert!((margin.first - (lost + whole / 2.0)).abs() < 0.01, "six of twelve deviations");
        assert_eq!(x.product_error(w, 9).first, x.product_error(w, 9).whole, "never more than the proof");
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
                    let bound = rows.rounded(row, x, &weights).product_error(weights.rounded(w), d).whole;
                    let off = (exact - f64::from(out[row * PANEL + latent])).abs();
                    prop_assert!(off <= f64::from(bound), "off by {off}, bound {bound}");
                }
            }
        }
    }
}
