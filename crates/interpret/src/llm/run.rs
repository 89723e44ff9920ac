//! How do many features get their labels, so that a run that ends at any moment has lost nothing that was paid for?
//!
//! Features go through all questions in blocks. A block's questions of one kind are asked together, as many at a time as the
//! endpoint is to have; when the block is through, its labels are written and durable. Answers are kept where the endpoint keeps
//! them, so that the same command comes to the same place without asking.

use super::answers::{self, Named, label, texts};
use super::blocks::Blocks;
use super::material::{Material, material};
use super::others::Others;
use super::prompts;
use super::report::{LabelReport, Labelled, problem, source_of};
use super::round;
use super::work::{State, Work, ask};
use crate::database::{Database, DatabaseEditor};
use crate::error::InterpretError;
use crate::excerpts::Excerpt;
use crate::read::Reader;
use std::collections::{BTreeMap, BTreeSet};
use untangle_endpoint::{Endpoint, EndpointError, Reply, Request, Spent};
use untangle_schema::{Event, LabelKind, Nearness, Observer, Unit};

/// Features of a block for every request that may be under way: enough that the last of a kind hardly matter.
const PER_REQUEST: usize = 2;
/// Features of a block at least.
const BLOCK: usize = 8;

/// What is done with features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// They are labelled, and the labels are judged.
    Label,
    /// The labels that they have of this source are judged, and stay as they are.
    Score(String),
}

/// What is asked about which features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPlan {
    /// What is done with them.
    pub task: Task,
    /// The features, in the order in which they are labelled.
    pub features: Vec<usize>,
    /// Whether labels are judged.
    pub scores: bool,
    /// Whether the judge says how strongly a feature fires on every token, too, which takes as long as all else together.
    pub simulate: bool,
    /// Whether labels of other features are judged on the same texts, which doubles the judge's work.
    pub controls: bool,
    /// Whether answers of earlier times that could not be understood are asked for again.
    pub again: bool,
    /// Seed of the choice of texts, of their order, and of the controls.
    pub seed: u64,
}

/// Labels the features of a plan and writes what is done into the database. `reader` is the studied model with its dictionary; without
/// it labels are not tested on new texts. The error beside the report is what ended the asking before the plan was done; all that the
/// report speaks of is in the database.
///
/// # Errors
/// When the database is damaged or cannot be written, or the studied model fails.
pub fn label_features(
    database: &Database,
    editor: &mut DatabaseEditor,
    endpoint: &Endpoint,
    reader: Option<&Reader<'_>>,
    plan: &LabelPlan,
    observer: &dyn Observer,
) -> Result<(LabelReport, Option<InterpretError>), InterpretError> {
    let source = match &plan.task {
        Task::Label => source_of(endpoint.model()),
        Task::Score(source) => source.clone(),
    };
    let others = Others::of(database)?;
    let mut run = Run {
        database,
        endpoint,
        reader,
        plan,
        observer,
        excerpts: database.excerpts()?,
        others: match &plan.task {
            Task::Label => others,
            Task::Score(source) => others.with_labels_of(database, source)?,
        },
        earlier: Vec::new(),
        tells_odds: None,
        report: LabelReport { source, ..LabelReport::default() },
        stopped: None,
    };
    let total = plan.features.len() as u64;
    observer.event(Event::Started { task: "label", unit: Unit::Features, done: 0, total });
    run.all(editor)?;
    if run.stopped.is_none() {
        observer.event(Event::Finished);
    }
    let Run { mut report, stopped, .. } = run;
    report.unfinished = plan.features.len() - report.features.len() - report.left_out.len();
    report.spent = endpoint.spent();
    // What was only not taken is no reason to go on without an answer at all.
    if stopped.is_none() && report.features.is_empty() && !report.left_out.is_empty() {
        let what = report.left_out.swap_remove(0).1;
        return Err(InterpretError::NothingAnswered { what });
    }
    Ok((report, stopped.map(InterpretError::from)))
}

/// A run that is under way.
pub(super) struct Run<'a> {
    pub(super) database: &'a Database,
    pub(super) endpoint: &'a Endpoint,
    pub(super) reader: Option<&'a Reader<'a>>,
    pub(super) plan: &'a LabelPlan,
    pub(super) observer: &'a dyn Observer,
    pub(super) excerpts: Vec<Excerpt>,
    /// What scores are compared with.
    pub(super) others: Others,
    /// Texts that were written for features of earlier blocks.
    pub(super) earlier: Vec<String>,
    /// Whether the endpoint tells probabilities, once it was asked for them.
    pub(super) tells_odds: Option<bool>,
    pub(super) report: LabelReport,
    pub(super) stopped: Option<EndpointError>,
}

