//! How are the norms of a column's rows distributed, and which are outliers?
//!
//! ```text
//! bin of x    = 32 (e + 32) + m   where 2^e (1 + m/32) <= x < 2^e (1 + (m + 1)/32), 0 <= m < 32, -32 <= e < 32
//! median      = middle of the bin of the ceil(n/2)-th smallest norm
//! outliers    = norms >= T, where T is the lower edge of the first bin that begins at 10 median or above
//! ```
//!
//! Norms below the first bin count in it, norms above the last one in that. Counts, unlike sorted lists, can be taken in
//! one pass, continued after a crash and added up over files, and all three give the same threshold to the bit; it lies
//! on an edge, so that counting the outliers needs no second pass.

use crate::statistics::squared_norm;

/// Bins per octave: an edge is at most 3.1 % above the one before.
const PER_OCTAVE: usize = 32;
/// Octaves: norms from 2^-32 to 2^32.
const OCTAVES: usize = 64;
/// Exponent of the first octave.
const FIRST_EXPONENT: i32 = -32;
/// Number of bins.
pub(crate) const BINS: usize = PER_OCTAVE * OCTAVES;

/// How many medians a norm must reach to be an outlier. The value is that of `dictionary_learning`'s
/// `max_activation_norm_multiple`, which was found on attention sinks of Qwen; sinks lie at tens to hundreds of medians,
/// ordinary rows below three.
pub const OUTLIER_MEDIANS: f64 = 10.0;

/// Bits of an f32 below those that decide the bin: 23 of the mantissa, of which the upper 5 count.
const SHIFT: u32 = 23 - PER_OCTAVE.trailing_zeros();
/// The bits of 2^-32 without those.
const FIRST: u32 = ((127 + FIRST_EXPONENT) as u32) << PER_OCTAVE.trailing_zeros();

/// The Euclidean norm of a row whose squared norm is given, as it is stored.
pub(crate) fn stored(norm_square: f64) -> f32 {
    norm_square.sqrt() as f32
}

/// The Euclidean norm of a row as files hold it.
pub fn norm(row: &[f32]) -> f32 {
    stored(squared_norm(row))
}

/// The bin of a norm, which is neither negative nor NaN.
fn bin_of(norm: f32) -> usize {
    ((norm.to_bits() >> SHIFT).saturating_sub(FIRST) as usize).min(BINS - 1)
}

/// The lower edge of a bin; infinity beyond the last one.
fn edge(bin: usize) -> f64 {
    if bin < BINS { f64::from(f32::from_bits((FIRST + bin as u32) << SHIFT)) } else { f64::INFINITY }
}

/// How many rows have a norm in each bin.
#[derive(Clone, Debug, PartialEq)]
pub struct NormHistogram {
    counts: Vec<u64>,
}

impl Default for NormHistogram {
    fn default() -> Self {
        NormHistogram { counts: vec![0; BINS] }
    }
}

impl NormHistogram {
    /// Counts a row of this norm.
    pub fn add(&mut self, norm: f32) {
        self.counts[bin_of(norm)] += 1;
    }

    /// A histogram of these counts; none where there are not as many as bins.
    pub(crate) fn from_counts(counts: Vec<u64>) -> Option<Self> {
        (counts.len() == BINS).then_some(NormHistogram { counts })
    }

    /// Rows per bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Number of rows.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The histogram of both sets of rows together.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let sum = |(a, b): (&u64, &u64)| a.saturating_add(*b);
        NormHistogram { counts: self.counts.iter().zip(&other.counts).map(sum).collect() }
    }

    /// The median norm, to half a bin (1.6 %); 0 without rows, and where the median row is as good as zero.
    pub fn median(&self) -> f64 {
        let half = self.total().div_ceil(2);
        let mut seen = 0u64;
        let median = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            half > 0 && seen >= half
        });
        match median {
            None | Some(0) => 0.0,
            // Norms beyond the last bin's end are infinite as far as anybody is concerned.
            Some(bin) if bin == BINS - 1 => edge(bin),
            Some(bin) => 0.5 * (edge(bin) + edge(bin + 1)),
        }
    }

    /// Norms from this one on are outliers: about [`OUTLIER_MEDIANS`] medians; infinity where the median is 0, so that a
    /// column that is mostly zeros has none.
    pub fn outlier_norm(&self) -> f64 {
        let border = OUTLIER_MEDIANS * self.median();
        if border == 0.0 {
            return f64::INFINITY;
        }
        (0..BINS).map(edge).find(|edge| *edge >= border).unwrap_or(f64::INFINITY)
    }

    /// Number of rows whose norm is at least [`NormHistogram::outlier_norm`].
    pub fn outliers(&self) -> u64 {
        let border = self.outlier_norm();
        let beyond = self.counts.iter().enumerate().filter(|(bin, _)| edge(*bin) >= border);
        beyond.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(norms: impl IntoIterator<Item = f32>) -> NormHistogram {
        let mut histogram = NormHistogram::default();
        norms.into_iter().for_each(|norm| histogram.add(norm));
        histogram
    }

    #[test]
    fn bins_are_those_of_the_specification() {
        assert_eq!((bin_of(1.0), edge(32 * 32)), (32 * 32, 1.0));
        assert_eq!((bin_of(1.04), edge(32 * 32 + 1)), (32 * 32 + 1, 1.03125));
        assert_eq!((bin_of(0.0), bin_of(1e-30), bin_of(2f32.powi(-32))), (0, 0, 0));
        assert_eq!((bin_of(f32::MAX), bin_of(2f32.powi(32))), (BINS - 1, BINS - 1));
        assert_eq!(edge(BINS - 1), 2f64.powi(31) * (1.0 + 31.0 / 32.0));
    }

    #[test]
    fn a_sink_among_ordinary_rows_is_the_only_outlier() {
        let norms = (0..100).map(|i| 2.0 + i as f32 / 100.0).chain([19.0, 300.0]);
        let histogram = of(norms);
        // The 51st of 102 norms is 2.5; its bin is [2.5, 2.5625), and 10 times its middle is 25.3125.
        assert_eq!(histogram.median(), 2.53125);
        assert_eq!((histogram.outlier_norm(), histogram.outliers()), (25.5, 1));
    }

    #[test]
    fn columns_of_zeros_and_of_nothing_have_no_outliers() {
        for histogram in [of([]), of([0.0, 0.0, 0.0, 7.0])] {
            assert_eq!((histogram.median(), histogram.outliers()), (0.0, 0));
            assert_eq!(histogram.outlier_norm(), f64::INFINITY);
        }
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_the_rows_at_or_above_the_threshold(
            norms in prop::collection::vec(0f32..20.0, 1..60), sinks in prop::collection::vec(50f32..5e3, 0..10),
        ) {
            let all = [norms.clone(), sinks.clone()].concat();
            let histogram = of(all.iter().copied());
            let border = histogram.outlier_norm();
            let counted = all.iter().filter(|norm| f64::from(**norm) >= border).count() as u64;
            prop_assert_eq!(histogram.outliers(), counted);
            prop_assert_eq!(of(norms).plus(&of(sinks)), histogram.clone());
            let mut sorted = all;
            sorted.sort_by(f32::total_cmp);
            let exact = f64::from(sorted[(sorted.len() - 1) / 2]);
            prop_assert!((histogram.median() - exact).abs() <= exact / 60.0, "{} and {}", histogram.median(), exact);
        }
    }
}
