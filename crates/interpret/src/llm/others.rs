//! What is a score compared with? The label of another feature on the same texts, and texts that another feature was turned up for.
//!
//! Whose label that is depends on the features before this one in the plan and on nothing else, so that a run that goes on after its
//! budget was spent asks what it asked before, and pays for none of it twice.

use crate::database::{Database, Query};
use crate::error::InterpretError;
use crate::hash::mix;
use crate::label::labeller::SOURCE as RULES;
use crate::saying::SOURCE as LENS;
use untangle_schema::LabelKind;

/// Features of the database whose rules hold best, which are there before a language model has said anything.
const KNOWN: usize = 64;

/// A label of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    feature: usize,
    kind: LabelKind,
    text: String,
}

/// Other features and their labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    /// Labels that need no language model.
    plain: Vec<Made>,
    /// Features with how strongly they fire.
    strengths: Vec<(usize, f32)>,
    /// Labels of the source that is scored, in the order of the plan.
    made: Vec<Made>,
    /// Whether all labels were there before the first was scored.
    complete: bool,
}

impl Others {
    /// What a database has.
    pub(super) fn of(database: &Database) -> Result<Self, InterpretError> {
        let mut others = Others::default();
        for summary in database.query(&Query { limit: Some(KNOWN), ..Query::default() })? {
            let (card, feature) = (database.card(summary.feature)?, summary.feature);
            let plain = card.labels.into_iter().filter(|label| [RULES, LENS].contains(&&label.source[..]));
            others.plain.extend(plain.map(|label| Made { feature, kind: label.kind, text: label.text }));
            others.strengths.extend((card.max_activation > 0.0).then_some((feature, card.max_activation)));
        }
        Ok(others)
    }

    /// The same, with all labels of a source that is scored.
    pub(super) fn with_labels_of(mut self, database: &Database, source: &str) -> Result<Self, InterpretError> {
        let query = Query { source: Some(source.to_owned()), limit: Some(KNOWN), ..Query::default() };
        for summary in database.query(&query)? {
            let labels = database.card(summary.feature)?.labels.into_iter().filter(|label| label.source == source);
            labels.for_each(|label| self.add(summary.feature, label.kind, &label.text));
        }
        self.complete = true;
        Ok(self)
    }

    /// Takes a label that a feature of the plan was given.
    pub(super) fn add(&mut self, feature: usize, kind: LabelKind, text: &str) {
        self.made.push(Made { feature, kind, text: text.to_owned() });
    }

    /// The label of another feature: of the same source, where there is one, or else one that needs no language model.
    pub(super) fn label(&self, feature: usize, kind: LabelKind, own: &str, seed: u64) -> Option<&str> {
        let differs = |made: &&Made| made.feature != feature && made.kind == kind && made.text != own;
        let before = |made: &&Made| self.complete || made.feature != feature;
        let mut among: Vec<&Made> = self.made.iter().take_while(before).filter(differs).collect();
        if among.is_empty() {
            among = self.plain.iter().filter(differs).collect();
        }
        let at = mix(seed ^ mix(feature as u64 + 1)) as usize;
        (!among.is_empty()).then(|| among[at % among.len()].text.as_str())
    }

    /// Another feature that fires, and how strongly it does at most.
    pub(super) fn feature(&self, own: usize, seed: u64) -> Option<(usize, f32)> {
        let among: Vec<_> = self.strengths.iter().filter(|(feature, _)| *feature != own).collect();
        let at = mix(seed ^ mix(own as u64 + 2)) as usize;
        (!among.is_empty()).then(|| *among[at % among.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LabelKind::{Input, Output};

    #[test]
    fn the_other_label_depends_on_what_came_before_alone() {
        let mut others = Others::default();
        others.plain.push(Made { feature: 9, kind: Input, text: "rule".to_owned() });
        let first = others.clone();
        for feature in 0..6 {
            others.add(feature, Input, &format!("label {feature}"));
            others.add(feature, Output, "says so");
        }
        assert_eq!(first.label(0, Input, "label 0", 7), Some("rule"));
        assert_eq!(others.label(0, Input, "label 0", 7), Some("rule"));
        let third = others.label(3, Input, "label 3", 7).map(str::to_owned);
        assert!(["label 0", "label 1", "label 2"].map(|text| Some(text.to_owned())).contains(&third), "{third:?}");
        others.add(7, Input, "label 7");
        assert_eq!(others.label(3, Input, "label 3", 7).map(str::to_owned), third);
        assert_eq!(others.label(3, Output, "says so", 7), None, "the same words are no other label");
        others.complete = true;
        let all: Vec<_> = (0..20).filter_map(|seed| others.label(0, Input, "label 0", seed)).collect();
        assert!(all.contains(&"label 7") && !all.contains(&"label 0"), "{all:?}");
    }
}
