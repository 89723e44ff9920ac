//! The coefficient of a sparsity penalty, steered so that L0 comes to what was asked for.
//!
//! ```text
//! e = ln(L0 / T)        log lambda += K_i clamp(e, -1, 1) + K_p (e - e_before)
//! ```
//!
//! `K_i` lets lambda change by a factor e in a hundredth of the run, whatever its length; the second term damps: while L0
//! falls as fast as it should, lambda stays. L0 is a running mean.

/// lambda changes by a factor e in this part of the run at most.
const EFOLD: f64 = 0.01;
/// Weight of the change of the error; chosen: the test below counts on it.
const DAMPING: f64 = 1.0;
/// Batches that the running mean of L0 remembers: those of a four-hundredth of the run.
const MEMORY: f64 = 400.0;
/// The coefficient stays within this factor of its beginning, so that no error runs away with it.
const RANGE: f64 = 1e4;

/// What is carried from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steering {
    /// lambda
    pub coefficient: f64,
    /// Running mean of L0; zero before the first batch.
    pub mean_l0: f64,
}

impl Steering {
    /// After a batch of `l0` active latents per row in a run of `steps`, aiming at `target`.
    pub fn after(self, l0: f64, target: f64, steps: u64, first: f64) -> Self {
        let forget = (MEMORY / steps as f64).clamp(0.01, 1.0);
        let before = if self.mean_l0 > 0.0 { self.mean_l0 } else { l0 };
        let mean_l0 = before + forget * (l0 - before);
        let error = |l0: f64| (l0.max(1e-3) / target).ln();
        let gain = 1.0 / (EFOLD * steps as f64);
        let change = gain.min(0.5) * error(mean_l0).clamp(-1.0, 1.0) + DAMPING * (error(mean_l0) - error(before));
        let coefficient = (self.coefficient * change.clamp(-0.5, 0.5).exp()).clamp(first / RANGE, first * RANGE);
        Steering { coefficient, mean_l0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L0 of a made-up dictionary follows `1000 / lambda` with a delay; the controller has to bring it to 20.
    #[test]
    fn a_lagging_l0_is_brought_to_the_target_without_swinging_on() {
        for steps in [1000u64, 5000, 20_000] {
            let (mut steering, mut l0) = (Steering { coefficient: 1.0, mean_l0: 0.0 }, 2000.0f64);
            let mut late: f64 = 0.0;
            for step in 0..steps {
                steering = steering.after(l0, 20.0, steps, 1.0);
                let settles_at = 1000.0 / steering.coefficient;
                l0 *= (settles_at / l0).powf(0.02);
                if step > steps * 3 / 4 {
                    late = late.max((l0 / 20.0 - 1.0).abs());
                }
            }
            assert!(late < 0.03, "{steps} steps: off by {late}");
        }
    }
}
