//! The learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

/// Linear warm-up from zero, a plateau, and a linear decay to zero at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The plateau.
    pub lr: f64,
    /// Steps of the warm-up.
    pub warm_up: u64,
    /// Steps of the decay.
    pub decay: u64,
    /// Steps of the run.
    pub steps: u64,
}

impl Schedule {
    /// Learning rate of step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let up = if step < self.warm_up { (step + 1) as f64 / (self.warm_up + 1) as f64 } else { 1.0 };
        let left = self.steps.saturating_sub(step);
        let down = if left < self.decay { left as f64 / self.decay as f64 } else { 1.0 };
        self.lr * up.min(down)
    }
}

/// The peak learning rate where none is given: `c / sqrt(d_sae)` with c = 0.25, 0.4 of JumpReLU, 0.5 of relu, gated and
/// p-anneal, of which small batches have less.
///
/// Held-out FVU of topk after training on `blocks.2.hook_resid_post` of stories260k (d_in 64, normalised, batch 4096, seed 0):
///
/// | d_sae | k | steps | rate: FVU |
/// |---|---|---|---|
/// | 512 | 16 | 244 | .005: .0615, .008: .0570, .012: .0548, .016: .0539, .024: .0532 |
/// | 512 | 16 | 1953 | .002: .0524, .004: .0494, .008: .0482, .012: .0470, .020: .0463 |
/// | 2048 | 32 | 244 | .003: .0288, .005: .0262, .008: .0260, .012: .0270 |
/// | 2048 | 16 | 976 | .002: .0308, .004: .0283, .008: .0275, .016: .0291 |
///
/// The rule lies below the best rate of each row, because dead and dense features multiply above it (at d_sae 2048 and 976
/// steps: 35 dead at .004, 65 at .008). It has the root law of Gao et al. 2024 (section 3) with a larger constant, for
/// gradients clipped to norm 1. Runs of many thousand steps were not measured; they may want less.
///
/// Architectures with a penalty, which shrinks what it penalises, gain from more. With c = constant of the rule, after 1,000,000
/// tokens (batch 2048) on the organism's activations (d_sae 2048, L0 16) and on planted features (d_sae 1024, L0 11, with the
/// correlation), held-out FVU of seed 0 (p-anneal: FVU of the last batch):
///
/// | | organism | planted |
/// |---|---|---|
/// | relu | c .4: .0197, **.5: .0189** | .4: .1451, .657, **.5: .1425, .672** |
/// | gated | .4: .0170, **.5: .0166**, .63: .0169 | .4: .1129, .743, **.5: .1147, .733**, .6: .1155, .742 |
/// | p-anneal | .25: .0162, .4: .0153, **.5: .0149** | .25: .1263, .4: .1192, **.5: .1188** |
/// | jump-relu | .18: .0181, .25: .0169, .35: .0169, **.4: .0166**, .5: .0166 | .18: .1035, .752, .25: .0992, .769, .35: .1003, .777, **.4: .1005, .777**, .5: .1037, .766 |
///
/// Theirs is `sqrt(batch / 2048)` of that for batches of fewer than 2,048 rows, whose gradients are noisier. FVU of the last
/// batches of 4000 steps of 512 rows (organism, d_sae 1024) at the whole rate and at half of it: relu .0165 and .0117 (.0131 at a
/// third), jump-relu .0122 and .0107 (at 0.6), topk .0176 and .0172, which keeps its own. Of 2,048 rows relu has .0111 and .0123.
pub(crate) fn usual_learning_rate(constant: f64, d_sae: usize) -> f64 {
    constant / (d_sae as f64).sqrt()
}

/// The constant of an architecture with a penalty, given that of large batches.
pub(crate) fn of_penalised(constant: f64, batch: usize) -> f64 {
    constant * (batch as f64 / LARGE_BATCH).min(1.0).sqrt()
}

/// Rows from which on more do not make the learning rate larger.
const LARGE_BATCH: f64 = 2048.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rates_by_hand() {
        assert_eq!(usual_learning_rate(0.25, 1024) * 32.0, 0.25);
        assert_eq!([of_penalised(0.4, 2048), of_penalised(0.4, 4096), of_penalised(0.5, 512)], [0.4, 0.4, 0.25]);
    }

    #[test]
    fn a_schedule_rises_stays_and_falls_to_nearly_zero() {
        let schedule = Schedule { lr: 2.0, warm_up: 3, decay: 4, steps: 20 };
        let at: Vec<f64> = (0..20).map(|s| schedule.at(s)).collect();
        assert_eq!(at[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert_eq!(at[15..], [2.0, 2.0, 1.5, 1.0, 0.5]);
    }
}
