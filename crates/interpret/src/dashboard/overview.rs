//! What a dashboard says of the dictionary as a whole.

use super::place::{FEATURE_SHARD, INDEX_SHARD};
use crate::database::Run;
use crate::page::Tallies;
use crate::page::compact::short;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use untangle_schema::FeatureCard;
use untangle_schema::label::F1;

/// Counts over all features.
#[derive(Debug, Default)]
pub(super) struct Overview {
    tallies: Tallies,
    /// Sum, sum of floors and of controls, and number, of the F1 of the labels that are shown.
    f1: [f64; 4],
    /// Number of labels by source.
    sources: BTreeMap<String, usize>,
    scorers: BTreeSet<String>,
    nearness: BTreeSet<&'static str>,
}

impl Overview {
    pub(super) fn add(&mut self, card: &FeatureCard) {
        self.tallies.add_card(card);
        if let Some(score) = card.label().and_then(|label| label.score(F1)) {
            let parts = [score.value, score.floor.unwrap_or(0.0), score.control.unwrap_or(0.0), 1.0];
            self.f1.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        for label in &card.labels {
            *self.sources.entry(label.source.clone()).or_default() += 1;
            self.scorers.extend(label.scores.iter().map(|score| score.scorer.clone()));
        }
        self.nearness.extend(card.neighbours.iter().map(|near| near.kind.name()));
    }

    /// With how the database was made, and the features to begin with.
    pub(super) fn describe(&self, run: &Run, best: &[FeatureCard]) -> Value {
        let best: Vec<Value> = best.iter().map(|card| json!([card.feature, card.label_text().unwrap_or("")])).collect();
        let (scored, tallies) = (self.f1[3], &self.tallies);
        let mean = |at: usize| (scored > 0.0).then(|| short(self.f1[at] / scored));
        json!({
            "sae": run.sae, "store": run.store, "model": run.model.as_ref().map(|model| &model.name),
            "tool_version": run.tool_version, "sae_sha256": run.sae_sha256, "rows": run.rows,
            "held_out_rows": run.held_out_rows, "parts": run.parts,
            "features": tallies.features, "dead": tallies.dead, "dense": tallies.dense, "labelled": tallies.labelled,
            "scored": scored, "mean_f1": mean(0), "mean_floor": mean(1), "mean_control": mean(2),
            "densities": tallies.densities, "bins_per_decade": tallies.bins_per_decade, "scores": tallies.scores,
            "sources": self.sources, "scorers": self.scorers, "nearness": self.nearness,
            "best": best, "index_shard": INDEX_SHARD, "feature_shard": FEATURE_SHARD,
        })
    }
}
