//! What is known about one feature of a dictionary.

use crate::label::Label;
use serde::{Deserialize, Serialize};

/// A place in the corpus where a feature fires, with its surroundings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Row of the store at which the feature is strongest in this window.
    pub row: u64,
    /// Document of that row.
    pub document: u32,
    /// Position of that row in its context.
    pub position: u32,
    /// Activation at that row, as the dictionary itself gives it.
    pub activation: f32,
    /// The window's tokens as text, in order.
    pub tokens: Vec<String>,
    /// The feature's activation at each token of the window.
    pub activations: Vec<f32>,
    /// Index into `tokens` of the strongest one.
    pub peak: usize,
}

/// A place where a feature is silent though one that is near to it fires: what its label must not say of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearMiss {
    /// The feature that fires there.
    pub by: usize,
    /// The place; activations are those of the silent feature, all 0.
    #[serde(flatten)]
    pub example: Example,
}

/// How a feature of a crosscoder is shared between its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartShares {
    /// In one word: `exclusive`, `partial`, `between`, `alike`, `turned` or `nowhere`.
    pub kind: String,
    /// The share of every part in the norms of what it writes, each 0 to 1.
    pub shares: Vec<f64>,
    /// The cosine of what it writes into the first part and into each of the others; none where it writes nothing into one.
    pub cosines: Vec<Option<f64>>,
    /// The parts in which it is there at all, numbered from 0.
    pub present: Vec<usize>,
}

/// A token and how much the feature's direction moves its logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogitEffect {
    /// The token as text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Dot product of the decoder row with the token's column of the unembedding (after the final norm's weight).
    pub effect: f32,
}

/// How often a feature's activations have which size, in bins of equal ratio.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower edge of every bin and the upper edge of the last, ascending; one more than `counts`.
    pub edges: Vec<f32>,
    /// Rows on which the activation lies in the bin.
    pub counts: Vec<u64>,
}

/// In what sense two features are near each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nearness {
    /// They write alike: the cosine of their decoder rows.
    Decoder,
    /// They fire on the same tokens: of those on which either fires, the part on which both do.
    Coactivation,
}

impl Nearness {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Nearness; 2] = [Nearness::Decoder, Nearness::Coactivation];

    /// The kind as it stands in files.
    pub const fn name(self) -> &'static str {
        match self {
            Nearness::Decoder => "decoder",
            Nearness::Coactivation => "coactivation",
        }
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        Nearness::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Another feature that is near to one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// In what sense.
    pub kind: Nearness,
    /// The other feature.
    pub feature: usize,
    /// How near: see [`Nearness`].
    pub value: f32,
}

/// One feature: where it fires, what it writes, and its labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureCard {
    /// Index of the feature.
    pub feature: usize,
    /// Its labels, the one to show first coming first; see [`Label::rank`].
    pub labels: Vec<Label>,
    /// Held-out rows on which it fires.
    pub held_out_firings: u64,
    /// Fraction of rows on which the feature fires.
    pub density: f64,
    /// Largest activation seen.
    pub max_activation: f32,
    /// Mean over the rows on which it fires.
    pub mean_activation: f32,
    /// Strongest examples, strongest first, at most one per document.
    pub examples: Vec<Example>,
    /// Examples drawn evenly over the quantiles of the activations, strongest first: what the feature is usually like.
    #[serde(default)]
    pub sampled: Vec<Example>,
    /// Examples of each fifth of the range of its activations, those of the uppermost first: whether it means the same at every strength.
    #[serde(default)]
    pub banded: Vec<Example>,
    /// Where it is silent though a near feature fires, by how near that is.
    #[serde(default)]
    pub near_misses: Vec<NearMiss>,
    /// Of a crosscoder's features, how it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<PartShares>,
    /// Sizes of the activations on the rows on which it fires.
    #[serde(default)]
    pub histogram: Histogram,
    /// Tokens whose logits the direction raises most.
    pub top_logits: Vec<LogitEffect>,
    /// Tokens whose logits it lowers most.
    pub bottom_logits: Vec<LogitEffect>,
    /// Features that are near to it, by kind, nearest first.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

impl FeatureCard {
    /// The label to show where one is shown.
    pub fn label(&self) -> Option<&Label> {
        self.labels.first()
    }

    /// What that label says.
    pub fn label_text(&self) -> Option<&str> {
        self.label().map(|label| label.text.as_str())
    }

    /// Adds a label at its place; one of the same kind and source goes.
    pub fn add_label(&mut self, label: Label) {
        self.labels.retain(|other| (other.kind, &other.source) != (label.kind, &label.source));
        self.labels.push(label);
        self.labels.sort_by(Label::rank);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_nearness_are_named_alike_everywhere() {
        for kind in Nearness::ALL {
            assert_eq!(Nearness::named(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).expect("a name"), kind.name());
        }
    }
}
