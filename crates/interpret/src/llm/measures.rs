//! How well does a judge tell two sorts of texts apart, and how sure is that?
//!
//! ```text
//! balanced accuracy = (TPR + TNR) / 2
//! F1                = 2 TP / (2 TP + FP + FN)
//! ```
//!
//! Both 0 to 1, higher is better. The interval of the first combines Wilson's intervals of its two shares (Zou and Donner,
//! Statistics in Medicine 27, 2008): low = b - sqrt((p1 - l1)^2 + (p2 - l2)^2) / 2, and so upwards.
//!
//! That of an area A under the ROC curve of m and n texts has the ends T at which |A - T| = z sqrt(V(T)) with
//!
//! ```text
//! V(T) = T (1 - T) (1 + N (1 - T) / (2 - T) + N T / (1 + T)) / (m n),   N = (m + n) / 2 - 1
//! ```
//!
//! (Newcombe, Statistics in Medicine 25, 2006, method 5; it has a width where A is 1.)

use untangle_schema::Share;

const Z: f64 = 1.959_963_984_540_054;
/// Halvings of an interval: to the last bit of a double.
const HALVINGS: usize = 60;

/// Mean of two shares with its 95 % interval.
pub fn balanced(positives: Share, negatives: Share) -> (f64, (f64, f64)) {
    let value = (positives.value() + negatives.value()) / 2.0;
    let ((low_p, high_p), (low_n, high_n)) = (positives.interval(), negatives.interval());
    let half = |p: f64, n: f64| ((positives.value() - p).powi(2) + (negatives.value() - n).powi(2)).sqrt() / 2.0;
    (value, ((value - half(low_p, low_n)).max(0.0), (value + half(high_p, high_n)).min(1.0)))
}

/// F1 of those that are named: `hits` of the positives, and what is not hit of the negatives.
pub fn f1(positives: Share, negatives: Share) -> f64 {
    let (hits, false_alarms) = (positives.hits as f64, (negatives.trials - negatives.hits) as f64);
    let missed = (positives.trials - positives.hits) as f64;
    2.0 * hits / (2.0 * hits + false_alarms + missed).max(1.0)
}

/// The 95 % interval of an area under the ROC curve over so many positives and negatives.
pub fn area_interval(area: f64, positives: usize, negatives: usize) -> (f64, f64) {
    let (m, n) = (positives as f64, negatives as f64);
    let half = (m + n) / 2.0 - 1.0;
    let variance = |t: f64| t * (1.0 - t) * (1.0 + half * (1.0 - t) / (2.0 - t) + half * t / (1.0 + t)) / (m * n);
    let is_outside = |t: f64| (area - t).abs() > Z * variance(t).max(0.0).sqrt();
    let end = |mut outside: f64| {
        let mut inside = area;
        if !is_outside(outside) {
            return outside;
        }
        for _ in 0..HALVINGS {
            let middle = (inside + outside) / 2.0;
            if is_outside(middle) { outside = middle } else { inside = middle }
        }
        inside
    };
    (end(0.0), end(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_combined_by_hand() {
        let (positives, negatives) = (Share { hits: 8, trials: 10 }, Share { hits: 6, trials: 10 });
        let (value, (low, high)) = balanced(positives, negatives);
        // Wilson: 0.8 in [0.4902, 0.9433], 0.6 in [0.3127, 0.8318].
        assert!((value - 0.7).abs() < 1e-12);
        assert!((low - (0.7 - (0.3098_f64.powi(2) + 0.2873_f64.powi(2)).sqrt() / 2.0)).abs() < 1e-3, "{low}");
        assert!((high - (0.7 + (0.1433_f64.powi(2) + 0.2318_f64.powi(2)).sqrt() / 2.0)).abs() < 1e-3, "{high}");
        // TP 8, FP 4, FN 2.
        assert!((f1(positives, negatives) - 16.0 / 22.0).abs() < 1e-12);
        assert_eq!(f1(Share { hits: 0, trials: 3 }, Share { hits: 3, trials: 3 }), 0.0);
    }

    #[test]
    fn areas_have_intervals_that_hold_them_and_shrink() {
        for area in [0.0, 0.3, 0.5, 0.9, 1.0] {
            let (low, high) = area_interval(area, 10, 10);
            assert!(0.0 <= low && low <= area && area <= high && high <= 1.0, "{area}: {low} {high}");
            let (closer, _) = area_interval(area, 100, 100);
            assert!(closer >= low);
        }
        let (low, high) = area_interval(1.0, 10, 10);
        assert!(high > 1.0 - 1e-9 && (0.6..0.9).contains(&low), "{low} {high}");
        // At 0.5 the variance is that of the rank-sum test, (m + n + 1) / 12 m n, up to its N: 0.0422 for ten and ten.
        let (low, high) = area_interval(0.5, 10, 10);
        assert!((high - 0.5 - (0.5 - low)).abs() < 1e-9 && (0.2..0.3).contains(&low), "{low} {high}");
    }
}
