//! The features whose labels hold best.

use super::read::Summary;
use std::collections::HashSet;

/// Denser features are hardly about one thing.
const MAX_DENSITY: f64 = 0.1;
/// A score from fewer held-out firings is mostly chance.
const MIN_FIRINGS: u64 = 20;

/// The `n` features with the best label scores, best first: at most a tenth of the rows, at least twenty held-out
/// firings, and of labels that begin alike (`"the" / "The"`, `"the" / "his"`) only the best.
pub fn most_interpretable(features: Vec<Summary>, n: usize) -> Vec<Summary> {
    let mut ranked: Vec<(f64, Summary)> =
        features.into_iter().filter(is_sound).filter_map(|feature| Some((feature.label_score?, feature))).collect();
    ranked.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.feature.cmp(&y.feature)));
    let mut labels = HashSet::new();
    let fresh = ranked.into_iter().filter(|(_, feature)| labels.insert(gist(feature)));
    fresh.take(n).map(|(_, feature)| feature).collect()
}

/// The label as far as its first alternative.
fn gist(feature: &Summary) -> Option<String> {
    feature.label.as_deref().and_then(|label| label.split(" / ").next()).map(str::to_owned)
}

fn is_sound(feature: &Summary) -> bool {
    feature.density <= MAX_DENSITY && feature.held_out_firings >= MIN_FIRINGS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(feature: usize, label: &str, f1: f64, density: f64, held_out_firings: u64) -> Summary {
        let label = Some(label.to_owned());
        let label_kind = Some(untangle_schema::LabelKind::Input);
        let label_source = Some("tokens".to_owned());
        Summary {
            feature,
            label,
            label_kind,
            label_source,
            label_score: Some(f1),
            asked: None,
            held_out_firings,
            density,
            max_activation: 1.0,
        }
    }

    #[test]
    fn dense_rare_and_repeated_features_are_left_out() {
        let all = vec![
            feature(0, "a", 0.7, 0.01, 50),
            feature(1, "b", 0.9, 0.30, 500),
            feature(2, "c", 0.9, 0.01, 19),
            feature(3, "a / e", 0.8, 0.01, 20),
            feature(4, "d", 0.75, 0.10, 20),
        ];
        let best: Vec<usize> = most_interpretable(all, 10).iter().map(|feature| feature.feature).collect();
        assert_eq!(best, [3, 4]);
    }
}
