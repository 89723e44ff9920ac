//! What both of the other tools' forms have of a feature, under the names that these give it.

use serde_json::{Map, Value, json};
use untangle_schema::{Example, FeatureCard, Histogram, Nearness};

/// Bins of equal width that the other tools put examples into.
const BINS: f32 = 5.0;
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
    top.chain(card.sampled.iter().map(|example| (example, bin(card, example.activation))))
}

/// Lower end, upper end, and the part of all activations that lie between: of bins of the histogram that lie in two, by where their
/// middle is.
fn bin(card: &FeatureCard, activation: f32) -> [f32; 3] {
    let width = card.max_activation / BINS;
    let low = (activation / width).floor().clamp(0.0, BINS - 1.0) * width;
    let high = low + width;
    let Histogram { edges, counts } = &card.histogram;
    let within = |ends: &[f32]| (low..high).contains(&(ends[0] * ends[1]).sqrt());
    let inside: u64 = edges.windows(2).zip(counts).filter(|(ends, _)| within(ends)).map(|(_, count)| count).sum();
    let all: u64 = counts.iter().sum();
    [low, high, inside as f32 / all.max(1) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> FeatureCard {
        FeatureCard {
            feature: 7,
            labels: Vec::new(),
            held_out_firings: 0,
            density: 0.01,
            max_activation: 1.0,
            mean_activation: 0.5,
            examples: Vec::new(),
            sampled: Vec::new(),
            histogram: Default::default(),
            top_logits: Vec::new(),
            bottom_logits: Vec::new(),
            neighbours: Vec::new(),
            ..FeatureCard::default()
        }
    }

    #[test]
    fn a_bin_is_a_fifth_of_the_largest_activation() {
        let histogram = Histogram { edges: vec![0.5, 2.0, 8.0, 10.0], counts: vec![6, 3, 1] };
        let card = FeatureCard { max_activation: 10.0, histogram, ..card() };
        // Middles at 1, 4 and 8.9.
        assert_eq!(bin(&card, 1.5), [0.0, 2.0, 0.6]);
        assert_eq!(bin(&card, 10.0), [8.0, 10.0, 0.1]);
    }
}
