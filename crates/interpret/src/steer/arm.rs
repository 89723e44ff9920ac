//! What came of one way to write, summed over its continuations.

use crate::bootstrap::{Interval, interval};
use serde::Serialize;
use untangle_schema::Share;

/// Steered text whose perplexity, to the model that nobody steers, is more than so many times that of its own text is no text any
/// more.
pub const MAX_PERPLEXITY: f64 = 1.3;
/// Nor is text that repeats itself so many times as often as the model's own, and [`REPEATED`], which any text may.
pub const MAX_REPETITION: f64 = 1.5;
/// A share of 4-grams.
pub const REPEATED: f64 = 0.01;

/// What came of one way to write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// Continuations about the concept.
    pub appears: Share,
    /// Continuations that name it.
    pub names: Share,
    /// Repeated 4-grams, 0 to 1; none where no continuation is long enough to have one.
    pub repetition: Option<f64>,
    /// Perplexity of continuations of prompts that name the concept; none where it was not asked for.
    pub perplexity: Option<f64>,
    /// Its interval over these continuations; none where they are few.
    pub perplexity_interval: Option<Interval>,
    /// Mean of KL(the model itself || this way), in nats a written token; none where it was not asked for.
    pub kl: Option<f64>,
    /// Mean by which the log-odds of the tokens that are followed rise, in nats; none where none are followed.
    pub log_odds: Option<f64>,
    /// The first continuation, behind its prompt.
    pub sample: String,
    /// What the figures are of.
    #[serde(skip)]
    pub(super) texts: Texts,
}

/// One continuation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub(super) about: bool,
    pub(super) names: bool,
    /// Of 4-grams, those that stood before.
    pub(super) repeated: usize,
    pub(super) runs: usize,
    pub(super) distance: Distance,
    /// The words that were added.
    pub(super) text: String,
}

/// How far a way to write is from the model itself, over the tokens of one continuation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Distance {
    /// Sum of KL(the model itself || this way).
    pub(super) kl: f64,
    /// Sum of what the log-odds rise by.
    pub(super) log_odds: f64,
    /// Tokens.
    pub(super) tokens: usize,
}

/// One continuation of a prompt that names the concept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Naming {
    /// Sum of -ln p of its tokens.
    pub(super) nats: f64,
    pub(super) tokens: usize,
    pub(super) text: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Texts {
    pub(super) neutral: Vec<Text>,
    pub(super) naming: Vec<Naming>,
    pub(super) sample: Option<String>,
    /// Whether distances were measured, and whether tokens were followed for them.
    pub(super) has_kl: bool,
    pub(super) has_log_odds: bool,
}

impl Texts {
    /// The figures of these texts.
    pub(super) fn arm(self) -> Arm {
        let sum = |of: fn(&Text) -> usize| self.neutral.iter().map(of).sum::<usize>();
        let runs = sum(|text| text.runs);
        let distance = |of: fn(&Distance) -> f64| {
            let tokens: usize = self.neutral.iter().map(|text| text.distance.tokens).sum();
            self.neutral.iter().map(|text| of(&text.distance)).sum::<f64>() / tokens.max(1) as f64
        };
        let groups: Vec<Vec<f64>> = self.naming.iter().map(|text| vec![text.nats, text.tokens as f64]).collect();
        let perplexity = |sums: &[f64]| (sums[0] / sums[1]).exp();
        let all = groups.iter().fold(vec![0.0, 0.0], |sum, group| vec![sum[0] + group[0], sum[1] + group[1]]);
        Arm {
            appears: Share::of(self.neutral.iter().map(|text| text.about)),
            names: Share::of(self.neutral.iter().map(|text| text.names)),
            repetition: (runs > 0).then(|| sum(|text| text.repeated) as f64 / runs as f64),
            perplexity: (all[1] > 0.0).then(|| perplexity(&all)),
            perplexity_interval: interval(&groups, 0, perplexity),
            kl: self.has_kl.then(|| distance(|distance| distance.kl)),
            log_odds: self.has_log_odds.then(|| distance(|distance| distance.log_odds)),
            sample: self.sample.clone().unwrap_or_default(),
            texts: self,
        }
    }
}

impl Arm {
    /// The figures of every other continuation, from the first or from the second on: what is chosen on one half can be reported
    /// on the other.
    #[must_use]
    pub fn half(&self, second: bool) -> Arm {
        fn every_other<T: Clone>(all: &[T], second: bool) -> Vec<T> {
            all.iter().skip(usize::from(second)).step_by(2).cloned().collect()
        }
        let (neutral, naming) = (every_other(&self.texts.neutral, second), every_other(&self.texts.naming, second));
        Texts { neutral, naming, ..self.texts.clone() }.arm()
    }

    /// Whether this is still text, beside what the model writes by itself: it neither repeats itself nor surprises the model much
    /// more than its own text does.
    pub fn is_usable_beside(&self, own: &Arm) -> bool {
        self.perplexity_ratio(own).is_none_or(|ratio| ratio <= MAX_PERPLEXITY) && self.repeats_little_beside(own)
    }

    pub(super) fn repeats_little_beside(&self, own: &Arm) -> bool {
        // Where nothing could be repeated, nothing was.
        self.repetition.unwrap_or(0.0) <= MAX_REPETITION * own.repetition.unwrap_or(0.0) + REPEATED
    }

    /// Its perplexity as a multiple of that of the model's own text.
    pub fn perplexity_ratio(&self, own: &Arm) -> Option<f64> {
        Some(self.perplexity? / own.perplexity?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(about: bool, repeated: usize, kl: f64) -> Text {
        let distance = Distance { kl, log_odds: 2.0 * kl, tokens: 2 };
        Text { about, names: false, repeated, runs: 10, distance, text: String::new() }
    }

    #[test]
    fn figures_by_hand_and_by_halves() {
        let neutral = vec![text(true, 2, 1.0), text(false, 0, 3.0), text(true, 4, 0.0)];
        let naming = [(2.0f64, 2), (0.0, 2)].map(|(nats, tokens)| Naming { nats, tokens, text: String::new() });
        let arm = Texts { neutral, naming: naming.to_vec(), sample: None, has_kl: true, has_log_odds: true }.arm();
        assert_eq!(arm.appears, Share { hits: 2, trials: 3 });
        assert!((arm.repetition.expect("long enough") - 0.2).abs() < 1e-12);
        assert!((arm.perplexity.expect("measured") - 0.5f64.exp()).abs() < 1e-12, "2 nats over 4 tokens");
        assert!(
            (arm.kl.expect("measured") - 4.0 / 6.0).abs() < 1e-12
                && (arm.log_odds.expect("measured") - 8.0 / 6.0).abs() < 1e-12
        );
        let (first, second) = (arm.half(false), arm.half(true));
        assert_eq!((first.appears.trials, second.appears), (2, Share { hits: 0, trials: 1 }));
        assert!((first.perplexity.expect("measured") - 1.0f64.exp()).abs() < 1e-12 && second.perplexity == Some(1.0));
    }

    #[test]
    fn what_repeats_or_surprises_is_no_text() {
        let arm = |perplexity: f64, repetition: f64| Arm {
            perplexity: Some(perplexity),
            repetition: Some(repetition),
            ..Texts::default().arm()
        };
        let own = arm(10.0, 0.02);
        assert!(arm(12.9, 0.039).is_usable_beside(&own));
        assert_eq!(Texts::default().arm().repetition, None, "nothing could be repeated");
        assert!(!arm(13.1, 0.0).is_usable_beside(&own) && !arm(10.0, 0.041).is_usable_beside(&own));
    }
}
