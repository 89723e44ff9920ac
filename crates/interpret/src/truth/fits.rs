//! How are the weights of all probes found at once?
//!
//! For every concept, L2-regularised logistic regression on the train tokens that count for it (n of them, with share
//! pi of positives):
//!
//! ```text
//! minimise  sum_i ln(1 + exp(-s_i (w . y_i + b))) / n  +  (lambda / 2) |w|^2        s_i = 1 for positives, else -1
//! lambda = strength pi (1 - pi)
//! ```
//!
//! y are the standardised activations in the basis of their principal directions, which changes neither the probe nor
//! the penalty and makes the curvature at w = 0 the diagonal pi (1 - pi) (variance + strength), b's share 1: a start
//! from which L-BFGS is sooner done. lambda is in units of that curvature, so that one strength means the same for
//! frequent and for rare concepts. One product of the activations with the weights of all concepts serves every fit
//! that is not done.

use super::labels::{Labels, Mark};
use super::lbfgs::{Minimiser, Status};
use super::principal::Principal;
use super::probe::Labelled;
use super::record::Rows;
use crate::error::InterpretError;
use crate::intervene::flat;
use crate::progress::Progress;
use tch::{Device, Kind, Tensor};

/// A fit ends this near to its minimum, as a fraction of the value. A tenth of it changes the mean F1 of the bundled
/// organism's probes by less than 0.001 and takes twice as long.
const TOLERANCE: f64 = 1e-3;
/// Evaluations of one fit at most.
const MOST_EVALUATIONS: u64 = 200;
/// Rows of one product: what lies between two products then stays in cache.
const BLOCK_ROWS: i64 = 4096;

/// One concept under fit.
pub(crate) struct Column {
    pub(crate) concept: usize,
    /// Tokens that count, and those that do not.
    counted: f64,
    ignored: f64,
    /// pi (1 - pi)
    spread: f64,
    /// `[d + 1]`, b last.
    pub(crate) weights: Vec<f64>,
}

/// The fits of all concepts.
pub(crate) struct Fits {
    /// `[n, d]`
    y: Tensor,
    variances: Vec<f64>,
    /// -s, int8 `[n, columns]`: -1 for positives, 1 for negatives, 0 for what does not count.
    signs: Tensor,
    pub(crate) columns: Vec<Column>,
}

impl Fits {
    /// Fits of the judged concepts that have positives and negatives, all at w = 0.
    pub(crate) fn new(
        basis: &Principal,
        train: Labelled<'_>,
        judged: &[bool],
        device: Device,
    ) -> Result<Self, InterpretError> {
        let (n, d) = (train.labels.rows(), train.rows.d);
        let has_both = |concept: &usize| {
            let (positives, undecided) = (train.labels.positives(*concept), train.labels.undecided(*concept));
            judged[*concept] && positives > 0 && positives + undecided < n as u64
        };
        let column = |concept: usize| {
            let ignored = train.labels.undecided(concept) as f64;
            let counted = n as f64 - ignored;
            let share = train.labels.positives(concept) as f64 / counted;
            let mut weights = vec![0.0; d + 1];
            weights[d] = (share / (1.0 - share)).ln();
            Column { concept, counted, ignored, spread: share * (1.0 - share), weights }
        };
        let columns: Vec<Column> = (0..judged.len()).filter(has_both).map(column).collect();
        let signs = signs(train.labels, &columns).to_device(device);
        let y = on(&basis.project(train.rows)?, device);
        Ok(Self { y, variances: basis.variances().to_vec(), signs, columns })
    }

    /// Fits all columns from where they are; returns how many were stopped before they were done.
    pub(crate) fn run(&mut self, strength: f64, progress: &mut Progress<'_>) -> Result<usize, InterpretError> {
        let start = |column: &Column| {
            let curvature = self.variances.iter().map(|variance| variance + strength).chain([1.0]);
            let inverse = curvature.map(|c| 1.0 / (column.spread * c)).collect();
            Minimiser::new(column.weights.clone(), inverse, TOLERANCE)
        };
        let mut going: Vec<(usize, Minimiser)> = self.columns.iter().map(start).enumerate().collect();
        for _ in 0..MOST_EVALUATIONS {
            if going.is_empty() {
                return Ok(0);
            }
            let values = self.evaluate(&going, strength)?;
            let before = going.len();
            let mut values = values.into_iter();
            going.retain_mut(|(column, minimiser)| {
                let status = values.next().map_or(Status::Converged, |(f, gradient)| minimiser.tell(f, gradient));
                self.columns[*column].weights.copy_from_slice(minimiser.point());
                status == Status::Going
            });
            progress.advance((before - going.len()) as u64)?;
        }
        progress.advance(going.len() as u64)?;
        Ok(going.len())
    }

