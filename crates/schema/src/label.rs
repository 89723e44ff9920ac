//! What a feature is called: by whom, about which of its sides, and how far that can be believed.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Which side of a feature a label speaks of. The two may differ: a feature that fires on a name need not make the model
/// write it (Arad et al. 2025, arXiv 2505.20063).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelKind {
    /// What makes it fire.
    Input,
    /// What it makes the model say.
    Output,
}

impl LabelKind {
    /// The kind as it stands in files.
    pub const fn name(self) -> &'static str {
        match self {
            LabelKind::Input => "input",
            LabelKind::Output => "output",
        }
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        [LabelKind::Input, LabelKind::Output].into_iter().find(|kind| kind.name() == name)
    }
}

/// One label of a feature. A feature has at most one of each kind from each source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// What it speaks of.
    pub kind: LabelKind,
    /// How it was made: `tokens` for a rule about tokens.
    pub source: String,
    /// What it says.
    pub text: String,
    /// How well it holds, at most once by each scorer.
    pub scores: Vec<Score>,
}

/// How well a label holds, measured on what the labeller never saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Which measure it is, such as [`F1`].
    pub scorer: String,
    /// The measure; higher is better.
    pub value: f64,
    /// Its 95 % interval, where it was estimated.
    pub interval: Option<(f64, f64)>,
    /// What saying nothing reaches, such as "it always fires".
    pub floor: Option<f64>,
    /// What labels of other features reach on this feature.
    pub control: Option<f64>,
    /// Over how many things it was measured: rows, or texts.
    pub n: u64,
    /// Further numbers behind it, by name.
    pub detail: BTreeMap<String, f64>,
    /// The language model that judged, or wrote what was judged on; none where none was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
}

/// The scorer of rules: F1 of "the feature fires here" over held-out rows. Its details are `precision`, `recall`,
/// `mass_recall` (of the feature's summed activation, the fraction on rows that the rule names) and `firings`.
pub const F1: &str = "f1";

/// The scorer of labels by texts that they describe: the share of these in which the feature fires.
pub const SENSITIVITY: &str = "sensitivity";
/// Of new texts that somebody wrote who was told the label, the part on which the feature fires. One number is of text as there is,
/// the other of text that was written for the label; of one label they differ.
pub const SENSITIVITY_WRITTEN: &str = "sensitivity-written";

impl Label {
    /// The score of a scorer.
    pub fn score(&self, scorer: &str) -> Option<&Score> {
        self.scores.iter().find(|score| score.scorer == scorer)
    }

    /// F1 as a rule, where it is one that was scored.
    pub fn f1(&self) -> Option<f64> {
        self.score(F1).map(|score| score.value)
    }

    /// The order in which labels of a feature are shown: input before output, then by F1, then by source.
    pub fn rank(&self, other: &Self) -> Ordering {
        let f1 = |label: &Label| label.f1().unwrap_or(f64::NEG_INFINITY);
        self.kind.cmp(&other.kind).then(f1(other).total_cmp(&f1(self))).then(self.source.cmp(&other.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(kind: LabelKind, source: &str, f1: Option<f64>) -> Label {
        let score = |value| Score {
            judge: None,
            scorer: F1.to_owned(),
            value,
            interval: None,
            floor: None,
            control: None,
            n: 1,
            detail: BTreeMap::new(),
        };
        Label { kind, source: source.to_owned(), text: String::new(), scores: f1.map(score).into_iter().collect() }
    }

    #[test]
    fn labels_are_shown_by_kind_then_score_then_source() {
        use LabelKind::{Input, Output};
        let mut labels = [
            label(Output, "a", Some(1.0)),
            label(Input, "c", None),
            label(Input, "b", None),
            label(Input, "d", Some(0.5)),
            label(Input, "e", Some(0.75)),
        ];
        labels.sort_by(Label::rank);
        assert_eq!(labels.map(|l| l.source).join(""), "edbca");
    }

    #[test]
    fn kinds_are_named_alike_everywhere() {
        for kind in [LabelKind::Input, LabelKind::Output] {
            assert_eq!(LabelKind::named(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).expect("a name"), kind.name());
        }
    }
}
