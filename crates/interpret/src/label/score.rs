//! How well rules hold on rows that the labeller never saw.
//!
//! `precision = both / named`, `recall = both / fires`, `F1 = 2 both / (named + fires)`: `named` rows that the rule
//! names, `fires` rows on which the feature fires, `both` rows of both. All in 0..1, higher is better.
//!
//! - floor: F1 of the rule that names every row, `2 density / (1 + density)`
//! - control: mean F1 over rules of other features, drawn with a seed: what a label reaches that belongs elsewhere

use super::confusion::Confusion;
use super::facts::{Class, Facts, Kind};
use super::labeller::{SOURCE, Scorer};
use super::propose::Proposal;
use super::rule::Rule;
use crate::error::InterpretError;
use crate::hash::Numbers;
use std::collections::BTreeMap;
use std::collections::HashMap;
use untangle_schema::label::F1;
use untangle_schema::{FeatureCard, Label, Score};

/// Rules of other features that each label is compared with.
const CONTROLS: usize = 4;

/// What is counted for one label.
#[derive(Clone, Debug, Default)]
struct Tally {
    both: u64,
    mass_named: f64,
    /// Firings on rows that the control rules name.
    controls: [u64; CONTROLS],
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
        }
    }

    /// Counts one row with the features that fire on it.
    pub fn add(&mut self, facts: &Facts, features: &[u32], activations: &[f32]) {
        self.rows += 1;
        self.index.visit(facts, |feature| self.named[feature] += 1);
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
            for (both, control) in tally.controls.iter_mut().zip(&self.controls[feature]) {
                let rule = control.and_then(|other| self.proposals[other].as_ref());
                *both += u64::from(rule.is_some_and(|other| other.rule.names(facts)));
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

    fn control(&self, feature: usize) -> f64 {
        let f1 = |(other, &both): (&Option<usize>, &u64)| {
            other.map(|other| Confusion { named: self.named[other], fires: self.fires[feature], both }.f1())
        };
        let all: Vec<f64> = self.controls[feature].iter().zip(&self.tallies[feature].controls).filter_map(f1).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

impl Scorer for RuleScorer<'_> {
    fn name(&self) -> &str {
        F1
    }

    /// F1 of a rule over the rows that were added; none of other labels than rules, and none without rows.
    fn score(&mut self, card: &FeatureCard, label: &Label) -> Result<Option<Score>, InterpretError> {
        let feature = card.feature;
        if self.rows == 0 || label.source != SOURCE || self.proposals[feature].is_none() {
            return Ok(None);
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
        Ok(Some(Score {
            scorer: F1.to_owned(),
            value: confusion.f1(),
            interval: None,
            floor: Some(Confusion { named: self.rows, fires, both: fires }.f1()),
            control: Some(self.control(feature)),
            n: self.rows,
            detail: BTreeMap::from(detail.map(|(name, value)| (name.to_owned(), value))),
        }))
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