    /// Value and gradient of the columns that are going, each at its trial.
    fn evaluate(&self, going: &[(usize, Minimiser)], strength: f64) -> Result<Vec<(f64, Vec<f64>)>, InterpretError> {
        let (n, d, device) = (self.y.size()[0], self.variances.len(), self.y.device());
        let (w, b) = matrices(going.iter().map(|(_, minimiser)| minimiser.trial()), d, device);
        let picked: Vec<i64> = going.iter().map(|(column, _)| *column as i64).collect();
        let picked = Tensor::from_slice(&picked).to_device(device);
        let sums = |rows: i64| Tensor::zeros([rows, going.len() as i64], (Kind::Double, device));
        let (mut loss, mut slope, mut of_b) = (sums(1), sums(d as i64), sums(1));
        for from in (0..n).step_by(BLOCK_ROWS as usize) {
            let rows = BLOCK_ROWS.min(n - from);
            let y = self.y.narrow(0, from, rows); // [rows, d]
            let signs = self.signs.narrow(0, from, rows).index_select(1, &picked).to_kind(Kind::Float);
            // -s (w . y + b), [rows, going]; e to the power of less would be denormal, which is slow
            let against = ((y.matmul(&w) + &b) * &signs).clamp_min(-60.0);
            loss += against.softplus().sum_dim_intlist(0, true, Kind::Double);
            let pull = against.sigmoid() * signs; // d loss / d logit, [rows, going]
            slope += y.tr().matmul(&pull);
            of_b += pull.sum_dim_intlist(0, true, Kind::Double);
        }
        let per_column = Tensor::cat(&[slope, of_b, loss], 0).tr(); // [going, d + 2]
        let values: Vec<f64> = flat(&per_column)?;
        let columns = going.iter().zip(values.chunks_exact(d + 2));
        Ok(columns
            .map(|((column, m), sums)| self.penalised(&self.columns[*column], m.trial(), sums, strength))
            .collect())
    }

    /// Turns sums over tokens, `[d + 2]`, into the value and the gradient of a column.
    fn penalised(&self, column: &Column, point: &[f64], sums: &[f64], strength: f64) -> (f64, Vec<f64>) {
        let (d, penalty) = (self.variances.len(), strength * column.spread);
        // What does not count has been summed as ln(1 + exp(0)).
        let loss = (sums[d + 1] - column.ignored * std::f64::consts::LN_2) / column.counted;
        let square: f64 = point[..d].iter().map(|w| w * w).sum();
        let mut gradient: Vec<f64> = sums[..=d].iter().map(|sum| sum / column.counted).collect();
        gradient[..d].iter_mut().zip(point).for_each(|(g, w)| *g += penalty * w);
        (loss + penalty / 2.0 * square, gradient)
    }
}

/// -s of every token for every column.
fn signs(labels: &Labels, columns: &[Column]) -> Tensor {
    let (n, width) = (labels.rows(), columns.len());
    let mut signs = vec![1i8; n * width];
    for (at, column) in columns.iter().enumerate() {
        for (row, mark) in labels.places(column.concept) {
            signs[*row as usize * width + at] = if *mark == Mark::Positive { -1 } else { 0 };
        }
    }
    Tensor::from_slice(&signs).view([n as i64, width as i64])
}

/// Points `[d + 1]` as weights `[d, points]` and b `[points]`, in single precision.
pub(crate) fn matrices<'a>(points: impl Iterator<Item = &'a [f64]>, d: usize, device: Device) -> (Tensor, Tensor) {
    let all: Vec<f64> = points.flatten().copied().collect();
    let all = Tensor::from_slice(&all).view([-1, d as i64 + 1]).to_kind(Kind::Float).to_device(device);
    (all.narrow(1, 0, d as i64).tr().contiguous(), all.select(1, d as i64).contiguous())
}

