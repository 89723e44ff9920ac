//! The direction between two sets of activations, `x+` and `x-`.
//!
//! | method | direction |
//! |---|---|
//! | mean | mean of x+ less mean of x- (Turner et al., arXiv 2308.10248; Rimsky et al., arXiv 2312.06681) |
//! | pca | u that maximises `sum_i ((x+_i - x-_i) . u)^2` over the pairs i (Zou et al., arXiv 2310.01405). Differences are not centred: that would take off what they share |
//! | logistic | w that minimises `mean log(1 + exp(-y (w . x + b))) + l/2 |w|^2` over all x, y = 1 of x+ and -1 of x-, x centred and scaled by one number to a mean square norm of 1, l = 0.001 |
//!
//! The vector points to x+ and is as long as the two means are apart along it, so that once it moves one mean onto the other.

use serde::Serialize;

/// How the direction is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Difference of means.
    Mean,
    /// First principal direction of differences of pairs.
    Pca,
    /// Logistic regression.
    Logistic,
}

/// Ridge of the logistic regression (chosen: it keeps few texts of many dimensions from a direction of infinite length, and
/// moves the direction little).
const RIDGE: f64 = 1e-3;
/// Steps of gradient descent; with momentum the error shrinks by the root of the condition number, 16, a step.
const DESCENTS: usize = 1000;
/// Power iterations for a principal direction.
const POWERS: usize = 500;

