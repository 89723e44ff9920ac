//! How well rules hold on rows that the labeller never saw.
//!
//! `precision = both / named`, `recall = both / fires`, `F1 = 2 both / (named + fires)`: `named` rows that the rule
//! names, `fires` rows on which the feature fires, `both` rows of both. All in 0..1, higher is better.
//!
//! - floor: F1 of the rule that names every row, `2 density / (1 + density)`
//! - control: mean F1 over rules of other features, drawn with a seed: what a label reaches that belongs elsewhere
//!
//! Precision and recall are of tokens. A label is believed as a whole if a text that it describes has the feature fire, wherever in the
//! described stretch: *sensitivity* (Tian et al. 2025, arXiv 2509.23717), here over the held-out documents, which are texts that
//! neither labeller nor dictionary has seen:
//!
//! `sensitivity = documents with a row that the rule names and on which the feature fires / documents with a row that the rule names`
//!
//! - floor: the share of all documents with a row on which the feature fires
//! - control: the same of the documents that rules of other features name

use super::confusion::Confusion;
use super::facts::{Class, Facts, Kind};
use super::labeller::{SOURCE, Scorer};
use super::propose::Proposal;
use super::rule::Rule;
use crate::error::InterpretError;
use crate::hash::Numbers;
use std::collections::BTreeMap;
use std::collections::HashMap;
use untangle_schema::label::{F1, SENSITIVITY};
use untangle_schema::{FeatureCard, Label, Score, Share};

/// Rules of other features that each label is compared with.
const CONTROLS: usize = 4;

/// What is counted for one label.
#[derive(Clone, Debug, Default)]
struct Tally {
    both: u64,
    mass_named: f64,
    /// Firings on rows that the control rules name.
    controls: [u64; CONTROLS],
    /// Documents with such rows, of the own rule and of the control rules.
    documents: Documents,
    control_documents: [Documents; CONTROLS],
}

/// A number of documents, which come one after another.
#[derive(Clone, Copy, Debug, Default)]
struct Documents {
    n: u64,
    /// The number of the last that was counted, from 1 on.
    last: u64,
}

impl Documents {
    /// Counts the document, once.
    fn add(&mut self, document: u64) {
        if self.last != document {
            *self = Documents { n: self.n + 1, last: document };
        }
    }
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
    /// Documents seen, with what the last of them is called.
    documents: u64,
    document: Option<u32>,
    /// Of each feature, documents with a row that its rule names, and with one on which it fires.
    documents_named: Vec<Documents>,
    documents_fired: Vec<Documents>,
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
            documents: 0,
            document: None,
            documents_named: vec![Documents::default(); n],
            documents_fired: vec![Documents::default(); n],
        }
    }

    /// Counts one row of a document with the features that fire on it. Documents come one after another.
    pub fn add(&mut self, document: u32, facts: &Facts, features: &[u32], activations: &[f32]) {
        self.rows += 1;
        if self.document.replace(document) != Some(document) {
            self.documents += 1;
        }
        let document = self.documents;
        self.index.visit(facts, |feature| {
            self.named[feature] += 1;
            self.documents_named[feature].add(document);
        });
        for (&feature, &activation) in features.iter().zip(activations) {
            let feature = feature as usize;
            self.fires[feature] += 1;
            self.mass[feature] += f64::from(activation);
            self.documents_fired[feature].add(document);
            let Some(proposal) = &self.proposals[feature] else { continue };
            let tally = &mut self.tallies[feature];
            if proposal.rule.names(facts) {
                tally.both += 1;
                tally.mass_named += f64::from(activation);
                tally.documents.add(document);
            }
            for (at, control) in self.controls[feature].iter().enumerate() {
                let rule = control.and_then(|other| self.proposals[other].as_ref());
                if rule.is_some_and(|other| other.rule.names(facts)) {
                    tally.controls[at] += 1;
                    tally.control_documents[at].add(document);
                }
            }
        }
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
            scorer: F1.to_owned(),
            value: confusion.f1(),
            interval: None,
            floor: Some(Confusion { named: self.rows, fires, both: fires }.f1()),
            control: Some(self.over_controls(feature, control).unwrap_or(0.0)),
            n: self.rows,
            detail: BTreeMap::from(detail.map(|(name, value)| (name.to_owned(), value))),
        })
    }

    /// Sensitivity of the feature's rule; none of other labels than rules, and none of a rule that names nothing.
    fn sensitivity(&self, feature: usize, label: &Label) -> Option<Score> {
        if label.source != SOURCE || self.proposals[feature].is_none() {
            return None;
        }
        let tally = &self.tallies[feature];
        let share = |hits: Documents, trials: u64| Share { hits: hits.n, trials };
        let own = share(tally.documents, self.documents_named[feature].n);
        let control = |other: usize, at: usize| {
            let trials = self.documents_named[other].n;
            (trials > 0).then(|| share(tally.control_documents[at], trials).value())
        };
        (own.trials > 0).then(|| Score {
            scorer: SENSITIVITY.to_owned(),
            value: own.value(),
            interval: Some(own.interval()),
            floor: Some(share(self.documents_fired[feature], self.documents).value()),
            control: self.over_controls(feature, control),
            n: own.trials,
            detail: BTreeMap::new(),
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

/// Sensitivity of rules, over the documents whose rows were added.
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
    /// Of each feature, the sum that names a row; none for rules of other kinds.
    thresholds: Vec<Option<u32>>,
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
                    index.thresholds[feature] = Some(passage.threshold);
                    for (word, value) in &passage.words {
                        index.words.entry(*word).or_default().push((feature, *value));
                    }
                }
                None => {}
            }
        }
        index
    }

    /// Calls `found` once per feature whose rule names the row: keys of a kind exclude one another, and rules with
    /// context words have one key.
    fn visit(&mut self, facts: &Facts, mut found: impl FnMut(usize)) {
        for (kind, by_key) in Kind::ALL.into_iter().zip(&self.keys) {
            let single = if kind == Kind::ContextWord { None } else { facts.key(kind, 0) };
            let several = if kind == Kind::ContextWord { facts.context() } else { &[] };
            for key in single.iter().chain(several) {
                by_key.get(key).into_iter().flatten().for_each(|feature| found(*feature));
            }
        }
        for (class, features) in Class::ALL.into_iter().zip(&self.classes) {
            if facts.is(class) {
                features.iter().for_each(|feature| found(*feature));
            }
        }
        self.visit_passages(facts, found);
    }

    fn visit_passages(&mut self, facts: &Facts, mut found: impl FnMut(usize)) {
        for (feature, value) in facts.context().iter().filter_map(|word| self.words.get(word)).flatten() {
            if self.sums[*feature] == 0 {
                self.touched.push(*feature);
            }
            self.sums[*feature] += value;
        }
        for feature in self.touched.drain(..) {
            let sum = std::mem::take(&mut self.sums[feature]);
            if self.thresholds[feature].is_some_and(|threshold| sum >= threshold) {
                found(feature);
            }
        }
    }
}
