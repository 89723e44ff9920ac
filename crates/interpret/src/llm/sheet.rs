//! Which questions about a feature's texts go to the judge together, and what do the answers come to?
//!
//! The input label is judged by detection and by fuzzing. The output label is read as if it were one of what makes the feature fire:
//! `agreement-judged` is detection by it, so that a user who wants to steer sees whether the feature fires where it says what it
//! says. The label of another feature is the control of all.

use super::judge::{Item, Outcome, items, outcome, requests, scores};
use super::prompts::{PER_REQUEST, Question};
use super::work::Work;
use std::collections::BTreeMap;
use untangle_endpoint::{Reply, Request};
use untangle_schema::{LabelKind, Score};

/// The name of the score by which both labels agree.
pub(super) const AGREEMENT: &str = "agreement-judged";

/// Whose label is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Input,
    Other,
    Output,
}

/// What a judge is asked about a feature.
pub(super) struct Sheet {
    labels: BTreeMap<Whose, String>,
    detection: Vec<Item>,
    fuzzing: Vec<Item>,
    near: f64,
}

impl Sheet {
    /// The questions about a feature; `other` is the label of another one.
    pub(super) fn of(work: &Work, other: Option<&str>, seed: u64) -> Self {
        let labels =
            [(Whose::Input, work.label.as_deref()), (Whose::Other, other), (Whose::Output, work.output.as_deref())];
        let items = |question| items(question, &work.material, seed);
        Sheet {
            labels: labels.into_iter().filter_map(|(whose, label)| Some((whose, label?.to_owned()))).collect(),
            detection: items(Question::Detection),
            fuzzing: items(Question::Fuzzing),
            near: work.material.near as f64,
        }
    }

    /// Every question with the label that it is asked about, in order.
    fn asked(&self) -> Vec<(Question, Whose)> {
        let has = |whose: &Whose| self.labels.contains_key(whose);
        let of = |question: Question, among: &[Whose]| {
            among.iter().filter(|whose| has(whose)).map(|whose| (question, *whose)).collect::<Vec<_>>()
        };
        let mut asked = of(Question::Detection, &[Whose::Input, Whose::Other, Whose::Output]);
        if has(&Whose::Input) {
            asked.extend(of(Question::Fuzzing, &[Whose::Input, Whose::Other]));
        }
        asked
    }

    fn items(&self, question: Question) -> &[Item] {
        if question == Question::Fuzzing { &self.fuzzing } else { &self.detection }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        let of = |(question, whose)| requests(question, &self.labels[&whose], self.items(question));
        self.asked().into_iter().flat_map(of).collect()
    }

    /// The scores that the answers to these requests come to, by the kind of label that they are of.
    ///
    /// Returns too how many verdicts could not be understood where too few are left for a score.
    pub(super) fn scores(&self, replies: &[Reply]) -> (Vec<(LabelKind, Score)>, u64) {
        let (mut rest, mut found) = (replies, BTreeMap::new());
        for (question, whose) in self.asked() {
            let (own, others) = rest.split_at(self.items(question).len().div_ceil(PER_REQUEST));
            rest = others;
            if !own.is_empty() {
                found.insert((question.name(), whose), outcome(self.items(question), own));
            }
        }
        let lost = found.values().filter(|outcome| !outcome.is_usable()).map(|outcome| outcome.unparseable).sum();
        let of = |question: Question, whose| -> Option<&Outcome> { found.get(&(question.name(), whose)) };
        let mut all = Vec::new();
        for question in [Question::Detection, Question::Fuzzing] {
            if let Some(own) = of(question, Whose::Input) {
                let own = scores(question.name(), own, of(question, Whose::Other), &[("near", self.near)]);
                all.extend(own.into_iter().map(|score| (LabelKind::Input, score)));
            }
        }
        if let Some(output) = of(Question::Detection, Whose::Output) {
            let own = scores(AGREEMENT, output, of(Question::Detection, Whose::Other), &[]);
            // One number, and not two that say the same.
            all.extend(own.into_iter().take(1).map(|score| (LabelKind::Output, score)));
        }
        (all, lost)
    }
}
