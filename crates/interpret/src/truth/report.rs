//! What is known of a dictionary, concept by concept.

use super::corpus::Splits;
use super::matching::Detection;
use crate::bootstrap::Interval;
use serde::Serialize;
use untangle_schema::{ConceptId, ConceptKind, HookPoint, Share};

/// What the words of a report mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Criteria {
    /// A concept is readable if its probe's F1 on test tokens is at least this.
    pub readable_f1: f64,
    /// A readable concept is covered by something whose F1 on test tokens is at least this.
    pub covered_f1: f64,
    /// A feature matches a concept if its F1 on test tokens is at least this.
    pub matched_f1: f64,
    /// A concept with fewer positive or fewer negative tokens in any split is not judged.
    pub min_positives: u64,
    /// Features of a union at most.
    pub union: usize,
}

impl Default for Criteria {
    /// The published ones.
    fn default() -> Self {
        Self { readable_f1: 0.9, covered_f1: 0.8, matched_f1: 0.5, min_positives: 20, union: 5 }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TruthReport {
    /// Where in the model the dictionary belongs.
    pub point: HookPoint,
    /// Where the neurons are that it is compared with; none where the dictionary belongs to no block.
    pub neurons: Option<HookPoint>,
    /// What the words mean.
    pub criteria: Criteria,
    /// What was read.
    pub text: Splits<TextCount>,
    /// All concepts together, then by kind, then by family.
    pub groups: Vec<Group>,
    /// The dictionary's features.
    pub features: FeatureCount,
    /// The control's features.
    pub control: Option<FeatureCount>,
    /// Probes, over all strengths of the penalty, whose fit was stopped before it was done.
    pub unfinished_probes: usize,
    /// Every concept, by number.
    pub concepts: Vec<ConceptReport>,
    /// The features that match a concept, by number.
    pub meanings: Vec<FeatureMeaning>,
}

/// How much text was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TextCount {
    /// Documents.
    pub documents: usize,
    /// Tokens, special ones left out.
    pub tokens: usize,
    /// Tokens left out because they lie behind the model's largest context.
    pub cut: u64,
}

/// What is known of one concept. Everything is chosen on validation tokens and measured on test tokens; none where the
/// concept is not judged, or nothing names a single positive of it on validation tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConceptReport {
    /// Its number.
    pub id: ConceptId,
    /// Its name.
    pub name: String,
    /// Its family.
    pub family: String,
    /// How it shows.
    pub kind: ConceptKind,
    /// Tokens on which it holds and can be told.
    pub positives: Splits<u64>,
    /// Tokens that count neither way.
    pub undecided: Splits<u64>,
    /// Whether there are enough positives to say anything.
    pub judged: bool,
    /// The linear probe: the ceiling.
    pub probe: Option<Detection>,
    /// The best feature.
    pub feature: Option<Detection>,
    /// The best few features together.
    pub union: Option<Detection>,
    /// The best token, without any model.
    pub token: Option<Detection>,
    /// The best set of tokens, without any model.
    pub tokens: Option<Detection>,
    /// The best neuron.
    pub neuron: Option<Detection>,
    /// The best principal direction.
    pub principal: Option<Detection>,
    /// The best feature of the control.
    pub control: Option<Detection>,
}

/// F1 on test tokens; 0 for what names no positive of a judged concept.
pub fn f1_of(detection: &Option<Detection>) -> f64 {
    detection.as_ref().map_or(0.0, |detection| detection.f1)
}

/// A part of a whole, with its 95 % interval (Wilson's).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fraction {
    /// The part.
    pub hits: u64,
    /// The whole.
    pub trials: u64,
    /// hits / trials; none of nothing.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Interval,
}

impl From<Share> for Fraction {
    fn from(share: Share) -> Self {
        let (low, high) = share.interval();
        let value = (share.trials > 0).then(|| share.value());
        Self { hits: share.hits, trials: share.trials, value, interval: Interval { low, high } }
    }
}

/// What a group of concepts comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What the group has in common.
    pub by: GroupedBy,
    /// Its name.
    pub name: String,
    /// Concepts in it.
    pub concepts: u64,
    /// Those with too few positives to judge.
    pub not_judged: u64,
    /// Of the judged, those that a probe reads.
    pub readable: Fraction,
    /// Of the readable, those that the best feature covers.
    pub feature: Covered,
    /// Those that a union of features covers.
    pub union: Covered,
    /// Those that a token covers.
    pub token: Covered,
    /// Those that a set of tokens covers.
    pub tokens: Covered,
    /// Of the readable that no set of tokens covers, those that the best feature covers: what a dictionary holds beyond
    /// words.
    pub beyond_tokens: Covered,
    /// Of the same, those that the best feature of the control covers, where there is a control.
    pub control_beyond_tokens: Option<Covered>,
    /// Those that the best neuron covers, where neurons were recorded.
    pub neuron: Option<Covered>,
    /// Those that the best principal direction covers.
    pub principal: Covered,
    /// Those that the best feature of the control covers, where there is a control.
    pub control: Option<Covered>,
    /// Covered by a feature less covered by one of the control, as a fraction of the readable.
    pub above_control: Option<Difference>,
}

/// What a group has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupedBy {
    /// Nothing: all concepts.
    All,
    /// The kind: mention or scope.
    Kind,
    /// The family.
    Family,
}

/// How many of the readable concepts something covers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Covered {
    /// Of the readable concepts, those covered.
    pub fraction: Fraction,
    /// Mean F1 on test tokens over the readable concepts; none where none is readable.
    pub mean_f1: Option<f64>,
}

/// A difference of two fractions of the same concepts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// Its 95 % interval: concepts are drawn again, each with both outcomes. None of fewer than eight concepts.
    pub interval: Option<Interval>,
}

/// What features are good for, seen from the features.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FeatureCount {
    /// Features.
    pub features: usize,
    /// Tokens of validation and test together.
    pub tokens: usize,
    /// Features that fire on none of these tokens.
    pub dead: usize,
    /// Live features that match at least one judged concept.
    pub matched: usize,
    /// Live features that match none: the text's known concepts do not explain them.
    pub unmatched: usize,
}

/// A feature and the concept that it matches best on test tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FeatureMeaning {
    /// The feature.
    pub feature: usize,
    /// The concept.
    pub concept: ConceptId,
    /// F1 of the two on test tokens, the threshold chosen on validation tokens.
    pub f1: f64,
}
