//! Which scores does a block of features get, and who is asked what for them?

use super::judge::{outcome, requests, scores};
use super::prompts::Question;
use super::run::Run;
use super::say;
use super::sheet::Sheet;
use super::simulate::{self, Simulated};
use super::verdicts;
use super::work::Work;
use crate::error::InterpretError;
use crate::read::Reader;
use std::cell::Cell;
use std::collections::BTreeMap;
use untangle_endpoint::Reply;
use untangle_schema::LabelKind;

impl Run<'_> {
    /// The label of another feature, where there are controls.
    fn other(&self, feature: usize, kind: LabelKind, own: &str) -> Option<String> {
        let other = || self.others.label(feature, kind, own, self.plan.seed).map(str::to_owned);
        self.plan.controls.then(other).flatten()
    }

    /// Whether what the output label says is written where the feature is turned up.
    pub(super) fn turn_up(&mut self, works: &mut [Work], reader: &Reader<'_>) -> Result<(), InterpretError> {
        let mut asked = BTreeMap::new();
        for work in works.iter().filter(|work| work.is_going()) {
            let (feature, Some(own)) = (work.card.feature, &work.output) else { continue };
            let items = say::items(reader, work, self.others.feature(feature, self.plan.seed), self.plan.seed)?;
            let other = self.other(feature, LabelKind::Output, own);
            let labels: Vec<String> = std::iter::once(own.clone()).chain(other).collect();
            asked.insert(feature, (items, labels));
        }
        let prepare = |work: &Work| {
            let of = |(items, labels): &(Vec<_>, Vec<String>)| {
                labels.iter().flat_map(|label| requests(Question::Intervention, label, items)).collect()
            };
            asked.get(&work.card.feature).map_or(Vec::new(), of)
        };
        let hear = |work: &mut Work, replies: &[Reply]| {
            let (items, labels) = &asked[&work.card.feature];
            let (own, other) = replies.split_at(replies.len() / labels.len());
            let control = (!other.is_empty()).then(|| outcome(items, other));
            let own = outcome(items, own);
            let scores = scores(Question::Intervention.name(), &own, control.as_ref(), &[]);
            work.unparseable += if own.is_usable() { 0 } else { own.unparseable };
            work.scores.extend(scores.into_iter().map(|score| (LabelKind::Output, score)));
        };
        self.ask(works, verdicts::judges_nothing, prepare, hear);
        Ok(())
    }

    /// Detection and fuzzing, by the label and by another one.
    pub(super) fn judge(&mut self, works: &mut [Work]) {
        let mut sheets = BTreeMap::new();
        for work in works.iter().filter(|work| work.is_going()) {
            let Some(own) = work.label.as_ref().or(work.output.as_ref()) else { continue };
            let other = self.other(work.card.feature, LabelKind::Input, own);
            sheets.insert(work.card.feature, Sheet::of(work, other.as_deref(), self.plan.seed));
        }
        let tells_odds = Cell::new(self.tells_odds);
        let prepare = |work: &Work| sheets.get(&work.card.feature).map_or(Vec::new(), Sheet::requests);
        let hear = |work: &mut Work, replies: &[Reply]| {
            let (scores, lost) = sheets[&work.card.feature].scores(replies);
            work.scores.extend(scores);
            work.unparseable += lost;
            let told = replies.iter().any(|reply| !reply.odds.is_empty());
            tells_odds.set(Some(told || tells_odds.get() == Some(true)));
        };
        self.ask(works, verdicts::judges_nothing, prepare, hear);
        self.tells_odds = tells_odds.get();
    }

    /// How strongly on every token; not asked where the answers could not be used.
    pub(super) fn simulate(&mut self, works: &mut [Work]) {
        if !self.plan.simulate {
            return;
        }
        if self.tells_odds == Some(false) {
            self.report.without_odds = true;
            return;
        }
        let mut labels: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for work in works.iter().filter(|work| work.is_going()) {
            let Some(own) = &work.label else { continue };
            let other = self.other(work.card.feature, LabelKind::Input, own);
            labels.insert(work.card.feature, std::iter::once(own.clone()).chain(other).collect());
        }
        let without_odds = Cell::new(false);
        let prepare = |work: &Work| {
            let pieces = simulate::pieces(&work.material);
            let labels = labels.get(&work.card.feature).into_iter().flatten();
            labels.flat_map(|label| simulate::requests(label, &pieces)).collect()
        };
        let hear = |work: &mut Work, replies: &[Reply]| {
            let pieces = simulate::pieces(&work.material);
            let said: Vec<Simulated> =
                replies.chunks(pieces.len()).map(|replies| simulate::simulated(&pieces, replies)).collect();
            without_odds.set(without_odds.get() || said.contains(&Simulated::WithoutOdds));
            let score = simulate::score(&said[0], said.get(1));
            work.unparseable += if score.is_none() { said[0].unparseable() } else { 0 };
            work.scores.extend(score.map(|score| (LabelKind::Input, score)));
        };
        self.ask(works, verdicts::judges_nothing, prepare, hear);
        self.report.without_odds |= without_odds.get();
    }
}
