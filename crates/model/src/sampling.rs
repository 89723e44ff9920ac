//! How the next token is chosen from logits: in Rust, from a seeded generator, so that a seed gives the same text
//! whatever else draws random numbers.
//!
//! What is done to logits l of a vocabulary V, in this order and as in transformers' `generation/logits_process.py`:
//!
//! | setting | effect |
//! |---|---|
//! | repetition penalty r | l_v / r where l_v > 0, else l_v r, of every token v of the text so far (Keskar et al., arXiv 1909.05858) |
//! | temperature t | l_v / t |
//! | top k | what is less likely than the k-th is left out; what is as likely stays |
//! | top p | the smallest set of likeliest tokens whose probabilities sum to p (Holtzman et al., arXiv 1904.09751) |
//! | min p | what is less than p times as likely as the likeliest is left out (Nguyen et al., arXiv 2407.01082) |

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::borrow::Cow;
use std::collections::HashSet;

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 always takes the largest.
    pub temperature: f64,
    /// Only this many of the largest logits are considered; none for all.
    pub top_k: Option<usize>,
    /// Only the smallest set of largest probabilities whose sum reaches this is considered, after `top_k`; none for
    /// all.
    pub top_p: Option<f64>,
    /// Only tokens at least this many times as likely as the likeliest are considered, after the others; none for all.
    pub min_p: Option<f64>,
    /// Tokens of the text so far are made less likely by this factor; 1 for none.
    pub repetition_penalty: f64,
}

impl Default for Sampling {
    /// What the model says, as it says it.
    fn default() -> Self {
        Self::at(1.0)
    }
}

impl Sampling {
    /// Always the largest logit.
    pub const GREEDY: Sampling = Sampling::at(0.0);

    /// All tokens are considered, at this temperature.
    pub const fn at(temperature: f64) -> Self {
        Sampling { temperature, top_k: None, top_p: None, min_p: None, repetition_penalty: 1.0 }
    }

    /// What is wrong with the settings, as the value found and what is supported.
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return Some(("temperature", self.temperature.to_string(), "0 or a positive number"));
        }
        if self.top_k == Some(0) {
            return Some(("top_k", "0".into(), "a positive number"));
        }
        let is_share = |p: &f64| *p > 0.0 && *p <= 1.0;
        if let Some(top_p) = self.top_p.filter(|p| !is_share(p)) {
            return Some(("top_p", top_p.to_string(), "a number above 0 and at most 1"));
        }
        if let Some(min_p) = self.min_p.filter(|p| *p != 0.0 && !is_share(p)) {
            return Some(("min_p", min_p.to_string(), "a number from 0 to 1"));
        }
        let penalty = self.repetition_penalty;
        let fits = penalty.is_finite() && penalty > 0.0;
        (!fits).then(|| ("repetition_penalty", penalty.to_string(), "a positive number; 1 changes nothing"))
    }

    /// Chooses an index of `logits`, `[vocab]`, where the text so far is `text`; none where one of them is NaN or all are
    /// -infinity. Ties go to the lower index.
    pub(crate) fn choose(&self, logits: &[f32], text: &[u32], rng: &mut ChaCha8Rng) -> Option<usize> {
        let logits = &*self.penalised(logits, text);
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

    /// Logits with the tokens of the text so far made less likely.
    fn penalised<'a>(&self, logits: &'a [f32], text: &[u32]) -> Cow<'a, [f32]> {
        if self.repetition_penalty == 1.0 {
            return Cow::Borrowed(logits);
        }
        let (mut logits, penalty) = (logits.to_vec(), self.repetition_penalty as f32);
        for token in text.iter().collect::<HashSet<_>>() {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
        Cow::Owned(logits)
    }

    /// Indices and unnormalised probabilities exp((logit - largest) / temperature) of what may be chosen.
    fn candidates(&self, logits: &[f32], largest: f32) -> Vec<(usize, f64)> {
        let weight = |logit: f32| (f64::from(logit - largest) / self.temperature).exp();
        let least = self.top_k.and_then(|k| kth_largest(logits, k));
        let considered =
            logits.iter().copied().enumerate().filter(|(_, logit)| least.is_none_or(|least| *logit >= least));
        let mut candidates: Vec<(usize, f64)> = considered.map(|(index, logit)| (index, weight(logit))).collect();
        if self.top_k.is_some() || self.top_p.is_some() {
            candidates = likeliest(candidates, self.top_p.unwrap_or(1.0));
        }
        // The likeliest has a weight of 1.
        let least = self.min_p.unwrap_or(0.0);
        candidates.retain(|(_, weight)| *weight >= least);
        candidates
    }
}

/// The k-th largest logit; none where there are no more than k.
fn kth_largest(logits: &[f32], k: usize) -> Option<f32> {
    if k >= logits.len() {
        return None;
    }
    let mut logits = logits.to_vec();
    Some(*logits.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1)
}

