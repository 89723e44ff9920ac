//! How far is a feature on its way to a label, and who gets which of the answers?

use super::material::Material;
use super::prompts::Tested;
use crate::error::InterpretError;
use crate::label::{Labeller, Scorer, add_label};
use untangle_endpoint::{Endpoint, EndpointError, Reply, Request, Spent};
use untangle_schema::{FeatureCard, Label, LabelKind, Observer, Score};

/// Whether a feature goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is more to ask.
    Going,
    /// The endpoint did not answer one of its requests, for this reason.
    LeftOut(String),
    /// The asking ended before it was done.
    Unfinished,
}

/// A feature that is being labelled.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) card: FeatureCard,
    pub(super) material: Material,
    pub(super) state: State,
    /// What makes it fire.
    pub(super) label: Option<String>,
    /// What that was before it was tested, where it was changed.
    pub(super) before: Option<String>,
    /// What it makes the model say.
    pub(super) output: Option<String>,
    /// Answers that gave no label, because nothing is in common.
    pub(super) mixed: usize,
    /// Answers that could not be understood.
    pub(super) unparseable: u64,
    /// Texts that test the label.
    pub(super) tested: Vec<Tested>,
    /// Texts that the label describes.
    pub(super) written: Vec<String>,
    /// Scores of the labels of a kind.
    pub(super) scores: Vec<(LabelKind, Score)>,
}

impl Work {
    pub(super) fn new(card: FeatureCard, material: Material) -> Self {
        Work {
            card,
            material,
            state: State::Going,
            label: None,
            before: None,
            output: None,
            mixed: 0,
            unparseable: 0,
            tested: Vec::new(),
            written: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// Whether it has a label of what it makes the model say, and was asked for no other.
    pub(super) fn is_of_output_alone(&self) -> bool {
        self.label.is_none() && self.output.is_some() && self.mixed + self.unparseable as usize == 0
    }

    pub(super) fn is_going(&self) -> bool {
        self.state == State::Going
    }

    /// The same of one that has labels of `source` already.
    pub(super) fn labelled(card: FeatureCard, material: Material, source: &str) -> Self {
        let of = |kind| {
            let mut labels = card.labels.iter();
            labels.find(|label| label.kind == kind && label.source == source).map(|label| label.text.clone())
        };
        let (label, output) = (of(LabelKind::Input), of(LabelKind::Output));
        Work { label, output, ..Self::new(card, material) }
    }

    /// The labels that the feature has of `source`, with what was measured now in place of what was measured before.
    pub(super) fn rescored(&self, source: &str) -> Vec<Label> {
        let own = self.card.labels.iter().filter(|label| label.source == source);
        let rescored = |label: &Label| {
            let now = || self.scores.iter().filter(|(kind, _)| *kind == label.kind).map(|(_, score)| score);
            let mut scores = label.scores.clone();
            scores.retain(|score| now().all(|new| new.scorer != score.scorer));
            scores.extend(now().cloned());
            Label { scores, ..label.clone() }
        };
        own.map(rescored).collect()
    }

    /// The labels with their scores, as the database takes them; both kinds, of which either may be missing.
    pub(super) fn labels(&self, source: &str) -> Result<Vec<Label>, InterpretError> {
        let mut card = FeatureCard { labels: Vec::new(), ..self.card.clone() };
        let mut scorers: Vec<Measured<'_>> = self.scores.iter().map(Measured).collect();
        let mut scorers: Vec<&mut dyn Scorer> = scorers.iter_mut().map(|one| one as &mut dyn Scorer).collect();
        for (kind, text) in [(LabelKind::Input, &self.label), (LabelKind::Output, &self.output)] {
            let mut told = Told { kind, source, text: text.as_deref() };
            add_label(&mut card, &mut told, &mut scorers)?;
        }
        Ok(card.labels)
    }
}

/// Gives the label that was told.
struct Told<'a> {
    kind: LabelKind,
    source: &'a str,
    text: Option<&'a str>,
}

impl Labeller for Told<'_> {
    fn kind(&self) -> LabelKind {
        self.kind
    }

    fn source(&self) -> &str {
        self.source
    }

    fn label(&mut self, _: &FeatureCard) -> Result<Option<String>, InterpretError> {
        Ok(self.text.map(str::to_owned))
    }
}

/// Gives a score that was measured of a label of this kind.
struct Measured<'a>(&'a (LabelKind, Score));