impl Run<'_> {
    /// Takes block after block.
    fn all(&mut self, editor: &mut DatabaseEditor) -> Result<(), InterpretError> {
        let most = BLOCK.max(PER_REQUEST * self.endpoint.parallel());
        let mut blocks = Blocks::new(most, self.endpoint.budget());
        let mut left = &self.plan.features[..];
        while !left.is_empty() && self.stopped.is_none() {
            let before = self.endpoint.spent();
            let (block, others) = left.split_at(blocks.next(&before).min(left.len()));
            left = others;
            let works = self.block(block)?;
            // One of which there was no label to test or to judge cost little.
            let is_whole = |work: &Work| work.is_going() && (work.label.is_some() || work.is_of_output_alone());
            let any_whole = works.iter().any(is_whole);
            self.keep(works, editor)?;
            let spent = self.endpoint.spent();
            blocks.through(block.len(), any_whole, &before, &spent);
            self.advanced(&spent);
            if self.stopped.is_none() && self.observer.interrupted() {
                self.stopped = Some(EndpointError::Interrupted);
            }
        }
        Ok(())
    }

    /// Takes a block as far as it goes.
    fn block(&mut self, features: &[usize]) -> Result<Vec<Work>, InterpretError> {
        let mut works = features.iter().map(|feature| self.work(*feature)).collect::<Result<Vec<_>, _>>()?;
        if self.plan.task == Task::Label {
            self.name(&mut works);
            if let Some(reader) = self.reader {
                self.test(&mut works, reader)?;
            }
            for work in works.iter().filter(|work| work.is_going()) {
                for (kind, label) in [(LabelKind::Input, &work.label), (LabelKind::Output, &work.output)] {
                    label.iter().for_each(|label| self.others.add(work.card.feature, kind, label));
                }
            }
        }
        if self.plan.scores {
            if let Some(reader) = self.reader {
                self.measure(&mut works, reader)?;
                self.turn_up(&mut works, reader)?;
            }
            self.judge(&mut works);
            self.simulate(&mut works);
        }
        Ok(works)
    }

    fn work(&self, feature: usize) -> Result<Work, InterpretError> {
        let card = self.database.card(feature)?;
        let firings = self.database.firings_of(feature)?;
        let mut near = BTreeSet::new();
        for neighbour in card.neighbours.iter().filter(|neighbour| neighbour.kind == Nearness::Decoder) {
            near.extend(self.database.firings_of(neighbour.feature)?.into_keys());
        }
        let material = material(&card, &self.excerpts, &firings, &near, self.plan.seed);
        Ok(match &self.plan.task {
            Task::Label => Work::new(card, material),
            Task::Score(source) => Work::labelled(card, material, source),
        })
    }

    /// Tells how far it is.
    fn advanced(&self, spent: &Spent) {
        let done = (self.report.features.len() + self.report.left_out.len()) as u64;
        let figures = [("tokens", spent.tokens() as f64)];
        self.observer.event(Event::Advanced { done, figures: &figures });
    }

    /// Asks about those that go on, unless the asking has ended: then whoever has a question left is unfinished.
    pub(super) fn ask(
        &mut self,
        works: &mut [Work],
        says_nothing: fn(&Reply) -> bool,
        prepare: impl Fn(&Work) -> Vec<Request>,
        hear: impl Fn(&mut Work, &[Reply]),
    ) {
        if self.stopped.is_some() {
            let left = works.iter_mut().filter(|work| work.is_going() && !prepare(work).is_empty());
            left.for_each(|work| work.state = State::Unfinished);
            return;
        }
        let stopped = ask(
            self.endpoint,
            self.observer,
            works,
            &mut |spent| self.advanced(spent),
            (self.plan.again, says_nothing),
            prepare,
            hear,
        );
        self.stopped = stopped;
    }

    /// Labels of both kinds.
    fn name(&mut self, works: &mut [Work]) {
        let prepare = |work: &Work| {
            let Material { shown, missed, .. } = &work.material;
            let input = (!shown.is_empty()).then(|| prompts::label(shown, missed, work.card.max_activation));
            input.into_iter().chain(prompts::output(&work.card)).collect()
        };
        let hear = |work: &mut Work, replies: &[Reply]| {
            let mut replies = replies.iter();
            let mut next = |work: &mut Work| match replies.next().map(|reply| label(&reply.text)) {
                Some(Named::Label(label)) => Some(label),
                Some(Named::Mixed) => {
                    work.mixed += 1;
                    None
                }
                Some(Named::Nothing) => {
                    work.unparseable += 1;
                    None
                }
                None => None,
            };
            if !work.material.shown.is_empty() {
                work.label = next(work);
            }
            work.output = next(work);
        };
        self.ask(works, answers::names_nothing, prepare, hear);
    }

    /// Texts of the corpus that say what texts of its kind are like, and nothing of a feature that does not fire in them.
    fn samples(&self, work: &Work) -> Vec<String> {
        work.material.silent.iter().map(|piece| piece.tokens.concat()).collect()
    }

    /// The second round: labels are tested, and kept or changed.
    fn test(&mut self, works: &mut [Work], reader: &Reader<'_>) -> Result<(), InterpretError> {
        let samples: BTreeMap<usize, Vec<String>> =
            works.iter().map(|work| (work.card.feature, self.samples(work))).collect();
        let prepare =
            |work: &Work| work.label.iter().map(|label| prompts::probe(label, &samples[&work.card.feature])).collect();
        let answers = std::cell::RefCell::new(BTreeMap::new());
        let hear = |work: &mut Work, replies: &[Reply]| {
            answers.borrow_mut().insert(work.card.feature, replies[0].clone());
        };
        self.ask(works, |reply| texts(&reply.text).is_empty(), prepare, hear);
        let answers = answers.into_inner();
        for work in works.iter_mut().filter(|work| work.is_going()) {
            if let Some(answer) = answers.get(&work.card.feature) {
                round::test(work, reader, answer)?;
            }
        }
        self.ask(works, answers::names_nothing, round::revision, |work, replies| round::revise(work, &replies[0]));
        Ok(())
    }

    /// Sensitivity, on texts that are written for it.
    fn measure(&mut self, works: &mut [Work], reader: &Reader<'_>) -> Result<(), InterpretError> {
        let samples: BTreeMap<usize, Vec<String>> =
            works.iter().map(|work| (work.card.feature, self.samples(work))).collect();
        let prepare =
            |work: &Work| work.label.iter().map(|label| prompts::write(label, &samples[&work.card.feature])).collect();
        self.ask(works, |reply| texts(&reply.text).is_empty(), prepare, |work, replies| round::take(work, &replies[0]));
        let mut floors = BTreeMap::new();
        for work in works.iter().filter(|_| !self.excerpts.is_empty()) {
            let fires = self.database.firings_of(work.card.feature)?.len();
            floors.insert(work.card.feature, fires as f64 / self.excerpts.len() as f64);
        }
        round::sensitivity(works, reader, &floors, &mut self.earlier)
    }

    /// Writes what is done.
    fn keep(&mut self, works: Vec<Work>, editor: &mut DatabaseEditor) -> Result<(), InterpretError> {
        for mut work in works {
            let feature = work.card.feature;
            for (_, score) in &mut work.scores {
                score.judge = Some(self.endpoint.model().to_owned());
            }
            match &work.state {
                State::Unfinished => continue,
                State::LeftOut(reason) => {
                    self.report.left_out.push((feature, reason.clone()));
                    continue;
                }
                State::Going => {}
            }
            let labels = match &self.plan.task {
                Task::Label => work.labels(&self.report.source)?,
                Task::Score(source) => work.rescored(source),
            };
            for kind in [LabelKind::Input, LabelKind::Output] {
                match labels.iter().find(|label| label.kind == kind) {
                    Some(label) => editor.put_label(feature, label)?,
                    // One of an earlier run, on other examples, would be taken for what was found now.
                    None => editor.remove_label(feature, kind, &self.report.source)?,
                }
            }
            self.report.features.push(Labelled {
                feature,
                labels,
                before: work.before.clone(),
                tested: work.tested.len(),
                problem: problem(&work, self.plan.scores),
                unparseable: work.unparseable,
            });
        }
        editor.commit()
    }
}
