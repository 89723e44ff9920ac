//! The scale of the data: what a sample of the training rows says of how large they are and how they vary.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What a sample of the training rows says about their scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataScale {
    /// Rows are multiplied by this, so that their mean norm is sqrt(d_in), or where a constant dwarfs what varies
    /// ([`DWARFED`]) their mean distance from their mean; 1 without normalisation.
    pub factor: f32,
    /// Of a crosscoder, the factors of its further parts.
    pub further: Vec<f32>,
    /// Mean of the multiplied rows, `[d_in]`.
    pub mean: Vec<f32>,
    /// Mean of `|x_j - mean_j|` of the multiplied rows, `[d_in]`: how unequal the dimensions are, unmoved by few large rows.
    pub spread: Vec<f32>,
    /// Mean of `|x - mean|^2` of the multiplied rows: what a loss is compared with.
    pub variance: f64,
}

/// What the rows that a transcoder predicts are multiplied by, and how much they vary then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetScale {
    /// As of [`DataScale`].
    pub factor: f32,
    /// As of [`DataScale`].
    pub variance: f64,
}

/// Where the mean distance of rows from their mean is less than this part of their mean norm, most of a row is what all rows
/// have in common, which `b_dec` takes and no feature says. Scaled by their norms, what is left would be small beside the
/// thresholds, windows and steps that are in units of normalised rows. Chosen so that rows of language models, in which
/// what varies is a third of the norm and more, are scaled by their norms as everywhere else.
pub const DWARFED: f64 = 0.25;

impl DataScale {
    /// The scale of `rows`, `[n, d_in]`, none of which is empty.
    pub fn of(rows: &[f32], d_in: usize, normalise: bool) -> Self {
        let n = (rows.len() / d_in) as f64;
        let (mut sum, mut squares, mut norms) = (vec![0f64; d_in], 0f64, 0f64);
        for row in rows.chunks_exact(d_in) {
            let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            squares += square;
            norms += square.sqrt();
            sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
        }
        let mean: Vec<f64> = sum.iter().map(|s| s / n).collect();
        let size = size(rows, &mean, norms / n);
        let factor = if normalise && size > 0.0 { (d_in as f64).sqrt() / size } else { 1.0 };
        let variance = squares / n - mean.iter().map(|m| m * m).sum::<f64>();
        let mut spread = vec![0f64; d_in];
        for row in rows.chunks_exact(d_in) {
            spread.iter_mut().zip(row.iter().zip(&mean)).for_each(|(s, (&x, m))| *s += (f64::from(x) - m).abs());
        }
        DataScale {
            factor: factor as f32,
            further: Vec::new(),
            mean: mean.iter().map(|m| (m * factor) as f32).collect(),
            spread: spread.iter().map(|s| (s / n * factor) as f32).collect(),
            variance: variance.max(0.0) * factor * factor,
        }
    }
}

/// What rows of this mean and mean norm are scaled by: their mean norm, or their mean distance from the mean where a
/// constant dwarfs it.
fn size(rows: &[f32], mean: &[f64], norm: f64) -> f64 {
    let distance = |row: &[f32]| row.iter().zip(mean).map(|(&x, m)| (f64::from(x) - m).powi(2)).sum::<f64>().sqrt();
    let n = (rows.len() / mean.len()) as f64;
    let varying = rows.chunks_exact(mean.len()).map(distance).sum::<f64>() / n;
    // What is left of rows that are all alike is rounding.
    if varying < DWARFED * norm && varying > 1e-6 * norm { varying } else { norm }
}

impl DataScale {
    /// The scale of rows beside which those of a further part lie, which has a factor of its own.
    pub fn beside(mut self, part: DataScale) -> Self {
        self.further.push(part.factor);
        self.mean.extend(part.mean);
        self.spread.extend(part.spread);
        self.variance += part.variance;
        self
    }

    /// The factors of all parts.
    pub fn factors(&self) -> impl Iterator<Item = f32> + '_ {
        std::iter::once(self.factor).chain(self.further.iter().copied())
    }
}

/// Where `b_dec` starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Centre {
    /// The mean of the data.
    #[default]
    Mean,
    /// The point whose mean distance from the data is least: far rows pull it less (Bricken et al. 2023).
    GeometricMedian,
}

