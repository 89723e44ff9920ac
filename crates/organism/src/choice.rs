//! Choices: how the generator draws, and what each draw cost in nats.
//!
//! Every branch of a text is one `Chooser::pick` among integer weights, drawn from ChaCha8 by integer arithmetic, so
//! that a text is the same on every machine. Floats only measure: the cost of a pick is -ln(weight / total).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One choice that the generator made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Bytes of text that stood when it was made.
    pub at: u32,
    /// Natural logarithm of its probability.
    pub log_prob: f64,
    /// Which option was taken.
    pub(crate) pick: u32,
    /// How many options had a weight.
    pub(crate) options: u32,
}

/// Draws picks and remembers them.
pub(crate) struct Chooser {
    rng: ChaCha8Rng,
    /// Picks to repeat before anything is drawn.
    script: Vec<u32>,
    pub(crate) choices: Vec<Choice>,
}

/// Sets this generator apart from any other that is seeded with the same numbers.
const DOMAIN: &[u8; 16] = b"untangle world 1";

impl Chooser {
    pub(crate) fn new(seed: u64, index: u64, script: Vec<u32>) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        key[16..].copy_from_slice(DOMAIN);
        Self { rng: ChaCha8Rng::from_seed(key), script, choices: Vec::new() }
    }

    /// Draws one of the options in proportion to its weight. A single option is taken silently: it is no choice.
    pub(crate) fn pick(&mut self, weights: &[u32], at: usize) -> usize {
        let options = weights.iter().filter(|weight| **weight > 0).count();
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if options < 2 {
            return weights.iter().position(|weight| *weight > 0).unwrap_or(0);
        }
        let pick = self.scripted(weights, options).unwrap_or_else(|| self.draw(weights, total));
        let log_prob = (f64::from(weights[pick]) / total as f64).ln();
        self.choices.push(Choice { at: at as u32, log_prob, pick: pick as u32, options: options as u32 });
        pick
    }

    /// A number to seed another chooser with.
    pub(crate) fn next(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// The next pick of the script, brought into range where an earlier change of the script moved it.
    fn scripted(&self, weights: &[u32], options: usize) -> Option<usize> {
        let wanted = *self.script.get(self.choices.len())? as usize;
        if weights.get(wanted).is_some_and(|weight| *weight > 0) {
            return Some(wanted);
        }
        weights.iter().enumerate().filter(|(_, weight)| **weight > 0).map(|(i, _)| i).nth(wanted % options)
    }

    /// floor(u total / 2^64) for a uniform 64-bit u; its bias is below total / 2^64.
    fn draw(&mut self, weights: &[u32], total: u64) -> usize {
        let mut left = ((u128::from(self.rng.next_u64()) * u128::from(total)) >> 64) as u64;
        for (i, weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return i,
            }
        }
        weights.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_follow_their_weights_and_cost_their_surprise() {
        let mut chooser = Chooser::new(1, 2, Vec::new());
        let mut counts = [0; 3];
        for _ in 0..8000 {
            counts[chooser.pick(&[1, 0, 3], 0)] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((5800..6200).contains(&counts[2]), "{counts:?}");
        let choice = chooser.choices[0];
        let expected: f64 = if choice.pick == 0 { 0.25 } else { 0.75 };
        assert_eq!(choice.log_prob, expected.ln());
    }

    #[test]
    fn one_option_is_no_choice() {
        let mut chooser = Chooser::new(1, 2, Vec::new());
        assert_eq!(chooser.pick(&[0, 5, 0], 0), 1);
        assert!(chooser.choices.is_empty());
    }

    #[test]
    fn a_script_is_repeated_before_drawing_starts() {
        let mut chooser = Chooser::new(1, 2, vec![2, 0, 7]);
        let picks: Vec<usize> = (0..3).map(|_| chooser.pick(&[1, 1, 1], 0)).collect();
        assert_eq!(picks, [2, 0, 1]); // 7 is out of range: 7 modulo 3
    }
}
