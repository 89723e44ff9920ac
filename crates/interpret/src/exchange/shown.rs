//! What both of the other tools' forms have of a feature, under the names that these give it.

use crate::bands;
use serde_json::{Map, Value, json};
use untangle_schema::{Example, FeatureCard, Histogram, Nearness};

/// The bin of examples that were chosen because they are the strongest.
const TOP: f32 = -1.0;

/// Tokens raised and lowered, the histogram, the density and the neighbours.
pub(super) fn statistics(card: &FeatureCard) -> Map<String, Value> {
    let tokens = |effects: &[untangle_schema::LogitEffect]| {
        let (names, values): (Vec<_>, Vec<_>) = effects.iter().map(|e| (e.token.clone(), e.effect)).unzip();
        (json!(names), json!(values))
    };
    let (pos_str, pos_values) = tokens(&card.top_logits);
    let (neg_str, neg_values) = tokens(&card.bottom_logits);
    let near = |kind| card.neighbours.iter().filter(move |n| n.kind == kind).map(|n| (n.feature, n.value)).unzip();
    let (indices, cosines): (Vec<usize>, Vec<f32>) = near(Nearness::Decoder);
    let Histogram { edges, counts } = &card.histogram;
    let middles: Vec<f32> = edges.windows(2).map(|ends| (ends[0] * ends[1]).sqrt()).collect();
    let Value::Object(fields) = json!({
        "pos_str": pos_str, "pos_values": pos_values, "neg_str": neg_str, "neg_values": neg_values,
        "frac_nonzero": card.density,
        "freq_hist_data_bar_heights": counts, "freq_hist_data_bar_values": middles,
        "logits_hist_data_bar_heights": [], "logits_hist_data_bar_values": [],
        "neuron_alignment_indices": [], "neuron_alignment_values": [], "neuron_alignment_l1": [],
        "correlated_neurons_indices": [], "correlated_neurons_pearson": [], "correlated_neurons_l1": [],
        "correlated_features_indices": indices, "correlated_features_l1": cosines,
        "correlated_features_pearson": [], "decoder_weights_dist": [],
    }) else {
        return Map::new();
    };
    fields
}

/// The examples of a feature with the bins that they are of: the strongest in one of their own, the others by activation.
pub(super) fn examples(card: &FeatureCard) -> impl Iterator<Item = (&Example, [f32; 3])> {
    let top = card.examples.iter().map(|example| (example, [TOP; 3]));
    let others = card.banded.iter().chain(&card.sampled);
    top.chain(
        others.map(|example| (example, bands::ends(card, bands::number(example.activation, card.max_activation)))),
    )
}
