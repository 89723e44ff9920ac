//! The optimiser: Adam (Kingma & Ba 2015, algorithm 1), on slices, inside the pass that gathers the gradient.
//!
//! ```text
//! m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
//! p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//! ```
//!
//! It is dense Adam exactly: a latent that did not fire has g = 0, its moments decay and it still moves.
//!
//! Adam-mini (Zhang et al. 2024, algorithm 1) keeps one second moment for every latent's row instead of one for every
//! weight, `v <- beta2 v + (1 - beta2) mean_j g_j^2`: a third of the optimiser's memory and traffic less. On biases and other
//! vectors it is Adam.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use untangle_sae::kernels::vector::dot;

/// How parameters are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// A second moment for every weight.
    #[default]
    Adam,
    /// A second moment for every row of the matrices.
    AdamMini,
}

impl FromStr for Optimiser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "adam" => Ok(Optimiser::Adam),
            "adam-mini" => Ok(Optimiser::AdamMini),
            _ => Err(format!("`{text}` is neither adam nor adam-mini")),
        }
    }
}

/// Decay of the first moment.
pub const BETA1: f32 = 0.9;
/// Decay of the second moment.
pub const BETA2: f32 = 0.999;
/// Keeps the quotient finite.
pub const EPS: f32 = 1e-8;

/// One step's constants.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    lr: f32,
    correct1: f32,
    correct2: f32,
}

impl Adam {
    /// Step `t`, counted from 1, at learning rate `lr`.
    pub fn at(t: u64, lr: f64) -> Self {
        let t = t.min(i32::MAX as u64) as i32;
        let correct = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(t))) as f32;
        Adam { lr: lr as f32, correct1: correct(BETA1), correct2: correct(BETA2) }
    }

    /// Moves parameters `p` by gradient `g` and updates the moments; all of one length.
    #[inline(always)]
    pub fn update(self, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            *m = BETA1.mul_add(*m, (1.0 - BETA1) * g);
            *v = BETA2.mul_add(*v, (1.0 - BETA2) * (g * g));
            *p -= self.lr * (*m * self.correct1) / ((*v * self.correct2).sqrt() + EPS);
        }
    }

    /// Moves a row `p` by gradient `g` with one second moment for all of it.
    #[inline(always)]
    pub fn update_row(self, p: &mut [f32], m: &mut [f32], v: &mut f32, g: &[f32]) {
        *v = BETA2.mul_add(*v, (1.0 - BETA2) * (dot(g, g) / g.len() as f32));
        let rate = self.lr * self.correct1 / ((*v * self.correct2).sqrt() + EPS);
        for ((p, m), &g) in p.iter_mut().zip(m).zip(g) {
            *m = BETA1.mul_add(*m, (1.0 - BETA1) * g);
            *p -= rate * *m;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_learning_rate_and_an_idle_parameter_still_moves() {
        let (mut p, mut m, mut v) = ([1.0f32, 1.0], [0.0f32; 2], [0.0f32; 2]);
        Adam::at(1, 0.1).update(&mut p, &mut m, &mut v, &[4.0, 0.0]);
        assert!((p[0] - 0.9).abs() < 1e-6 && p[1] == 1.0);
        // t = 2, g = 0: m = 0.36, v = 0.015984; m^ = 0.36 / 0.19, v^ = 0.015984 / 0.001999.
        Adam::at(2, 0.1).update(&mut p, &mut m, &mut v, &[0.0, 0.0]);
        let moved = 0.1 * (0.36 / 0.19) / (0.015_984f32 / 0.001_999).sqrt();
        assert!((p[0] - (0.9 - moved)).abs() < 1e-5, "{}", p[0]);
    }

    #[test]
    fn a_row_shares_its_second_moment() {
        let (mut p, mut m, mut v) = ([1.0f32, 1.0], [0.0f32; 2], 0.0f32);
        Adam::at(1, 0.1).update_row(&mut p, &mut m, &mut v, &[3.0, 1.0]);
        // mean g^2 = 5: the row moves by lr g / sqrt(5). In f32, 1 - 0.999 is 5e-5 of itself too large.
        assert!((v - 0.005).abs() < 1e-6, "{v}");
        assert!((p[0] - (1.0 - 0.3 / 5f32.sqrt())).abs() < 1e-6 && (p[1] - (1.0 - 0.1 / 5f32.sqrt())).abs() < 1e-6);
    }
}
