//! What does a linear probe read? Softmax regression on activations.
//!
//! p(c | x) = softmax(W z + b)_c with z = (x - mean) / deviation, fitted by Adam on -ln p of training tokens.
//!
//! | figure | over |
//! |---|---|
//! | `all` | test tokens under it at which the likeliest class is what is held |
//! | `told` | those of them from which on a reader who knows the rules can tell it |
//! | `later` | those behind the second sentence |
//! | `reader` | what that reader, who has the whole text so far, gets right of all: no probe can be expected to do better |

use super::held::{FAMILIES, Known, Tokens};
use crate::adam::Adam;
use tch::{Kind, Tensor};
use untangle_schema::Share;

/// Steps of a fit, rows of each, and the rate: chosen, accuracy no longer changes by a hundredth.
const STEPS: u64 = 500;
const ROWS: i64 = 4096;
const RATE: f64 = 0.02;
/// Sentences behind which a token counts as later.
const SENTENCES: usize = 2;

/// How often a probe of one layer is right about one family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// Of all tokens.
    pub all: Share,
    /// Of tokens at which it can be told.
    pub told: Share,
    /// Of tokens from the third sentence on.
    pub later: Share,
}

/// A fitted probe.
#[derive(Debug)]
pub struct Probe {
    mean: Tensor,
    deviation: Tensor,
    /// `[d, classes]`.
    w: Tensor,
    /// `[classes]`.
    b: Tensor,
}

impl Probe {
    /// Fits rows `[n, d]` to their classes `[n]`.
    pub fn fit(x: &Tensor, classes: &Tensor, n_classes: i64) -> Self {
        let mean = x.mean_dim([0i64].as_slice(), false, Kind::Float);
        let deviation = x.std_dim([0i64].as_slice(), false, false).clamp_min(1e-6);
        let z = (x - &mean) / &deviation;
        let (n, d) = z.size2().unwrap_or((0, 0));
        let w = Tensor::zeros([d, n_classes], (Kind::Float, x.device())).set_requires_grad(true);
        let b = Tensor::zeros([n_classes], (Kind::Float, x.device())).set_requires_grad(true);
        let mut parameters = [w.shallow_clone(), b.shallow_clone()];
        let mut adam = Adam::new(&parameters);
        // Rows that follow one another are of one document: every step takes rows from all over.
        let stride = (n / ROWS).max(1);
        for step in 0..STEPS {
            let rows = Tensor::arange_start_step(step as i64 % stride, n, stride, (Kind::Int64, x.device()));
            let logits = z.index_select(0, &rows).matmul(&w) + &b;
            let loss = logits.cross_entropy_for_logits(&classes.index_select(0, &rows));
            let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
            let left = 1.0 - step as f64 / STEPS as f64;
            adam.step(&mut parameters, &gradients, step, RATE * left);
        }
        Self { mean, deviation, w: w.detach(), b: b.detach() }
    }

    /// The likeliest class of every row.
    pub fn classes(&self, x: &Tensor) -> Vec<i64> {
        let z = (x - &self.mean) / &self.deviation;
        let found = (z.matmul(&self.w) + &self.b).argmax(1, false);
        Vec::try_from(found).unwrap_or_default()
    }
}

/// Fits a probe of a family on one layer of `train` and asks it about `test`.
pub fn accuracy(train: &Tokens, test: &Tokens, layer: usize, family: usize, n_classes: usize) -> Accuracy {
    let held = (0i64..).zip(&train.known).filter_map(|(row, known)| Some((row, known.held[family]? as i64)));
    let (rows, classes): (Vec<i64>, Vec<i64>) = held.unzip();
    let x = train.acts[layer].index_select(0, &Tensor::from_slice(&rows));
    let probe = Probe::fit(&x, &Tensor::from_slice(&classes), n_classes as i64);
    let found = probe.classes(&test.acts[layer]);
    let right = |known: &Known, found: i64| known.held[family] == usize::try_from(found).ok();
    let share = |counts: &dyn Fn(&Known) -> bool| {
        let counted = test.known.iter().zip(&found).filter(|(known, _)| known.held[family].is_some() && counts(known));
        Share::of(counted.map(|(known, found)| right(known, *found)))
    };
    Accuracy {
        all: share(&|_| true),
        told: share(&|known| known.told[family]),
        later: share(&|known| known.sentence >= SENTENCES),
    }
}

/// How often a reader who knows the rules is right.
pub fn reader(test: &Tokens, family: usize) -> Accuracy {
    let share = |counts: &dyn Fn(&Known) -> bool| {
        let counted = test.known.iter().filter(|known| known.held[family].is_some() && counts(known));
        Share::of(counted.map(|known| known.reader[family] == known.held[family]))
    };
    Accuracy {
        all: share(&|_| true),
        told: share(&|known| known.told[family]),
        later: share(&|known| known.sentence >= SENTENCES),
    }
}

/// The name of a family by its place.
pub fn family(place: usize) -> &'static str {
    FAMILIES[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_corners_are_told_apart() {
        let corners = [[4.0f32, 0.0], [0.0, 4.0], [-4.0, -4.0]];
        let classes: Vec<i64> = (0..600).map(|i| i % 3).collect();
        let jitter = |i: usize| (i * 37 % 11) as f32 / 11.0;
        let rows: Vec<f32> = (0..600).flat_map(|i| corners[i % 3].map(|x| x + jitter(i))).collect();
        let x = Tensor::from_slice(&rows).view([600, 2]);
        let probe = Probe::fit(&x, &Tensor::from_slice(&classes), 3);
        assert_eq!(probe.classes(&x), classes);
    }
}
