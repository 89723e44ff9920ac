//! The metrics of a dictionary, each defined once: accumulators over blocks of rows, pooled in f64.

use crate::codes::Codes;

/// Fraction of variance unexplained,
/// `FVU = sum |x - x_hat|^2 / sum |x - mean(x)|^2`, sums over all rows and the mean over the same rows.
///
/// No unit; 0 is a perfect reconstruction, 1 that of always answering the mean; lower is better. Explained variance is
/// `1 - FVU`.
///
/// ```
/// # use untangle_sae::metrics::Fvu;
/// let mut fvu = Fvu::new(1);
/// fvu.update(&[0.0, 2.0], &[0.5, 2.0]); // error 0.25; mean 1, variance sum 2
/// assert_eq!(fvu.value(), 0.125);
/// ```
#[derive(Clone, Debug)]
pub struct Fvu {
    rows: u64,
    error: f64,
    square: f64,
    sum: Vec<f64>,
    // Rows are counted from the first one, so that a large common mean does not eat the variance's digits.
    origin: Vec<f32>,
}

impl Fvu {
    /// An accumulator over rows of width `d_in`.
    pub fn new(d_in: usize) -> Self {
        Fvu { rows: 0, error: 0.0, square: 0.0, sum: vec![0.0; d_in], origin: Vec::new() }
    }

    /// Adds rows and their reconstructions, both `[n, d_in]`.
    pub fn update(&mut self, x: &[f32], x_hat: &[f32]) {
        debug_assert_eq!(x.len(), x_hat.len());
        let d = self.sum.len();
        for (x, x_hat) in x.chunks_exact(d).zip(x_hat.chunks_exact(d)) {
            if self.origin.is_empty() {
                self.origin = x.to_vec();
            }
            self.rows += 1;
            for (((&x, &x_hat), sum), &origin) in x.iter().zip(x_hat).zip(&mut self.sum).zip(&self.origin) {
                let (error, centred) = (f64::from(x) - f64::from(x_hat), f64::from(x) - f64::from(origin));
                self.error += error * error;
                self.square += centred * centred;
                *sum += centred;
            }
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `sum |x - x_hat|^2`.
    pub fn squared_error(&self) -> f64 {
        self.error
    }

    /// `sum |x - mean(x)|^2`.
    pub fn squared_deviation(&self) -> f64 {
        let n = self.rows.max(1) as f64;
        (self.square - self.sum.iter().map(|s| s * s).sum::<f64>() / n).max(0.0)
    }

    /// The fraction; NaN when the rows do not vary (or there are none).
    pub fn value(&self) -> f64 {
        self.error / self.squared_deviation()
    }
}

/// A fraction of variance for people: in so many decimals, or in words where there is no variance to be a fraction of.
pub fn fraction_text(fraction: f64, decimals: usize) -> String {
    if fraction.is_finite() { format!("{fraction:.decimals$}") } else { "n/a (the rows do not vary)".to_owned() }
}

/// How often every feature fires, and what follows from it.
///
/// - density of a feature: fraction of rows on which it fires
/// - L0: mean number of features that fire on a row; a count, lower is sparser
/// - dead: features that never fire in the rows seen (say how many rows when you say how many are dead)
/// - dense: features that fire on more than a tenth of the rows
#[derive(Clone, Debug)]
pub struct FiringCounts {
    rows: u64,
    counts: Vec<u64>,
}

impl FiringCounts {
    /// Features denser than this are counted as dense.
    pub const DENSE_ABOVE: f64 = 0.1;

    /// Counters for `d_sae` features.
    pub fn new(d_sae: usize) -> Self {
        FiringCounts { rows: 0, counts: vec![0; d_sae] }
    }

    /// Adds the rows of `codes`.
    pub fn update(&mut self, codes: &Codes) {
        (0..codes.n_rows()).for_each(|row| self.add_row(codes.row(row).0));
    }

    /// Adds a row on which these features fire.
    pub fn add_row(&mut self, features: &[u32]) {
        self.rows += 1;
        for &feature in features {
            self.counts[feature as usize] += 1;
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Firings of every feature, `[d_sae]`.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Fraction of rows on which `feature` fires.
    pub fn density(&self, feature: usize) -> f64 {
        self.counts[feature] as f64 / self.rows.max(1) as f64
    }

    /// Mean number of active features per row.
    pub fn l0(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64 / self.rows.max(1) as f64
    }

    /// Number of features that never fired.
    pub fn dead(&self) -> usize {
        self.counts.iter().filter(|&&n| n == 0).count()
    }

    /// Number of features that fired on more than [`FiringCounts::DENSE_ABOVE`] of the rows.
    pub fn dense(&self) -> usize {
        (0..self.counts.len()).filter(|&i| self.density(i) > Self::DENSE_ABOVE).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_mean_has_fvu_one_and_the_data_zero() {
        let x = [1.0f32, 10.0, 2.0, 20.0, 6.0, 0.0];
        let mut of_mean = Fvu::new(2);
        of_mean.update(&x, &[3.0, 10.0, 3.0, 10.0, 3.0, 10.0]);
        assert!((of_mean.value() - 1.0).abs() < 1e-12);
        let mut of_data = Fvu::new(2);
        of_data.update(&x, &x);
        assert_eq!(of_data.value(), 0.0);
        assert!(Fvu::new(2).value().is_nan());
    }

    #[test]
    fn of_rows_that_do_not_vary_there_is_no_fraction() {
        let mut constant = Fvu::new(2);
        constant.update(&[1.0, 2.0, 1.0, 2.0], &[1.0, 2.0, 1.0, 3.0]);
        assert_eq!(fraction_text(constant.value(), 4), "n/a (the rows do not vary)");
        assert_eq!(fraction_text(0.12345, 4), "0.1235");
    }

    #[test]
    fn a_large_common_mean_does_not_spoil_the_variance() {
        let x: Vec<f32> = (0..1000).map(|i| 1e4 + (i % 2) as f32).collect();
        let mut fvu = Fvu::new(1);
        fvu.update(&x, &vec![1e4 + 0.5; 1000]);
        assert!((fvu.value() - 1.0).abs() < 1e-9, "{}", fvu.value());
    }

    #[test]
    fn firing_counts_by_hand() {
        let mut codes = Codes::new();
        codes.push_row([(0, 1.0), (2, 1.0)]);
        codes.push_row([(2, 3.0)]);
        let mut firing = FiringCounts::new(4);
        firing.update(&codes);
        assert_eq!((firing.l0(), firing.dead(), firing.dense(), firing.density(2)), (1.5, 2, 2, 1.0));
    }

    proptest! {
        #[test]
        fn blocks_may_be_cut_anywhere(
            rows in proptest::collection::vec((-100.0f32..100.0, -100.0f32..100.0), 2..40), cut in 0usize..40,
        ) {
            let (x, x_hat): (Vec<f32>, Vec<f32>) = rows.iter().copied().unzip();
            let cut = cut.min(x.len());
            let (mut whole, mut parts) = (Fvu::new(1), Fvu::new(1));
            whole.update(&x, &x_hat);
            parts.update(&x[..cut], &x_hat[..cut]);
            parts.update(&x[cut..], &x_hat[cut..]);
            prop_assert_eq!(parts.value().to_bits(), whole.value().to_bits());
        }
    }
}
