//! How many features a dictionary has of which kind: what a page says of it as a whole.

use crate::database::Summary;
use serde::Serialize;
use untangle_schema::{FeatureCard, LabelKind};

/// Bins of densities, each a quarter of a decade, up to always.
const DENSITY_BINS: usize = 24;
const BINS_PER_DECADE: f64 = 4.0;
/// Bins of scores, from 0 to 1.
const SCORE_BINS: usize = 20;
/// A feature that fires on more than this part of the rows is hardly about one thing.
const DENSE: f64 = 0.1;

/// Counts over features.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tallies {
    /// All.
    pub features: usize,
    /// Those that never fired.
    pub dead: usize,
    /// Those that fire on more than a tenth of the rows.
    pub dense: usize,
    /// Those that have a label.
    pub labelled: usize,
    /// Those that fire, by density: the last bin ends at always, each is a quarter of a decade.
    pub densities: [u64; DENSITY_BINS],
    /// How many bins of densities a decade has.
    pub bins_per_decade: f64,
    /// Those whose label has an F1, by it, from 0 to 1.
    pub scores: [u64; SCORE_BINS],
}

impl Default for Tallies {
    fn default() -> Self {
        Tallies {
            features: 0,
            dead: 0,
            dense: 0,
            labelled: 0,
            densities: [0; DENSITY_BINS],
            bins_per_decade: BINS_PER_DECADE,
            scores: [0; SCORE_BINS],
        }
    }
}

impl Tallies {
    /// Counts a feature by its line in a list.
    pub fn add_line(&mut self, line: &Summary) {
        self.add(line.density, line.label_kind == Some(LabelKind::Input), line.label_score);
    }

    /// Counts a feature by its card.
    pub fn add_card(&mut self, card: &FeatureCard) {
        let is_labelled = card.labels.iter().any(|label| label.kind == LabelKind::Input);
        self.add(card.density, is_labelled, card.label().and_then(untangle_schema::Label::f1));
    }

    fn add(&mut self, density: f64, is_labelled: bool, f1: Option<f64>) {
        self.features += 1;
        self.dead += usize::from(density == 0.0);
        self.dense += usize::from(density > DENSE);
        self.labelled += usize::from(is_labelled);
        if density > 0.0 {
            let from_the_end = (-density.log10() * BINS_PER_DECADE).floor().clamp(0.0, (DENSITY_BINS - 1) as f64);
            self.densities[DENSITY_BINS - 1 - from_the_end as usize] += 1;
        }
        if let Some(f1) = f1 {
            self.scores[((f1 * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_counted_where_it_belongs() {
        let mut tallies = Tallies::default();
        for (density, is_labelled, f1) in [
            (0.0, false, None),
            (1.0, true, Some(1.0)),
            (0.05, true, Some(0.0)),
            (1e-9, true, None),
            (0.5, true, Some(0.52)),
        ] {
            tallies.add(density, is_labelled, f1);
        }
        assert_eq!((tallies.features, tallies.dead, tallies.dense, tallies.labelled), (5, 1, 2, 4));
        let densities: Vec<usize> = (0..DENSITY_BINS).filter(|bin| tallies.densities[*bin] > 0).collect();
        // A twentieth is between 10^-1.5 and 10^-1.25, six bins from the end; what is rarer than all bins is in the first.
        assert_eq!(densities, [0, 18, 22, 23]);
        assert_eq!((tallies.scores[0], tallies.scores[10], tallies.scores[19]), (1, 1, 1));
    }
}
