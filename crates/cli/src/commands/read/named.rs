//! What are the features of a reading called, how large do they grow, and which of them are shown?

use std::collections::{BTreeMap, BTreeSet};
use untangle_interpret::read::{Active, Reading};
use untangle_interpret::{Database, InterpretError, Summary};

/// What a database knows of the features that matter; nothing without one.
pub(super) struct Named {
    summaries: Option<BTreeMap<usize, Summary>>,
    /// The largest activation of the readings.
    largest: f32,
}

impl Named {
    /// Looks up what fires in `readings`, and `others`.
    pub(super) fn of<'a>(
        readings: impl Iterator<Item = &'a Reading>,
        others: &[usize],
        database: Option<&Database>,
    ) -> Result<Self, InterpretError> {
        let active: Vec<Active> = readings
            .flat_map(|reading| reading.tokens.iter().flat_map(|token| token.features.iter().copied()))
            .collect();
        let largest = active.iter().map(|active| active.activation.abs()).fold(0.0, f32::max);
        let wanted: BTreeSet<usize> =
            active.iter().map(|active| active.feature).chain(others.iter().copied()).collect();
        let wanted: Vec<usize> = wanted.into_iter().collect();
        let found = database.map(|database| database.summaries_of(&wanted)).transpose()?;
        let summaries = found.map(|found| found.into_iter().map(|summary| (summary.feature, summary)).collect());
        Ok(Named { summaries, largest })
    }

    /// Everything that was looked up, by feature.
    pub(super) fn summaries(&self) -> Option<&BTreeMap<usize, Summary>> {
        self.summaries.as_ref()
    }

    fn summary(&self, feature: usize) -> Option<&Summary> {
        self.summaries.as_ref()?.get(&feature)
    }

    /// The label of a feature; empty where nobody knows one.
    pub(super) fn label(&self, feature: usize) -> &str {
        self.summary(feature).and_then(|summary| summary.label.as_deref()).unwrap_or("")
    }

    /// The largest activation of a feature that was seen.
    pub(super) fn most(&self, feature: usize) -> Option<f32> {
        self.summary(feature).map(|summary| summary.max_activation).filter(|most| *most > 0.0)
    }

    /// How strong an activation is: as a part of the largest one of the feature, or else of the readings.
    pub(super) fn part(&self, feature: usize, activation: f32) -> f32 {
        let whole = self.most(feature).unwrap_or(self.largest);
        if whole > 0.0 { activation.abs() / whole } else { 0.0 }
    }

    /// What the parts are parts of.
    pub(super) fn whole(&self) -> &'static str {
        if self.summaries.is_some() { "of max" } else { "of top" }
    }

    /// Orders the features of every token by their share, where that is asked for, and leaves out those that are denser than
    /// may be.
    pub(super) fn arrange(&self, reading: &mut Reading, by_share: bool, max_density: Option<f64>) {
        let density = |feature| self.summary(feature).map_or(0.0, |summary| summary.density);
        for token in &mut reading.tokens {
            token.features.retain(|active| max_density.is_none_or(|most| density(active.feature) <= most));
            if by_share {
                let share = |active: &Active| self.part(active.feature, active.activation);
                token.features.sort_by(|a, b| share(b).total_cmp(&share(a)).then(a.feature.cmp(&b.feature)));
            }
        }
    }
}
