//! How far a pooled metric could have come out differently on other text: percentile intervals of the bootstrap over
//! groups of documents (Efron 1979; Field and Welsh 2007 for clusters).
//!
//! Rows of a document depend on one another, so whole documents are drawn. Documents are hashed to a fixed number of
//! groups, and groups are drawn with replacement: memory does not grow with the corpus.

use crate::hash::{Numbers, mix};

/// Groups that documents are hashed to.
pub const GROUPS: usize = 128;
/// Resamples.
const RESAMPLES: usize = 500;
/// Fewer groups with rows than this give no interval worth printing.
const MIN_GROUPS: usize = 8;

/// The group of a document.
pub fn group_of(document: u64) -> usize {
    (mix(document) % GROUPS as u64) as usize
}

/// An interval that holds 95 % of the resampled values.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % interval of `metric` over resamples of `groups` (those that hold something). `metric` gets the sums of a
/// resample, element by element, and may be NaN where it is not defined. None with too few groups.
pub fn interval(groups: &[Vec<f64>], seed: u64, metric: impl Fn(&[f64]) -> f64) -> Option<Interval> {
    if groups.len() < MIN_GROUPS {
        return None;
    }
    let mut numbers = Numbers::new(seed);
    let mut sums = vec![0.0; groups[0].len()];
    let mut values: Vec<f64> = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        sums.fill(0.0);
        for _ in 0..groups.len() {
            let drawn = &groups[numbers.below(groups.len())];
            sums.iter_mut().zip(drawn).for_each(|(sum, x)| *sum += x);
        }
        values.push(metric(&sums));
    }
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let at = |fraction: f64| values.get(((values.len() as f64 - 1.0) * fraction).round() as usize).copied();
    Some(Interval { low: at(0.025)?, high: at(0.975)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        // 100 groups of one value each, half 0 and half 1: standard error 0.05, so 0.5 +- 0.098.
        let groups: Vec<Vec<f64>> = (0..100).map(|i| vec![f64::from(i % 2), 1.0]).collect();
        let found = interval(&groups, 3, |sums| sums[0] / sums[1]).expect("enough groups");
        assert!((found.low - 0.402).abs() < 0.025 && (found.high - 0.598).abs() < 0.025, "{found:?}");
        assert_eq!(interval(&groups, 3, |sums| sums[0] / sums[1]), Some(found), "seeded");
    }

    #[test]
    fn equal_groups_have_no_spread_and_few_groups_no_interval() {
        let equal = vec![vec![2.0, 4.0]; 20];
        assert_eq!(interval(&equal, 0, |s| s[0] / s[1]), Some(Interval { low: 0.5, high: 0.5 }));
        assert_eq!(interval(&equal[..3], 0, |s| s[0] / s[1]), None);
    }
}
