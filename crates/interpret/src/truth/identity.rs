//! What does the text alone tell? For every concept the best token and the best set of tokens, without any model.
//!
//! A token is a column that is 1 where it stands. A set of tokens is a threshold on one column per concept,
//!
//! ```text
//! v(token) = (positives(token) + b) / (positives(token) + negatives(token) + 1)
//! ```
//!
//! the share of a token's places among the train tokens at which the concept holds, where each token gets one more place,
//! of the share b that holds on average, so that rare tokens claim little. No model has to know anything for what such a
//! set reaches.

use super::best::{best_of, fill};
use super::corpus::Splits;
use super::detectors::{Dense, Detectors, Features};
use super::labels::{Labels, Mark};
use super::matching::{Choice, Detection, Side, Trial};
use super::report::ConceptReport;
use super::sweep::best_cut;
use super::tokens::Tokens;
use crate::error::InterpretError;
use crate::label::Confusion;
use std::collections::HashMap;
use untangle_sae::Codes;
use untangle_schema::Observer;

/// Fills in for every judged concept the best token and the best set of tokens.
pub(crate) fn identities(
    concepts: &mut [ConceptReport],
    tokens: &Splits<Tokens>,
    observer: &dyn Observer,
) -> Result<(), InterpretError> {
    let ids = tokens.map(Tokens::counted_ids);
    let judged: Vec<bool> = concepts.iter().map(|concept| concept.judged).collect();
    let n_ids = [&ids.validation, &ids.test].into_iter().flatten().max().map_or(0, |most| *most as usize + 1);
    let trial = Trial {
        validation: Side::new(&tokens.validation.labels, columns(&ids.validation, n_ids))?,
        test: Side::new(&tokens.test.labels, columns(&ids.test, n_ids))?,
    };
    let (_, best) = best_of(&trial, &judged, "match tokens", observer)?;
    fill(concepts, best, |concept| &mut concept.token);
    let labels = tokens.map(|tokens| &tokens.labels);
    for concept in (0..judged.len()).filter(|concept| judged[*concept]) {
        concepts[concept].tokens = best_set(labels, &ids, concept)?;
    }
    Ok(())
}

/// A column for every token, which is 1 where it stands.
fn columns(ids: &[u32], n_ids: usize) -> Features {
    let mut codes = Codes::new();
    ids.iter().for_each(|id| codes.push_row([(*id, 1.0)]));
    Features::of_codes(&codes, n_ids)
}

/// The set of tokens that tells a concept best.
fn best_set(
    labels: Splits<&Labels>,
    ids: &Splits<Vec<u32>>,
    concept: usize,
) -> Result<Option<Detection>, InterpretError> {
    let values = Values::of(&labels.train.marks(concept), &ids.train);
    let validation = values.over(&ids.validation);
    let none = Confusion { named: 0, fires: labels.validation.positives(concept), both: 0 };
    let (marks, mut scratch) = (labels.validation.marks(concept), Vec::new());
    let cut = best_cut(validation.ranked(0, &mut scratch), validation.floor(), &marks, none, 0.0);
    let side = Side::new(labels.test, values.over(&ids.test))?;
    Ok(cut.map(|cut| side.detection(&[Choice { detector: 0, cut }], concept)))
}

/// What every token tells of a concept.
struct Values {
    by_id: HashMap<u32, f32>,
    /// That of a token that no train text has.
    unknown: f32,
}

impl Values {
    fn of(marks: &[Mark], ids: &[u32]) -> Self {
        let mut counts: HashMap<u32, (f64, f64)> = HashMap::new();
        let (mut positives, mut all) = (0.0, 0.0);
        for (id, mark) in ids.iter().zip(marks).filter(|(_, mark)| **mark != Mark::Ignored) {
            let holds = f64::from(u8::from(*mark == Mark::Positive));
            let count = counts.entry(*id).or_default();
            *count = (count.0 + holds, count.1 + 1.0);
            (positives, all) = (positives + holds, all + 1.0);
        }
        let share = if all > 0.0 { positives / all } else { 0.0 };
        let value = |(holds, n): (f64, f64)| ((holds + share) / (n + 1.0)) as f32;
        let by_id = counts.into_iter().map(|(id, count)| (id, value(count))).collect();
        Self { by_id, unknown: share as f32 }
    }

    fn over(&self, ids: &[u32]) -> Dense {
        let value = |id| self.by_id.get(id).copied().unwrap_or(self.unknown);
        Dense::upper_ends(ids.iter().map(value).collect(), ids.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::labels::Label;

    /// Labels of one concept over these tokens, which holds on those of which it is said; none where it is undecided.
    fn labels(holds: &[Option<bool>]) -> Labels {
        let mut labels = Labels::new(1);
        for holds in holds {
            let decided = holds.is_some();
            labels.push((*holds != Some(false)).then_some(Label { concept: 0, decided }));
        }
        labels
    }

    #[test]
    fn values_are_shares_with_one_place_of_the_average() {
        use Mark::{Ignored, Negative, Positive};
        let values = Values::of(&[Positive, Positive, Negative, Negative, Ignored], &[7, 7, 7, 3, 3]);
        // Half of all hold. Token 7: (2 + 0.5) / 4, token 3: (0 + 0.5) / 2.
        let found: Vec<(f32, u32)> =
            values.over(&[7, 3, 9]).ranked(0, &mut Vec::new()).iter().map(|e| (e.value, e.row)).collect();
        assert_eq!(found, [(0.625, 0), (0.5, 2), (0.25, 1)]);
    }

    #[test]
    fn sets_tell_what_no_token_tells() {
        // Tokens 1 and 2 each stand for the concept on half of its places, token 3 never does.
        let holds = [Some(true), Some(true), Some(false), Some(false), Some(true), Some(true)];
        let ids = [1, 2, 3, 3, 1, 2];
        let labels = labels(&holds);
        let ids = Splits { train: ids.to_vec(), validation: ids.to_vec(), test: ids.to_vec() };
        let of = Splits { train: &labels, validation: &labels, test: &labels };
        let set = best_set(of, &ids, 0).expect("labels fit").expect("there is a set");
        assert_eq!((set.f1, set.named, set.both), (1.0, 4, 4));
        let side = Side::new(&labels, columns(&ids.test, 4)).expect("labels fit");
        let only = best_cut(side.detectors.ranked(1, &mut Vec::new()), 0.0, &labels.marks(0), none(4), 0.0);
        assert!((only.expect("token 1 tells something").f1 - 2.0 * 2.0 / (2.0 + 4.0)).abs() < 1e-12);
    }

    fn none(fires: u64) -> Confusion {
        Confusion { named: 0, fires, both: 0 }
    }
}