impl Scorer for Measured<'_> {
    fn name(&self) -> &str {
        &self.0.1.scorer
    }

    fn score(&mut self, _: &FeatureCard, label: &Label) -> Result<Option<Score>, InterpretError> {
        Ok((label.kind == self.0.0).then(|| self.0.1.clone()))
    }
}

/// Asks what `prepare` wants to know of every feature that goes on, and lets `hear` have all of its answers; where it
/// is to ask `again`, those from earlier times that say nothing are asked for anew. Says what ended the
/// asking, if anything did; who lacks an answer goes no further.
pub(super) fn ask(
    endpoint: &Endpoint,
    observer: &dyn Observer,
    works: &mut [Work],
    heard: &mut dyn FnMut(&Spent),
    (again, says_nothing): (bool, fn(&Reply) -> bool),
    prepare: impl Fn(&Work) -> Vec<Request>,
    hear: impl Fn(&mut Work, &[Reply]),
) -> Option<EndpointError> {
    let prepared: Vec<Vec<Request>> =
        works.iter().map(|work| if work.is_going() { prepare(work) } else { Vec::new() }).collect();
    let requests: Vec<Request> = prepared.iter().flatten().cloned().collect();
    let forgotten = match again {
        true => requests.iter().try_for_each(|request| endpoint.forget_where(request, says_nothing)),
        false => Ok(()),
    };
    if let Err(error) = forgotten {
        works.iter_mut().filter(|work| work.is_going()).for_each(|work| work.state = State::Unfinished);
        return Some(error);
    }
    let answered = endpoint.ask_all(&requests, observer, heard);
    let mut from = 0;
    for (work, own) in works.iter_mut().zip(&prepared).filter(|(_, own)| !own.is_empty()) {
        let places = from..from + own.len();
        from = places.end;
        let refused = answered.refused.iter().find(|(at, _)| places.contains(at));
        let replies: Option<Vec<Reply>> = answered.replies[places].iter().cloned().collect();
        match (replies, refused) {
            (Some(replies), _) => hear(work, &replies),
            (None, Some((_, error))) => work.state = State::LeftOut(error.to_string()),
            (None, None) => work.state = State::Unfinished,
        }
    }
    answered.stopped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use untangle_schema::Histogram;

    #[test]
    fn both_labels_come_with_the_source_and_each_with_its_scores() {
        let card = FeatureCard {
            feature: 1,
            labels: Vec::new(),
            held_out_firings: 0,
            density: 0.0,
            max_activation: 1.0,
            mean_activation: 1.0,
            examples: Vec::new(),
            sampled: Vec::new(),
            banded: Vec::new(),
            histogram: Histogram::default(),
            top_logits: Vec::new(),
            bottom_logits: Vec::new(),
            neighbours: Vec::new(),
            ..FeatureCard::default()
        };
        let mut work = Work::new(card, Material::default());
        assert!(work.labels("llm:x").expect("none").is_empty());
        (work.label, work.output) = (Some("bridges".to_owned()), Some("names".to_owned()));
        let score = |scorer: &str, value| {
            let (scorer, interval, detail) = (scorer.to_owned(), Some((0.5, 1.0)), BTreeMap::new());
            Score { judge: None, scorer, value, interval, floor: None, control: None, n: 8, detail }
        };
        work.scores = vec![(LabelKind::Input, score("detection", 1.0))];
        let labels = work.labels("llm:x").expect("two");
        let brief: Vec<_> = labels.iter().map(|l| (l.kind, &l.source[..], &l.text[..], l.scores.len())).collect();
        assert_eq!(brief, [(LabelKind::Input, "llm:x", "bridges", 1), (LabelKind::Output, "llm:x", "names", 0)]);
        let mut again = Work::labelled(FeatureCard { labels, ..work.card }, Material::default(), "llm:x");
        assert_eq!((again.label.as_deref(), again.output.as_deref()), (Some("bridges"), Some("names")));
        again.scores = vec![(LabelKind::Input, score("fuzzing", 0.5)), (LabelKind::Input, score("detection", 0.75))];
        let labels = again.rescored("llm:x");
        let values: Vec<f64> = labels[0].scores.iter().map(|score| score.value).collect();
        assert_eq!((values, labels[1].scores.len()), (vec![0.5, 0.75], 0), "each score once");
        assert!(again.rescored("llm:y").is_empty());
    }
}