/// The vector from `negative` to `positive`, rows of `d` columns each; none where there is no difference. `pca` takes them as
/// pairs.
pub fn vector(method: Method, positive: &[f32], negative: &[f32], d: usize) -> Option<Vec<f32>> {
    let apart: Vec<f64> = mean(positive, d).iter().zip(mean(negative, d)).map(|(p, n)| p - n).collect();
    let direction = match method {
        Method::Mean => apart.clone(),
        Method::Pca => principal(positive, negative, d),
        Method::Logistic => logistic(positive, negative, d),
    };
    let norm = dot(&direction, &direction).sqrt();
    if !(norm > 0.0 && norm.is_finite()) {
        return None;
    }
    let length = dot(&direction, &apart) / norm;
    // A direction has no sign of its own, and a length of 0 no direction.
    let vector: Vec<f32> = direction.iter().map(|x| (x / norm * length) as f32).collect();
    (length != 0.0 && vector.iter().all(|x| x.is_finite())).then_some(vector)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn dot_row(row: &[f32], u: &[f64]) -> f64 {
    row.iter().zip(u).map(|(x, u)| f64::from(*x) * u).sum()
}

fn mean(rows: &[f32], d: usize) -> Vec<f64> {
    let mut mean = vec![0.0; d];
    for row in rows.chunks_exact(d) {
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
    }
    let n = (rows.len() / d).max(1) as f64;
    mean.iter_mut().for_each(|mean| *mean /= n);
    mean
}

fn principal(positive: &[f32], negative: &[f32], d: usize) -> Vec<f64> {
    let differences: Vec<f32> = positive.iter().zip(negative).map(|(p, n)| p - n).collect();
    // The longest difference is certain not to be across all of them.
    let longest = differences.chunks_exact(d).max_by(|a, b| square(a).total_cmp(&square(b))).unwrap_or_default();
    let mut u: Vec<f64> = longest.iter().map(|x| f64::from(*x)).collect();
    for _ in 0..POWERS {
        let mut next = vec![0.0; d];
        for row in differences.chunks_exact(d) {
            let along = dot_row(row, &u);
            next.iter_mut().zip(row).for_each(|(next, x)| *next += along * f64::from(*x));
        }
        let norm = dot(&next, &next).sqrt();
        if norm == 0.0 {
            return next;
        }
        next.iter_mut().for_each(|x| *x /= norm);
        u = next;
    }
    u
}

fn square(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum()
}

/// Nesterov's accelerated gradient descent for strongly convex functions (Introductory Lectures, 2004, 2.2.1), with the
/// Lipschitz constant 1/4 + l of rows of a mean square norm of 1.
fn logistic(positive: &[f32], negative: &[f32], d: usize) -> Vec<f64> {
    let centre: Vec<f64> = mean(positive, d).iter().zip(mean(negative, d)).map(|(p, n)| 0.5 * (p + n)).collect();
    let signed = |rows: &[f32], y: f64| -> Vec<(Vec<f64>, f64)> {
        rows.chunks_exact(d).map(|row| (row.iter().zip(&centre).map(|(x, c)| f64::from(*x) - c).collect(), y)).collect()
    };
    let mut rows = [signed(positive, 1.0), signed(negative, -1.0)].concat();
    let n = rows.len().max(1) as f64;
    let scale = (rows.iter().map(|(row, _)| dot(row, row)).sum::<f64>() / n).sqrt();
    if scale == 0.0 {
        return vec![0.0; d];
    }
    rows.iter_mut().for_each(|(row, _)| row.iter_mut().for_each(|x| *x /= scale));
    // The bias is a column of ones, which is not shrunk but by the same ridge: its value is of no interest.
    rows.iter_mut().for_each(|(row, _)| row.push(1.0));
    let (lipschitz, root) = (0.25 * 2.0 + RIDGE, RIDGE.sqrt());
    let momentum = (lipschitz.sqrt() - root) / (lipschitz.sqrt() + root);
    let (mut w, mut ahead) = (vec![0.0; d + 1], vec![0.0; d + 1]);
    for _ in 0..DESCENTS {
        let mut gradient: Vec<f64> = ahead.iter().map(|w| RIDGE * w).collect();
        for (row, y) in &rows {
            let pull = -y / (1.0 + (y * dot(row, &ahead)).exp()) / n;
            gradient.iter_mut().zip(row).for_each(|(g, x)| *g += pull * x);
        }
        let next: Vec<f64> = ahead.iter().zip(&gradient).map(|(w, g)| w - g / lipschitz).collect();
        ahead = next.iter().zip(&w).map(|(next, w)| next + momentum * (next - w)).collect();
        w = next;
    }
    w.truncate(d);
    w
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Numbers;

    const D: usize = 8;

    /// Texts that differ by 3 along coordinate 1, beside noise that is larger along coordinate 0.
    fn planted(n: usize) -> (Vec<f32>, Vec<f32>) {
        let mut numbers = Numbers::new(7);
        let mut rows = |y: f64| -> Vec<f32> {
            let row = |numbers: &mut Numbers| {
                (0..D)
                    .map(|at| numbers.normal() * if at == 0 { 2.0 } else { 0.5 } + if at == 1 { y } else { 0.0 })
                    .collect::<Vec<_>>()
            };
            (0..n).flat_map(|_| row(&mut numbers)).map(|x| x as f32).collect()
        };
        (rows(1.5), rows(-1.5))
    }

    #[test]
    fn every_method_finds_what_was_planted() {
        let (positive, negative) = planted(400);
        for method in [Method::Mean, Method::Logistic] {
            let found = vector(method, &positive, &negative, D).expect("a difference");
            let norm = square(&found).sqrt();
            assert!(f64::from(found[1]) / norm > 0.97, "{method:?}: {found:?}");
            assert!((norm - 3.0).abs() < 0.2, "{method:?}: {norm}");
        }
        // The logistic direction leaves the noisy coordinate out better than the difference of means does with few texts.
        let (positive, negative) = planted(12);
        let of = |method| {
            let found = vector(method, &positive, &negative, D).expect("a difference");
            (f64::from(found[0]) / square(&found).sqrt()).abs()
        };
        assert!(of(Method::Logistic) < of(Method::Mean), "{} {}", of(Method::Logistic), of(Method::Mean));
    }

    #[test]
    fn differences_of_pairs_are_not_centred() {
        // All pairs differ alike along coordinate 1, and by chance along coordinate 0.
        let pair = |by: f32| ([by, 1.5], [-by, -1.5]);
        let pairs: Vec<_> = [0.1, -0.2, 0.15, -0.05].map(pair).into();
        let (positive, negative): (Vec<[f32; 2]>, Vec<[f32; 2]>) = pairs.into_iter().unzip();
        let found = vector(Method::Pca, &positive.concat(), &negative.concat(), 2).expect("a difference");
        assert!(found[0].abs() < 0.05 && (found[1] - 3.0).abs() < 0.01, "{found:?}");
        let turned = vector(Method::Pca, &negative.concat(), &positive.concat(), 2).expect("a difference");
        assert!((turned[1] + 3.0).abs() < 0.01, "it points to what is positive: {turned:?}");
    }

    #[test]
    fn texts_that_are_the_same_have_no_vector() {
        let rows = [1.0, 2.0, 3.0, 4.0];
        for method in [Method::Mean, Method::Pca, Method::Logistic] {
            assert_eq!(vector(method, &rows, &rows, 2), None, "{method:?}");
        }
    }
}