/// The smallest set of likeliest candidates whose weights sum to the share `top_p` of all, likeliest first.
fn likeliest(mut candidates: Vec<(usize, f64)>, top_p: f64) -> Vec<(usize, f64)> {
    let total = candidates.iter().map(|(_, weight)| weight).sum::<f64>();
    if top_p < 1.0 {
        // As many as there are of these sum to less than what may be left out, so that the rest alone need be sorted.
        let hopeless = 0.5 * (1.0 - top_p) * total / candidates.len() as f64;
        candidates.retain(|(_, weight)| *weight > hopeless);
    }
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a)); // stable: ties stay in the order of the indices
    if top_p < 1.0 {
        let (wanted, mut sum) = (top_p * total, 0.0);
        let reached = candidates.iter().position(|(_, weight)| {
            sum += weight;
            sum >= wanted
        });
        candidates.truncate(reached.map_or(usize::MAX, |last| last + 1));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use serde::Deserialize;
    use std::path::Path;

    /// How often each index is chosen in 10,000 draws, as fractions.
    fn frequencies(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..10_000 {
            counts[sampling.choose(logits, &[], &mut rng).expect("finite logits")] += 1e-4;
        }
        counts
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.02), "{found:?} is not {expected:?}");
    }

    #[test]
    fn probabilities_follow_the_settings() {
        // Probabilities 1/2, 1/3, 1/6.
        let logits = [3f32.ln(), 2f32.ln(), 0.0];
        let plain = Sampling::default();
        near(&frequencies(plain, &logits), &[0.5, 1.0 / 3.0, 1.0 / 6.0]);
        near(&frequencies(Sampling::at(0.5), &logits), &[9.0 / 14.0, 4.0 / 14.0, 1.0 / 14.0]);
        near(&frequencies(Sampling { top_k: Some(2), ..plain }, &logits), &[0.6, 0.4, 0.0]);
        near(&frequencies(Sampling { top_p: Some(0.6), ..plain }, &logits), &[0.6, 0.4, 0.0]);
        near(&frequencies(Sampling { top_p: Some(0.4), ..plain }, &logits), &[1.0, 0.0, 0.0]);
        near(&frequencies(Sampling { min_p: Some(0.5), ..plain }, &logits), &[0.6, 0.4, 0.0]);
        near(&frequencies(Sampling::GREEDY, &[0.0, 2.0, 2.0]), &[0.0, 1.0, 0.0]);
    }

    #[test]
    fn what_was_said_is_less_likely_to_be_said_again() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let sampling = Sampling { repetition_penalty: 2.0, ..Sampling::GREEDY };
        assert_eq!(sampling.choose(&[3.0, 2.0], &[0, 0], &mut rng), Some(1), "3 becomes 1.5, once");
        assert_eq!(sampling.choose(&[-1.0, -1.5], &[0], &mut rng), Some(1), "-1 becomes -2");
        assert_eq!(sampling.choose(&[3.0, 2.0], &[7], &mut rng), Some(0), "no token of the vocabulary");
    }

    #[test]
    fn nothing_is_chosen_from_logits_that_are_not_numbers() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for logits in [[f32::NAN, 1.0], [f32::INFINITY, 1.0], [f32::NEG_INFINITY; 2]] {
            assert_eq!(Sampling::GREEDY.choose(&logits, &[], &mut rng), None);
        }
        assert_eq!(Sampling::GREEDY.choose(&[f32::NEG_INFINITY, 1.0], &[], &mut rng), Some(1));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let problem = |sampling: Sampling| sampling.problem().map(|p| p.0);
        let plain = Sampling::default();
        assert_eq!(problem(Sampling::at(-1.0)), Some("temperature"));
        assert_eq!(problem(Sampling::at(f64::NAN)), Some("temperature"));
        assert_eq!(problem(Sampling { top_k: Some(0), ..plain }), Some("top_k"));
        assert_eq!(problem(Sampling { top_p: Some(0.0), ..plain }), Some("top_p"));
        assert_eq!(problem(Sampling { min_p: Some(1.5), ..plain }), Some("min_p"));
        assert_eq!(problem(Sampling { repetition_penalty: 0.0, ..plain }), Some("repetition_penalty"));
        assert_eq!(problem(Sampling { top_k: Some(1), top_p: Some(1.0), min_p: Some(0.0), ..plain }), None);
    }

    /// Settings, logits and a text, and what transformers makes of them.
    #[derive(Deserialize)]
    struct Case {
        temperature: f64,
        top_k: Option<usize>,
        top_p: Option<f64>,
        min_p: Option<f64>,
        repetition_penalty: f64,
        logits: Vec<f32>,
        text: Vec<u32>,
        probabilities: Vec<f64>,
    }

    #[test]
    fn probabilities_are_those_of_transformers() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/sampling/cases.json");
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).expect("the fixture")).expect("cases");
        assert!(cases.len() > 100);
        for (number, case) in cases.iter().enumerate() {
            let Case { temperature, top_k, top_p, min_p, repetition_penalty, .. } = *case;
            let sampling = Sampling { temperature, top_k, top_p, min_p, repetition_penalty };
            let logits = sampling.penalised(&case.logits, &case.text);
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let candidates = sampling.candidates(&logits, largest);
            let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
            let mut found = vec![0.0; logits.len()];
            candidates.iter().for_each(|(index, weight)| found[*index] = weight / total);
            for (token, (found, expected)) in found.iter().zip(&case.probabilities).enumerate() {
                let apart = (found - expected).abs();
                let both = (*found == 0.0) == (*expected == 0.0);
                assert!(both && apart < 1e-5, "case {number} {sampling:?}, token {token}: {found}, not {expected}");
            }
        }
    }
}