impl FromStr for Centre {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean" => Ok(Centre::Mean),
            "geometric-median" => Ok(Centre::GeometricMedian),
            _ => Err(format!("`{text}` is neither mean nor geometric-median")),
        }
    }
}

/// The geometric median of `rows`, `[n, d]`, each multiplied by `factor`: `argmin_y sum_i |x_i - y|`, by
/// `y <- (sum_i x_i / |x_i - y|) / (sum_i 1 / |x_i - y|)` from the mean (Weiszfeld 1937).
pub fn geometric_median(rows: &[f32], d: usize, factor: f32) -> Vec<f32> {
    /// Rounds at most, and the relative movement at which they end (dictionary_learning's).
    const ROUNDS: usize = 100;
    const STILL: f64 = 1e-5;
    let mut median = vec![0f64; d];
    let n = (rows.len() / d) as f64;
    for row in rows.chunks_exact(d) {
        median.iter_mut().zip(row).for_each(|(m, &x)| *m += f64::from(x) / n);
    }
    for _ in 0..ROUNDS {
        let (mut sum, mut weights) = (vec![0f64; d], 0f64);
        for row in rows.chunks_exact(d) {
            let square: f64 = row.iter().zip(&median).map(|(&x, m)| (f64::from(x) - m).powi(2)).sum();
            // A row that lies on the median would weigh infinitely much.
            let weight = 1.0 / square.sqrt().max(1e-12);
            weights += weight;
            sum.iter_mut().zip(row).for_each(|(s, &x)| *s += weight * f64::from(x));
        }
        let (mut moved, mut length) = (0f64, 0f64);
        for (m, s) in median.iter_mut().zip(sum) {
            let next = s / weights;
            moved += (next - *m).powi(2);
            length += next * next;
            *m = next;
        }
        if moved <= (STILL * STILL) * length {
            break;
        }
    }
    median.into_iter().map(|m| (m * f64::from(factor)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_four_rows_by_hand() {
        let scale = DataScale::of(&[3.0, 4.0, -3.0, 4.0, 3.0, 4.0, -3.0, 4.0], 2, false);
        assert_eq!((scale.factor, scale.mean.clone(), scale.variance), (1.0, vec![0.0, 4.0], 9.0));
        assert_eq!(scale.spread, [3.0, 0.0]);
        let scale = DataScale::of(&[3.0, 4.0, -3.0, 4.0], 2, true);
        assert!((scale.factor - 2f32.sqrt() / 5.0).abs() < 1e-7);
        assert!((scale.variance - 9.0 * 2.0 / 25.0).abs() < 1e-6);
    }

    #[test]
    fn a_constant_that_dwarfs_the_rest_does_not_scale_it() {
        // The first dimension is 1 or -1, the second a constant.
        let scale_of = |constant: f32| DataScale::of(&[1.0, constant, -1.0, constant], 2, true);
        let (none, dwarfed) = (scale_of(0.0), scale_of(100.0));
        assert!((dwarfed.factor - none.factor).abs() < 1e-6 && (dwarfed.variance - none.variance).abs() < 1e-4);
        // At 3, rows vary by a third of their norm, and are scaled by that.
        assert!((scale_of(3.0).factor - (2.0f32 / 10.0).sqrt()).abs() < 1e-6);
        // Rows that are all alike have nothing else to be scaled by.
        let alike = DataScale::of(&[3.0, 4.0, 3.0, 4.0], 2, true);
        assert!((alike.factor - 2f32.sqrt() / 5.0).abs() < 1e-7);
    }

    #[test]
    fn far_rows_pull_the_median_less_than_the_mean() {
        // Of a triangle whose angle at the origin is 120 degrees or more, the median is the origin.
        let rows = [0.0f32, 0.0, 10.0, 1.0, -10.0, 1.0];
        let median = geometric_median(&rows, 2, 2.0);
        assert!(median.iter().all(|m| m.abs() < 2e-3), "{median:?}");
        // On a line it is the median: 3, where the mean is 22.
        let line = geometric_median(&[1.0, 2.0, 3.0, 4.0, 100.0], 1, 1.0);
        assert!((line[0] - 3.0).abs() < 1e-3, "{line:?}");
    }
}
