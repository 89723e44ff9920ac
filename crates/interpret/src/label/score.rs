//! How well rules hold on rows that the labeller never saw.
//!
//! `precision = both / named`, `recall = both / fires`, `F1 = 2 both / (named + fires)`: `named` rows that the rule
//! names, `fires` rows on which the feature fires, `both` rows of both. All in 0..1, higher is better.
//!
//! - floor: F1 of the rule that names every row, `2 density / (1 + density)`
//! - control: mean F1 over rules of other features, drawn with a seed: what a label reaches that belongs elsewhere
//!
//! Precision and recall are of tokens. A label is of use where text that it describes has the feature fire, if not on every
//! token: *sensitivity* (arXiv 2509.23717), here over held-out text, which neither labeller nor dictionary has seen, in stretches of
//! at most [`STRETCH`] tokens of one document:
//!
//! `sensitivity = clear tokens in stretches in which the feature fires / clear tokens`
//!
//! Clear tokens are those that the rule names; of rules about passages, those in the clearer half of them ([`super::passage`]).
//!
//! - floor: the share of all tokens that stand in such stretches
//! - control: the same of the clear tokens of other features' rules
//!
//! Its interval takes stretches, not tokens, for what is independent.

use super::confusion::Confusion;
use super::facts::{Class, Facts, Kind};
use super::labeller::{SOURCE, Scorer};
use super::propose::Proposal;
use super::rule::Rule;
use crate::error::InterpretError;
use crate::hash::Numbers;
use std::collections::BTreeMap;
use std::collections::{HashMap, HashSet};
use untangle_schema::label::{F1, SENSITIVITY};
use untangle_schema::{FeatureCard, Label, Score, Share};

/// Rules of other features that each label is compared with.
const CONTROLS: usize = 4;

/// Tokens of a stretch of text (chosen: about as many as an example shows).
pub const STRETCH: usize = 32;

/// What is counted for one label.
#[derive(Clone, Debug, Default)]
struct Tally {
    both: u64,
    mass_named: f64,
    /// Firings on rows that the control rules name.
    controls: [u64; CONTROLS],
    /// Clear rows, stretches that have some, and clear rows in those in which the feature fires.
    clear: u64,
    stretches: u64,
    clear_where_it_fires: u64,
    /// Rows in stretches in which the feature fires, and those of them that are clear by the control rules.
    rows_where_it_fires: u64,
    control_where_it_fires: [u64; CONTROLS],
}

/// The stretch of text that is being read.
#[derive(Clone, Debug, Default)]
struct Stretch {
    document: Option<u32>,
    rows: u64,
    /// By feature, clear rows by its rule, and whether it fires.
    clear: HashMap<usize, u64>,
    fires: HashSet<usize>,
}

/// Scores the proposals of all features in one pass.
#[derive(Debug)]
pub struct RuleScorer<'a> {
    proposals: &'a [Option<Proposal>],
    index: Index,
    controls: Vec<[Option<usize>; CONTROLS]>,
    rows: u64,
    fires: Vec<u64>,
    mass: Vec<f64>,
    named: Vec<u64>,
    tallies: Vec<Tally>,
    stretch: Stretch,
}

impl<'a> RuleScorer<'a> {
    /// Scores `proposals[feature]`; `seed` draws the controls.
    pub fn new(proposals: &'a [Option<Proposal>], seed: u64) -> Self {
        let n = proposals.len();
        Self {
            index: Index::new(proposals),
            controls: draw_controls(proposals, seed),
            proposals,
            rows: 0,
            fires: vec![0; n],
            mass: vec![0.0; n],
            named: vec![0; n],
            tallies: vec![Tally::default(); n],
            stretch: Stretch::default(),
        }
    }

