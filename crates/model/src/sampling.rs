//! How the next token is chosen from logits: in Rust, from a seeded generator, so that a seed gives the same text
//! whatever else draws random numbers.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 always takes the largest.
    pub temperature: f64,
    /// Only this many of the largest logits are considered; none for all.
    pub top_k: Option<usize>,
    /// Only the smallest set of largest probabilities whose sum reaches this is considered, after `top_k`; none for
    /// all (nucleus sampling, Holtzman et al., arXiv 1904.09751).
    pub top_p: Option<f64>,
}

impl Sampling {
    /// Always the largest logit.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: None, top_p: None };

    /// What is wrong with the settings, as the value found and what is supported.
    pub(crate) fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return Some(("temperature", self.temperature.to_string(), "0 or a positive number"));
        }
        if self.top_k == Some(0) {
            return Some(("top_k", "0".into(), "a positive number"));
        }
        let top_p = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0))?;
        Some(("top_p", top_p.to_string(), "a number above 0 and at most 1"))
    }

    /// Chooses an index of `logits`, `[vocab]`; none where one of them is NaN or all are -infinity. Ties go to the
    /// lower index.
    pub(crate) fn choose(&self, logits: &[f32], rng: &mut ChaCha8Rng) -> Option<usize> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if logits.iter().any(|logit| logit.is_nan()) || !largest.is_finite() {
            return None;
        }
        if self.temperature == 0.0 {
            return logits.iter().position(|logit| *logit == largest);
        }
        let candidates = self.candidates(logits, largest);
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.random::<f64>() * total;
        let chosen = candidates.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Rounding can leave `left` at 0 behind the last candidate.
        chosen.or(candidates.last()).map(|(index, _)| *index)
    }

    /// Indices and unnormalised probabilities exp((logit - largest) / temperature) of what may be chosen.
    fn candidates(&self, logits: &[f32], largest: f32) -> Vec<(usize, f64)> {
        let weight = |logit: &f32| (f64::from(logit - largest) / self.temperature).exp();
        let mut candidates: Vec<(usize, f64)> = logits.iter().map(weight).enumerate().collect();
        if self.top_k.is_none() && self.top_p.is_none() {
            return candidates;
        }
        candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a)); // stable: ties stay in the order of the indices
        candidates.truncate(self.top_k.unwrap_or(usize::MAX));
        if let Some(top_p) = self.top_p {
            let wanted = top_p * candidates.iter().map(|(_, weight)| weight).sum::<f64>();
            let mut sum = 0.0;
            let reached = candidates.iter().position(|(_, weight)| {
                sum += weight;
                sum >= wanted
            });
            candidates.truncate(reached.map_or(usize::MAX, |last| last + 1));
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// How often each index is chosen in 10,000 draws, as fractions.
    fn frequencies(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..10_000 {
            counts[sampling.choose(logits, &mut rng).expect("finite logits")] += 1e-4;
        }
        counts
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.02), "{found:?} is not {expected:?}");
    }

    #[test]
    fn probabilities_follow_temperature_top_k_and_top_p() {
        // Probabilities 1/2, 1/3, 1/6.
        let logits = [3f32.ln(), 2f32.ln(), 0.0];
        let plain = Sampling { temperature: 1.0, top_k: None, top_p: None };
        near(&frequencies(plain, &logits), &[0.5, 1.0 / 3.0, 1.0 / 6.0]);
        near(&frequencies(Sampling { temperature: 0.5, ..plain }, &logits), &[9.0 / 14.0, 4.0 / 14.0, 1.0 / 14.0]);
        near(&frequencies(Sampling { top_k: Some(2), ..plain }, &logits), &[0.6, 0.4, 0.0]);
        near(&frequencies(Sampling { top_p: Some(0.6), ..plain }, &logits), &[0.6, 0.4, 0.0]);
        near(&frequencies(Sampling { top_p: Some(0.4), ..plain }, &logits), &[1.0, 0.0, 0.0]);
        near(&frequencies(Sampling::GREEDY, &[0.0, 2.0, 2.0]), &[0.0, 1.0, 0.0]);
    }

    #[test]
    fn nothing_is_chosen_from_logits_that_are_not_numbers() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for logits in [[f32::NAN, 1.0], [f32::INFINITY, 1.0], [f32::NEG_INFINITY; 2]] {
            assert_eq!(Sampling::GREEDY.choose(&logits, &mut rng), None);
        }
        assert_eq!(Sampling::GREEDY.choose(&[f32::NEG_INFINITY, 1.0], &mut rng), Some(1));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let problem = |temperature, top_k, top_p| Sampling { temperature, top_k, top_p }.problem().map(|p| p.0);
        assert_eq!(problem(-1.0, None, None), Some("temperature"));
        assert_eq!(problem(f64::NAN, None, None), Some("temperature"));
        assert_eq!(problem(1.0, Some(0), None), Some("top_k"));
        assert_eq!(problem(1.0, None, Some(0.0)), Some("top_p"));
        assert_eq!(problem(1.0, Some(1), Some(1.0)), None);
    }
}
