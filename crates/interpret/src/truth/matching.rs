//! For every concept the detector that matches it best, and for every detector the concept.
//!
//! Detector and threshold are chosen on validation tokens and reported on test tokens. The other way round, a column
//! matches a concept if the threshold that is best for the two on validation tokens holds on test tokens.

use super::auroc::auroc;
use super::detectors::{Detectors, Entry};
use super::labels::{Labels, Mark};
use super::sweep::{Cut, Sweep, named};
use crate::error::InterpretError;
use crate::label::Confusion;
use crate::progress::Progress;
use serde::Serialize;

/// Detectors over the tokens of a split.
#[derive(Debug)]
pub struct Side<'a, D> {
    pub(crate) labels: &'a Labels,
    pub(crate) detectors: D,
}

impl<'a, D: Detectors> Side<'a, D> {
    /// Detectors over the tokens that `labels` describe.
    ///
    /// # Errors
    /// They are not over as many tokens.
    pub fn new(labels: &'a Labels, detectors: D) -> Result<Self, InterpretError> {
        let (labelled, found) = (labels.rows(), detectors.rows());
        if labelled != found {
            return Err(InterpretError::TokensDiffer { labelled, found });
        }
        Ok(Self { labels, detectors })
    }
}

/// The two sides of a choice.
#[derive(Debug)]
pub struct Trial<'a, D> {
    /// Where it is made.
    pub validation: Side<'a, D>,
    /// Where it is reported.
    pub test: Side<'a, D>,
}

/// A detector with a threshold, and what it reaches on validation tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The detector.
    pub detector: usize,
    /// Its threshold.
    pub cut: Cut,
}

/// What a detector stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meaning {
    /// Number of the concept.
    pub concept: usize,
    /// F1 on test tokens.
    pub f1: f64,
}

/// Who matches whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    /// By concept, the detector that matches it best on validation tokens, the lowest of equals; none where no detector
    /// names a positive.
    pub choices: Vec<Option<Choice>>,
    /// By detector, the concept that it matches best on test tokens; none where it names no positive of any.
    pub meanings: Vec<Option<Meaning>>,
}

/// Matches every detector with every concept of which `judged` says that it counts.
///
/// # Errors
/// The user asks to stop.
pub fn match_concepts<D: Detectors>(
    trial: &Trial<'_, D>,
    judged: &[bool],
    progress: &mut Progress<'_>,
) -> Result<Matching, InterpretError> {
    let Trial { validation, test } = trial;
    let n = trial.validation.detectors.count();
    let mut matching = Matching { choices: vec![None; judged.len()], meanings: Vec::with_capacity(n) };
    let (mut sweep, mut scratch, mut tally) = (Sweep::default(), Vec::new(), Tally::default());
    for detector in 0..n {
        let entries = validation.detectors.ranked(detector, &mut scratch);
        let cuts = sweep.best_cuts(entries, validation.detectors.floor(), validation.labels);
        for ((choice, cut), _) in matching.choices.iter_mut().zip(cuts).zip(judged).filter(|(_, judged)| **judged) {
            if cut.f1 > choice.map_or(0.0, |choice| choice.cut.f1) {
                *choice = Some(Choice { detector, cut: *cut });
            }
        }
        let entries = test.detectors.ranked(detector, &mut scratch);
        matching.meanings.push(tally.meaning(entries, cuts, test.labels, judged));
        progress.advance(1)?;
    }
    Ok(matching)
}

/// Counts of one detector against all concepts.
#[derive(Default)]
struct Tally {
    both: Vec<u64>,
    ignored: Vec<u64>,
}

impl Tally {
    /// The concept that a detector matches best, cut for each concept as `cuts` say.
    fn meaning(&mut self, entries: &[Entry], cuts: &[Cut], labels: &Labels, judged: &[bool]) -> Option<Meaning> {
        for counts in [&mut self.both, &mut self.ignored] {
            counts.clear();
            counts.resize(cuts.len(), 0);
        }
        for entry in entries {
            for label in labels.row(entry.row as usize) {
                let concept = usize::from(label.concept);
                let counts = if label.decided { &mut self.both } else { &mut self.ignored };
                counts[concept] += u64::from(entry.value > cuts[concept].threshold);
            }
        }
        let mut best: Option<Meaning> = None;
        for concept in (0..cuts.len()).filter(|concept| judged[*concept] && self.both[*concept] > 0) {
            let named = named(entries, cuts[concept].threshold).len() as u64 - self.ignored[concept];
            let f1 = Confusion { named, fires: labels.positives(concept), both: self.both[concept] }.f1();
            if f1 > best.map_or(0.0, |best| best.f1) {
                best = Some(Meaning { concept, f1 });
            }
        }
        best
    }
}

/// A column and its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ThresholdedColumn {
    /// Number of the column: the feature, neuron or direction; of a probe, that of the concept.
    pub column: usize,
    /// Whether the column is taken negatively.
    pub negative: bool,
    /// Tokens are named on which the column (or its negative) is above this.
    pub threshold: f32,
}