    /// Counts one row of a document with the features that fire on it. Documents come one after another.
    pub fn add(&mut self, document: u32, facts: &Facts, features: &[u32], activations: &[f32]) {
        self.rows += 1;
        let stretch = &self.stretch;
        if stretch.document != Some(document) || stretch.rows == STRETCH as u64 {
            self.end_stretch();
            self.stretch.document = Some(document);
        }
        self.stretch.rows += 1;
        self.stretch.fires.extend(features.iter().map(|feature| *feature as usize));
        let (named, of_stretch) = (&mut self.named, &mut self.stretch.clear);
        self.index.visit(facts, |feature, is_clear| {
            named[feature] += 1;
            if is_clear {
                *of_stretch.entry(feature).or_default() += 1;
            }
        });
        for (&feature, &activation) in features.iter().zip(activations) {
            let feature = feature as usize;
            self.fires[feature] += 1;
            self.mass[feature] += f64::from(activation);
            let Some(proposal) = &self.proposals[feature] else { continue };
            let tally = &mut self.tallies[feature];
            if proposal.rule.names(facts) {
                tally.both += 1;
                tally.mass_named += f64::from(activation);
            }
            for (at, control) in self.controls[feature].iter().enumerate() {
                let rule = control.and_then(|other| self.proposals[other].as_ref());
                if rule.is_some_and(|other| other.rule.names(facts)) {
                    tally.controls[at] += 1;
                }
            }
        }
    }

    /// Counts what the stretch that was read says, and begins another.
    fn end_stretch(&mut self) {
        let Stretch { rows, clear, fires, .. } = &mut self.stretch;
        for (feature, n) in clear.iter() {
            let tally = &mut self.tallies[*feature];
            tally.clear += n;
            tally.stretches += 1;
            tally.clear_where_it_fires += if fires.contains(feature) { *n } else { 0 };
        }
        for feature in fires.drain() {
            let tally = &mut self.tallies[feature];
            tally.rows_where_it_fires += *rows;
            for (hits, control) in tally.control_where_it_fires.iter_mut().zip(&self.controls[feature]) {
                *hits += control.and_then(|other| clear.get(&other)).copied().unwrap_or(0);
            }
        }
        clear.clear();
        *rows = 0;
    }

    /// Says that all rows were added.
    pub fn finish(&mut self) {
        self.end_stretch();
    }

    /// Rows seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows seen on which a feature fires.
    pub fn firings(&self, feature: usize) -> u64 {
        self.fires[feature]
    }

    /// F1 of the feature's rule; none of other labels than rules, and none without rows.
    fn f1(&self, feature: usize, label: &Label) -> Option<Score> {
        if self.rows == 0 || label.source != SOURCE || self.proposals[feature].is_none() {
            return None;
        }
        let (tally, fires) = (&self.tallies[feature], self.fires[feature]);
        let confusion = Confusion { named: self.named[feature], fires, both: tally.both };
        let mass_recall = if self.mass[feature] > 0.0 { tally.mass_named / self.mass[feature] } else { 0.0 };
        let detail = [
            ("precision", confusion.precision()),
            ("recall", confusion.recall()),
            ("mass_recall", mass_recall),
            ("firings", fires as f64),
        ];
        let control = |other: usize, at: usize| {
            Some(Confusion { named: self.named[other], fires, both: tally.controls[at] }.f1())
        };
        Some(Score {
            judge: None,
            scorer: F1.to_owned(),
            value: confusion.f1(),
            interval: None,
            floor: Some(Confusion { named: self.rows, fires, both: fires }.f1()),
            control: Some(self.over_controls(feature, control).unwrap_or(0.0)),
            n: self.rows,
            detail: BTreeMap::from(detail.map(|(name, value)| (name.to_owned(), value))),
        })
    }