/// Rows as a tensor, `[n, d]`.
pub(crate) fn on(rows: &Rows, device: Device) -> Tensor {
    Tensor::from_slice(&rows.values).view([-1, rows.d as i64]).to_device(device)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::probe::STRENGTHS;
    use super::*;
    use crate::hash::Numbers;
    use crate::truth::labels::Label;
    use untangle_schema::{Silent, Unit};

    const N: usize = 300;

    /// Rows of two correlated coordinates of different scale; concept 0 holds where a noisy mixture of them is high,
    /// every seventh token is undecided, concept 1 holds nowhere.
    pub(crate) fn planted() -> (Rows, Labels) {
        let mut numbers = Numbers::new(5);
        let (mut rows, mut labels) = (Rows { d: 2, values: Vec::new() }, Labels::new(2));
        for row in 0..N {
            let (a, b, noise) = (numbers.normal(), numbers.normal(), numbers.normal());
            rows.values.extend([(100.0 + 50.0 * a) as f32, (a + 0.3 * b) as f32]);
            let holds = a + b + 0.5 * noise > 0.8;
            labels.push(holds.then_some(Label { concept: 0, decided: row % 7 != 0 }));
        }
        (rows, labels)
    }

    /// The minimum by Newton's method in double precision, on standardised coordinates: logits of all rows.
    fn by_newton(rows: &Rows, marks: &[Mark], strength: f64) -> Vec<f64> {
        let y = Tensor::from_slice(&rows.values).view([-1, 2]).to_kind(Kind::Double);
        let mean = y.mean_dim(0, true, Kind::Double);
        let deviation = (&y - &mean).square().mean_dim(0, true, Kind::Double).sqrt();
        let y = Tensor::cat(&[(y - mean) / deviation, Tensor::ones([N as i64, 1], (Kind::Double, Device::Cpu))], 1);
        let of = |f: fn(Mark) -> f64| Tensor::from_slice(&marks.iter().map(|m| f(*m)).collect::<Vec<f64>>());
        let (counts, holds) = (of(|m| f64::from(m != Mark::Ignored)), of(|m| f64::from(m == Mark::Positive)));
        let n = counts.sum(Kind::Double).double_value(&[]);
        let share = holds.sum(Kind::Double).double_value(&[]) / n;
        let lambda = strength * share * (1.0 - share);
        let penalty = Tensor::from_slice(&[lambda, lambda, 0.0]);
        let mut w = Tensor::zeros([3], (Kind::Double, Device::Cpu));
        for _ in 0..20 {
            let p = y.matmul(&w).sigmoid();
            let gradient = y.tr().matmul(&((&p - &holds) * &counts)) / n + &penalty * &w;
            let variance: Tensor = 1.0 - &p;
            let curvature = (variance * &p * &counts).unsqueeze(1);
            let hessian = y.tr().matmul(&(&y * curvature)) / n + Tensor::diag(&penalty, 0);
            w -= hessian.inverse().matmul(&gradient);
        }
        flat(&y.matmul(&w)).expect("numbers")
    }

    #[test]
    fn a_probe_is_the_minimum_that_newton_finds() {
        let (rows, labels) = planted();
        let train = Labelled { rows: &rows, labels: &labels };
        let basis = Principal::of_standardised(&rows).expect("fits");
        let mut fits = Fits::new(&basis, train, &[true, true], Device::Cpu).expect("made");
        assert_eq!(fits.columns.len(), 1, "what holds nowhere has no probe");
        // Before anything is fitted, the loss is the entropy of the share of positives among the tokens that count.
        let start = Minimiser::new(fits.columns[0].weights.clone(), vec![1.0; 3], TOLERANCE);
        let share = labels.positives(0) as f64 / (N as u64 - labels.undecided(0)) as f64;
        let entropy = -share * share.ln() - (1.0 - share) * (1.0 - share).ln();
        let loss = fits.evaluate(&[(0, start)], 0.1).expect("evaluates")[0].0;
        assert!((loss - entropy).abs() < 1e-6, "{loss} {entropy}");
        let mut progress = Progress::start(&Silent, "fit", Unit::Steps, 1);
        let projected = basis.project(&rows).expect("projects");
        for strength in STRENGTHS {
            assert_eq!(fits.run(strength, &mut progress).expect("runs"), 0);
            let w = &fits.columns[0].weights;
            let found: Vec<f64> =
                projected.values.chunks(2).map(|y| w[0] * f64::from(y[0]) + w[1] * f64::from(y[1]) + w[2]).collect();
            let expected = by_newton(&rows, &labels.marks(0), strength);
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let largest = expected.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            assert!(worst < 0.03 * largest, "strength {strength}: {worst} of {largest}");
        }
    }
}