/// How well something tells a concept: chosen on validation tokens, measured on test tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// What names a token: any of these.
    pub parts: Vec<ThresholdedColumn>,
    /// F1 on validation tokens, where it was chosen.
    pub validation_f1: f64,
    /// Of the tokens that are named, the fraction on which the concept holds.
    pub precision: f64,
    /// Of the tokens on which the concept holds, the fraction that is named.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Area under the ROC curve, without a threshold; none for several columns together.
    pub auroc: Option<f64>,
    /// Tokens that are named.
    pub named: u64,
    /// Tokens that are named and on which the concept holds.
    pub both: u64,
}

impl<D: Detectors> Side<'_, D> {
    /// How well these together tell `concept` here. The last one's F1 is that of all on validation tokens.
    pub fn detection(&self, choices: &[Choice], concept: usize) -> Detection {
        let (mut marks, mut scratch) = (self.labels.marks(concept), Vec::new());
        let area = match choices {
            [only] => auroc(self.detectors.ranked(only.detector, &mut scratch), &marks),
            _ => None,
        };
        let mut confusion = Confusion { named: 0, fires: self.labels.positives(concept), both: 0 };
        for choice in choices {
            let entries = self.detectors.ranked(choice.detector, &mut scratch);
            cover(named(entries, choice.cut.threshold), &mut marks, &mut confusion);
        }
        let part = |choice: &Choice| {
            let (column, negative) = self.detectors.column(choice.detector);
            ThresholdedColumn { column, negative, threshold: choice.cut.threshold }
        };
        Detection {
            parts: choices.iter().map(part).collect(),
            validation_f1: choices.last().map_or(0.0, |choice| choice.cut.f1),
            precision: confusion.precision(),
            recall: confusion.recall(),
            f1: confusion.f1(),
            auroc: area,
            named: confusion.named,
            both: confusion.both,
        }
    }
}

/// Counts the tokens of `named` that were not named before, and takes them out of what can be named.
pub(crate) fn cover(named: &[Entry], marks: &mut [Mark], confusion: &mut Confusion) {
    for entry in named {
        let mark = std::mem::replace(&mut marks[entry.row as usize], Mark::Ignored);
        confusion.named += u64::from(mark != Mark::Ignored);
        confusion.both += u64::from(mark == Mark::Positive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::detectors::Features;
    use crate::truth::labels::Label;
    use untangle_sae::Codes;
    use untangle_schema::{Silent, Unit};

    /// Concept 0 holds on tokens 0 and 1 and is undecided on 2, concept 1 holds on 4; 3 and 5 have none.
    fn labels() -> Labels {
        let mut labels = Labels::new(2);
        for (concept, decided) in [(0, true), (0, true), (0, false), (9, true), (1, true), (9, true)] {
            labels.push((concept < 2).then_some(Label { concept, decided }));
        }
        labels
    }

    fn features(rows: [&[(u32, f32)]; 6]) -> Features {
        let mut codes = Codes::new();
        rows.iter().for_each(|row| codes.push_row(row.iter().copied()));
        Features::of_codes(&codes, 3)
    }

    #[test]
    fn what_validation_chooses_is_measured_on_test_by_hand() {
        let labels = labels();
        let chosen_on = features([&[(0, 3.0)], &[(0, 2.0)], &[(0, 2.5)], &[(0, 1.0)], &[(2, 1.0)], &[]]);
        let told_on =
            features([&[(0, 3.0), (1, 1.0)], &[(0, 1.2), (1, 1.0)], &[(0, 9.0)], &[(0, 1.8)], &[(2, 1.0)], &[]]);
        let side = |features| Side::new(&labels, features).expect("as many tokens");
        let trial = Trial { validation: side(chosen_on), test: side(told_on) };
        let mut progress = Progress::start(&Silent, "match", Unit::Steps, 3);
        let found = match_concepts(&trial, &[true, false], &mut progress).expect("matches");
        let choice = Choice { detector: 0, cut: Cut { threshold: 1.5, f1: 1.0 } };
        assert_eq!(found.choices, [Some(choice), None], "the second concept is not judged");
        // Above 1.5 on test: 0 and 3 count, 2 does not. 2 * 1 / (2 + 2).
        assert_eq!(found.meanings, [Some(Meaning { concept: 0, f1: 0.5 }), None, None]);
        let alone = trial.test.detection(&[choice], 0);
        assert_eq!((alone.named, alone.both, alone.precision, alone.recall, alone.f1), (2, 1, 0.5, 0.5, 0.5));
        // 3 is above the negatives 1.8, 0 and 0, 1.2 above two of them.
        assert_eq!((alone.validation_f1, alone.auroc), (1.0, Some(5.0 / 6.0)));
        assert_eq!(alone.parts, [ThresholdedColumn { column: 0, negative: false, threshold: 1.5 }]);
        // Feature 1 names 0 again and 1 for the first time.
        let more = Choice { detector: 1, cut: Cut { threshold: 0.0, f1: 0.9 } };
        let together = trial.test.detection(&[choice, more], 0);
        assert_eq!((together.named, together.both, together.f1, together.validation_f1), (3, 2, 0.8, 0.9));
    }
}