    /// Sensitivity of the feature's rule; none of other labels than rules, and none of a rule for which nothing is clear.
    fn sensitivity(&self, feature: usize, label: &Label) -> Option<Score> {
        if label.source != SOURCE || self.proposals[feature].is_none() {
            return None;
        }
        let tally = &self.tallies[feature];
        let part = |hits: u64, of: u64| (of > 0).then(|| hits as f64 / of as f64);
        let control = |other: usize, at: usize| part(tally.control_where_it_fires[at], self.tallies[other].clear);
        let value = part(tally.clear_where_it_fires, tally.clear)?;
        let hits = (value * tally.stretches as f64).round() as u64;
        Some(Score {
            judge: None,
            scorer: SENSITIVITY.to_owned(),
            value,
            interval: Some(Share { hits, trials: tally.stretches }.interval()),
            floor: part(tally.rows_where_it_fires, self.rows),
            control: self.over_controls(feature, control),
            n: tally.stretches,
            detail: BTreeMap::from([("tokens".to_owned(), tally.clear as f64)]),
        })
    }

    /// The mean of what is measured with each control rule: of which feature it is, and the how manieth.
    fn over_controls(&self, feature: usize, measure: impl Fn(usize, usize) -> Option<f64>) -> Option<f64> {
        let drawn = self.controls[feature].iter().enumerate();
        let all: Vec<f64> = drawn.filter_map(|(at, other)| measure((*other)?, at)).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }
}

/// F1 of rules, over the rows that were added.
#[derive(Debug)]
pub struct ByF1<'a>(pub &'a RuleScorer<'a>);

impl Scorer for ByF1<'_> {
    fn name(&self) -> &str {
        F1
    }

    fn score(&mut self, card: &FeatureCard, label: &Label) -> Result<Option<Score>, InterpretError> {
        Ok(self.0.f1(card.feature, label))
    }
}

/// Sensitivity of rules, over the stretches that were added.
#[derive(Debug)]
pub struct BySensitivity<'a>(pub &'a RuleScorer<'a>);

impl Scorer for BySensitivity<'_> {
    fn name(&self) -> &str {
        SENSITIVITY
    }

    fn score(&mut self, card: &FeatureCard, label: &Label) -> Result<Option<Score>, InterpretError> {
        Ok(self.0.sensitivity(card.feature, label))
    }
}

/// For every feature, features whose rules differ from its own.
fn draw_controls(proposals: &[Option<Proposal>], seed: u64) -> Vec<[Option<usize>; CONTROLS]> {
    let labelled: Vec<usize> = (0..proposals.len()).filter(|f| proposals[*f].is_some()).collect();
    let mut numbers = Numbers::new(seed);
    let mut draw = |own: &Proposal| {
        // A few tries find another rule wherever there is one; a run whose labels are all alike has no control.
        let mut tries = std::iter::repeat_with(|| labelled[numbers.below(labelled.len())]).take(16);
        tries.find(|other| proposals[*other].as_ref().is_some_and(|p| p.rule != own.rule))
    };
    proposals
        .iter()
        .map(|own| match own {
            Some(own) => std::array::from_fn(|_| draw(own)),
            None => [None; CONTROLS],
        })
        .collect()
}

/// Finds the rules that name a row without trying each.
#[derive(Debug, Default)]
struct Index {
    keys: [HashMap<u64, Vec<usize>>; Kind::ALL.len()],
    classes: [Vec<usize>; Class::ALL.len()],
    /// Of each word, the features whose passages it is of, with its value.
    words: HashMap<u64, Vec<(usize, u32)>>,
    /// Of each feature, the sum that names a row, and the one that is clear; none for rules of other kinds.
    thresholds: Vec<Option<[u32; 2]>>,
    /// Memory of a visit: the sums so far, and the features that have one.
    sums: Vec<u32>,
    touched: Vec<usize>,
}

impl Index {
    fn new(proposals: &[Option<Proposal>]) -> Self {
        let n = proposals.len();
        let mut index = Self { thresholds: vec![None; n], sums: vec![0; n], ..Self::default() };
        for (feature, proposal) in proposals.iter().enumerate() {
            match proposal.as_ref().map(|p| &p.rule) {
                Some(Rule::Class(class)) => index.classes[*class as usize].push(feature),
                Some(Rule::Keys { kind, keys }) => {
                    for key in keys {
                        index.keys[*kind as usize].entry(*key).or_default().push(feature);
                    }
                }
                Some(Rule::Passage(passage)) => {
                    index.thresholds[feature] = Some([passage.threshold, passage.clear]);
                    for (word, value) in &passage.words {
                        index.words.entry(*word).or_default().push((feature, *value));
                    }
                }
                None => {}
            }
        }
        index
    }

