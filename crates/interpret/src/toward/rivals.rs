//! Which features compete with a topic: what does a model hold by itself that it does not hold while it writes about the topic?
//!
//! A feature is a rival where its mean activation over the model's own continuations is at least [`LEAST`] of its largest one there,
//! and over steered continuations, read without steering, at most a quarter of that. A mood or a narrator lasts through both
//! and is none; another topic is.

use super::trials::Trials;
use crate::error::InterpretError;
use crate::read::Reader;
use crate::steer::Step;
use std::collections::BTreeMap;

/// Of its largest activation there, the least mean over all tokens of the model's own texts: rarer features hold nothing.
const LEAST: f32 = 0.01;
/// What may be left of its mean.
const LEFT: f32 = 0.25;
/// Rivals at most, those with the largest mean first.
const MOST: usize = 32;
/// Texts that are read of either kind.
const TEXTS: usize = 32;

/// What texts say of a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Held {
    sum: f32,
    largest: f32,
}

/// The features that compete with what `steps` do, those that the model holds most first.
pub(super) fn rivals(trials: &Trials<'_>, steps: &[Step]) -> Result<Vec<usize>, InterpretError> {
    let own = held(trials, &trials.written(&[], TEXTS)?)?;
    let steered = held(trials, &trials.written(steps, TEXTS)?)?;
    Ok(compare(&own, &steered))
}

/// Sums over the tokens of texts, and their number.
fn held(trials: &Trials<'_>, texts: &[Vec<u32>]) -> Result<(BTreeMap<usize, Held>, usize), InterpretError> {
    let reader = Reader::new(trials.model, trials.sae)?;
    let (mut found, mut n) = (BTreeMap::<usize, Held>::new(), 0);
    for text in texts.iter().filter(|text| !text.is_empty()) {
        for token in reader.read(text)?.tokens.iter().filter(|token| !token.special) {
            n += 1;
            for firing in &token.features {
                let held = found.entry(firing.feature).or_default();
                held.sum += firing.activation;
                held.largest = held.largest.max(firing.activation);
            }
        }
    }
    Ok((found, n))
}

fn compare(own: &(BTreeMap<usize, Held>, usize), steered: &(BTreeMap<usize, Held>, usize)) -> Vec<usize> {
    let mean = |of: &(BTreeMap<usize, Held>, usize), feature: usize| {
        of.0.get(&feature).map_or(0.0, |held| held.sum / of.1.max(1) as f32)
    };
    let counts = |(feature, held): (&usize, &Held)| {
        let own = mean(own, *feature);
        (own >= LEAST * held.largest && mean(steered, *feature) <= LEFT * own).then_some((*feature, own))
    };
    let mut found: Vec<(usize, f32)> = own.0.iter().filter_map(counts).collect();
    found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    found.into_iter().map(|(feature, _)| feature).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_by_itself_and_not_when_steered_is_a_rival() {
        let of = |held: &[(usize, f32, f32)]| {
            let found = held.iter().map(|(feature, sum, largest)| (*feature, Held { sum: *sum, largest: *largest }));
            (found.collect::<BTreeMap<_, _>>(), 10)
        };
        // Means of 1, 2, 0.005 and 3; steered 0.25, 0.6, 0 and none.
        let own = of(&[(1, 10.0, 5.0), (2, 20.0, 5.0), (3, 0.05, 5.0), (4, 30.0, 5.0)]);
        let steered = of(&[(1, 2.5, 5.0), (2, 6.0, 5.0)]);
        assert_eq!(compare(&own, &steered), [4, 1], "2 lasts, 3 is rare");
    }
}
