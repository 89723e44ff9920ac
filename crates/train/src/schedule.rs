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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_rises_stays_and_falls_to_nearly_zero() {
        let schedule = Schedule { lr: 2.0, warm_up: 3, decay: 4, steps: 20 };
        let at: Vec<f64> = (0..20).map(|s| schedule.at(s)).collect();
        assert_eq!(at[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert_eq!(at[15..], [2.0, 2.0, 1.5, 1.0, 0.5]);
    }
}