    /// Calls `found` once per feature whose rule names the row, with whether it is a clear one: keys of a kind exclude one another, and rules with
    /// context words have one key.
    fn visit(&mut self, facts: &Facts, mut found: impl FnMut(usize, bool)) {
        for (kind, by_key) in Kind::ALL.into_iter().zip(&self.keys) {
            let single = if kind == Kind::ContextWord { None } else { facts.key(kind, 0) };
            let several = if kind == Kind::ContextWord { facts.context() } else { &[] };
            for key in single.iter().chain(several) {
                by_key.get(key).into_iter().flatten().for_each(|feature| found(*feature, true));
            }
        }
        for (class, features) in Class::ALL.into_iter().zip(&self.classes) {
            if facts.is(class) {
                features.iter().for_each(|feature| found(*feature, true));
            }
        }
        self.visit_passages(facts, found);
    }

    fn visit_passages(&mut self, facts: &Facts, mut found: impl FnMut(usize, bool)) {
        for (feature, value) in facts.context().iter().filter_map(|word| self.words.get(word)).flatten() {
            if self.sums[*feature] == 0 {
                self.touched.push(*feature);
            }
            self.sums[*feature] += value;
        }
        for feature in self.touched.drain(..) {
            let sum = std::mem::take(&mut self.sums[feature]);
            match self.thresholds[feature] {
                Some([named, clear]) if sum >= named => found(feature, sum >= clear),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::passage::Passage;
    use untangle_schema::LabelKind;

    /// A rule about passages with these words, of which one names a row and two are clear.
    fn passages(words: &[u64]) -> Option<Proposal> {
        let words = words.iter().map(|word| (*word, 1000)).collect();
        let rule = Rule::Passage(Passage { words, threshold: 1000, clear: 2000 });
        Some(Proposal { rule, text: String::new(), seen_f1: 1.0 })
    }

    #[test]
    fn sensitivity_by_hand() {
        let proposals = [passages(&[100, 101]), passages(&[200, 201])];
        let mut scorer = RuleScorer::new(&proposals, 0);
        let mut read = |document, words: &[u64], fires: bool| {
            let features: &[u32] = if fires { &[0] } else { &[] };
            scorer.add(document, &Facts::of_context(words.to_vec()), features, &[1.0][..features.len()]);
        };
        // One document of a stretch: a clear row, one that is named only, one that is clear by the other rule, a firing.
        read(0, &[100, 101, 7], false);
        read(0, &[101], false);
        read(0, &[200, 201], false);
        read(0, &[7], true);
        // Another of two stretches, in the second of which the feature fires.
        read(1, &[100, 101], false);
        read(1, &[201, 200], false);
        (2..STRETCH).for_each(|_| read(1, &[], false));
        read(1, &[101, 100], false);
        read(1, &[], true);
        scorer.finish();
        let label =
            Label { kind: LabelKind::Input, source: SOURCE.to_owned(), text: String::new(), scores: Vec::new() };
        let score = scorer.sensitivity(0, &label).expect("clear rows");
        assert_eq!((score.value, score.n, score.detail["tokens"]), (2.0 / 3.0, 3, 3.0));
        assert_eq!(score.floor, Some(6.0 / (4 + STRETCH + 2) as f64));
        assert_eq!(score.control, Some(0.5), "of the two rows that are clear by the other rule, one");
        let f1 = scorer.f1(0, &label).expect("rows");
        assert_eq!((f1.detail["precision"], f1.detail["recall"]), (0.0, 0.0), "it fires on no row that is named");
        assert_eq!(scorer.named[0], 4);
        assert!(scorer.sensitivity(1, &label).expect("clear rows").value == 0.0);
        let of_another = Label { source: "somebody".to_owned(), ..label };
        assert_eq!(scorer.sensitivity(0, &of_another), None);
    }
}
