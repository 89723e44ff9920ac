//! The coefficient of a sparsity penalty, steered so that L0 comes to what was asked for.
//!
//! ```text
//! T(t) = T (L0_0 / T)^(1 - min(t / F, 1))        e = ln(L0 / T(t))
//! log lambda += K_i clamp(e, -1, 1) + K_p (e - e_before)
//! ```
//!
//! The aim falls geometrically from the L0 that untrained weights have, half of all latents, to the target `T`, and reaches it
//! after a part `F` of the run: a penalty that is raised until L0 obeys at once drives out what is just being learned, and
//! the run begins again from nothing. `K_i` lets lambda change by a factor e in a thirtieth of the run, whatever its length,
//! and in a two-hundredth when L0 is near its target, which it would leave by some 8 % as the learning rate falls; the second term
//! damps: while L0 falls as fast as the aim, lambda stays. L0 is a running mean.

/// Part of the run after which the aim is the target.
const FALL: f64 = 0.3;
/// lambda changes by a factor e in this part of the run at most: along a fall, straight to the target, and when L0 is to be held
/// where it is.
const EFOLD: f64 = 0.03;
const EFOLD_STRAIGHT: f64 = 0.01;
const EFOLD_HELD: f64 = 0.005;
/// Part of the run after which L0 is near the target and is held there, while the falling learning rate would raise it.
const HELD_FROM: f64 = 0.6;
/// Weight of the change of the error; chosen: the test below counts on it.
const DAMPING: f64 = 1.0;
/// Batches that the running mean of L0 remembers: those of a four-hundredth of the run.
const MEMORY: f64 = 400.0;
/// The coefficient stays within this factor of its beginning, so that no error runs away with it.
const RANGE: f64 = 1e4;

/// What L0 is steered to.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// `L0_0`
    pub from: f64,
    /// `T`
    pub target: f64,
    /// Steps of the run.
    pub steps: u64,
    /// lambda changes by a factor e in this part of the run at most, until L0 is held.
    pub efold: f64,
}

impl Aim {
    /// Down from `from` to the target.
    pub fn falling(from: f64, target: f64, steps: u64) -> Self {
        Aim { from, target, steps, efold: EFOLD }
    }

    /// The target from the first step on.
    pub fn straight(target: f64, steps: u64) -> Self {
        Aim { from: target, target, steps, efold: EFOLD_STRAIGHT }
    }

    /// `T(t)` after `step` steps.
    fn after(self, step: u64) -> f64 {
        let left = 1.0 - (step as f64 / (FALL * self.steps as f64)).min(1.0);
        self.target * (self.from / self.target).max(1.0).powf(left)
    }

    /// Part of the run in which lambda changes by a factor e at most, at step `step`.
    fn efold_at(self, step: u64) -> f64 {
        if step as f64 > HELD_FROM * self.steps as f64 { EFOLD_HELD } else { self.efold }
    }

    /// Steps until `T(t)` is no more than `l0`.
    pub(crate) fn steps_above(self, l0: f64) -> f64 {
        let part = (self.from / l0).ln() / (self.from / self.target).ln();
        if part.is_nan() { 0.0 } else { FALL * self.steps as f64 * part.clamp(0.0, 1.0) }
    }
}

/// What is carried from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steering {
    /// lambda
    pub coefficient: f64,
    /// Running mean of L0; zero before the first batch.
    pub mean_l0: f64,
}

impl Steering {
    /// After step `step`, counted from 1, whose batch had `l0` active latents per row; lambda began as `first`.
    pub fn after(self, l0: f64, step: u64, aim: Aim, first: f64) -> Self {
        let forget = (MEMORY / aim.steps as f64).clamp(0.01, 1.0);
        let before = if self.mean_l0 > 0.0 { self.mean_l0 } else { l0 };
        let mean_l0 = before + forget * (l0 - before);
        let error = |l0: f64, step: u64| (l0.max(1e-3) / aim.after(step)).ln();
        let (now, earlier) = (error(mean_l0, step), error(before, step.saturating_sub(1)));
        let gain = 1.0 / (aim.efold_at(step) * aim.steps as f64);
        let change = gain.min(0.5) * now.clamp(-1.0, 1.0) + DAMPING * (now - earlier);
        let coefficient = (self.coefficient * change.clamp(-0.5, 0.5).exp()).clamp(first / RANGE, first * RANGE);
        Steering { coefficient, mean_l0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aim_by_hand() {
        // Half of the three hundred steps of the fall halve the exponent: 1024 to 64 to 4.
        let aim = Aim::falling(1024.0, 4.0, 1000);
        let at = [0, 150, 300, 1000].map(|step| aim.after(step).round());
        assert_eq!(at, [1024.0, 64.0, 4.0, 4.0]);
        assert!((aim.steps_above(64.0) - 150.0).abs() < 1e-9);
        assert_eq!((aim.steps_above(2000.0), aim.steps_above(1.0)), (0.0, 300.0));
        let straight = Aim::straight(4.0, 1000);
        assert_eq!([600, 601].map(|step| aim.efold_at(step)), [0.03, 0.005]);
        assert_eq!([600, 601].map(|step| straight.efold_at(step)), [0.01, 0.005]);
    }

    /// L0 of a made-up dictionary follows `1000 / lambda` with a delay; the controller has to bring it to 20.
    #[test]
    fn a_lagging_l0_is_brought_to_the_target_without_swinging_on() {
        for steps in [1000u64, 5000, 20_000] {
            let (mut steering, mut l0) = (Steering { coefficient: 1.0, mean_l0: 0.0 }, 2000.0f64);
            let mut late: f64 = 0.0;
            let aim = Aim::falling(2000.0, 20.0, steps);
            for step in 1..=steps {
                steering = steering.after(l0, step, aim, 1.0);
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
