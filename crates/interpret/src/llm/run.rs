//! How do many features get their labels, so that a run that ends at any moment has lost nothing that was paid for?
//!
//! Features go through all questions in blocks. A block's questions of one kind are asked together, as many at a time as the
//! endpoint is to have; when the block is through, its labels are written and durable. Answers are kept where the endpoint keeps
//! them, so that the same command comes to the same place without asking.

use super::answers::{Named, label};
use super::judge::{Item, items, outcome, requests, scores};
use super::material::material;
use super::prompts::{self, Question};
use super::report::{LabelReport, Labelled, problem, source_of};
use super::round;
use super::work::{State, Work, ask};
use crate::database::{Database, DatabaseEditor, Query};
use crate::error::InterpretError;
use crate::excerpts::Excerpt;
use crate::hash::mix;
use crate::read::Reader;
use std::collections::{BTreeMap, BTreeSet};
use untangle_endpoint::{Endpoint, EndpointError, Reply, Request, Spent};
use untangle_schema::{Event, LabelKind, Nearness, Observer, Score, Unit};

/// Features of a block for every request that may be under way: enough that the last of a kind hardly matter.
const PER_REQUEST: usize = 2;
/// Features of a block at least.
const BLOCK: usize = 8;

/// What is asked about which features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPlan {
    /// The features, in the order in which they are labelled.
    pub features: Vec<usize>,
    /// Whether labels are judged.
    pub scores: bool,
    /// Whether labels of other features are judged on the same texts, which doubles the judge's work.
    pub controls: bool,
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
    let mut run = Run {
        database,
        endpoint,
        reader,
        plan,
        observer,
        excerpts: database.excerpts()?,
        rules: rules(database)?,
        made: Vec::new(),
        report: LabelReport { source: source_of(endpoint.model()), ..LabelReport::default() },
        stopped: None,
    };
    let total = plan.features.len() as u64;
    observer.event(Event::Started { task: "label", unit: Unit::Features, done: 0, total });
    for block in plan.features.chunks(BLOCK.max(PER_REQUEST * endpoint.parallel())) {
        let works = run.block(block)?;
        run.keep(works, editor)?;
        run.advanced(&endpoint.spent());
        if run.stopped.is_none() && observer.interrupted() {
            run.stopped = Some(EndpointError::Interrupted);
        }
        if run.stopped.is_some() {
            break;
        }
    }
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

/// Rules as labels, of the features whose rules hold best: controls where no other label is at hand.
fn rules(database: &Database) -> Result<Vec<(usize, String)>, InterpretError> {
    const RULES: usize = 64;
    let best = database.query(&Query { limit: Some(RULES), ..Query::default() })?;
    let mut rules = Vec::new();
    for summary in best {
        let card = database.card(summary.feature)?;
        rules.extend(card.labels.iter().find(|label| prompts::is_rule(label)).map(|l| (card.feature, l.text.clone())));
    }
    Ok(rules)
}

struct Run<'a> {
    database: &'a Database,
    endpoint: &'a Endpoint,
    reader: Option<&'a Reader<'a>>,
    plan: &'a LabelPlan,
    observer: &'a dyn Observer,
    excerpts: Vec<Excerpt>,
    /// Labels that need no language model.
    rules: Vec<(usize, String)>,
    /// Labels of this run, those of the block that is under way among them.
    made: Vec<(usize, String)>,
    report: LabelReport,
    stopped: Option<EndpointError>,
}

impl Run<'_> {
    /// Takes a block as far as it goes.
    fn block(&mut self, features: &[usize]) -> Result<Vec<Work>, InterpretError> {
        let mut works = features.iter().map(|feature| self.work(*feature)).collect::<Result<Vec<_>, _>>()?;
        self.name(&mut works);
        if let Some(reader) = self.reader {
            self.test(&mut works, reader)?;
            self.measure(&mut works, reader)?;
        }
        let named = works.iter().filter(|work| work.is_going());
        self.made.extend(named.filter_map(|work| Some((work.card.feature, work.label.clone()?))));
        if self.plan.scores {
            self.judge(&mut works);
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
        Ok(Work::new(card, material))
    }

    /// Tells how far it is.
    fn advanced(&self, spent: &Spent) {
        let done = (self.report.features.len() + self.report.left_out.len()) as u64;
        let figures = [("tokens", spent.tokens() as f64)];
        self.observer.event(Event::Advanced { done, figures: &figures });
    }

    /// Asks about those that go on, unless the asking has ended: then whoever has a question left is unfinished.
    fn ask(&mut self, works: &mut [Work], prepare: impl Fn(&Work) -> Vec<Request>, hear: impl Fn(&mut Work, &[Reply])) {
        if self.stopped.is_some() {
            let left = works.iter_mut().filter(|work| work.is_going() && !prepare(work).is_empty());
            left.for_each(|work| work.state = State::Unfinished);
            return;
        }
        let stopped = ask(self.endpoint, self.observer, works, &mut |spent| self.advanced(spent), prepare, hear);
        self.stopped = stopped;
    }

    /// Labels of both kinds.
    fn name(&mut self, works: &mut [Work]) {
        let prepare = |work: &Work| {
            let shown = &work.material.shown;
            let input = (!shown.is_empty()).then(|| prompts::label(shown, work.card.max_activation));
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
        self.ask(works, prepare, hear);
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
        self.ask(works, prepare, hear);
        let answers = answers.into_inner();
        for work in works.iter_mut().filter(|work| work.is_going()) {
            if let Some(answer) = answers.get(&work.card.feature) {
                round::test(work, reader, answer)?;
            }
        }
        self.ask(works, round::revision, |work, replies| round::revise(work, &replies[0]));
        Ok(())
    }

    /// Sensitivity, on texts that are written for it.
    fn measure(&mut self, works: &mut [Work], reader: &Reader<'_>) -> Result<(), InterpretError> {
        if !self.plan.scores {
            return Ok(());
        }
        let samples: BTreeMap<usize, Vec<String>> =
            works.iter().map(|work| (work.card.feature, self.samples(work))).collect();
        let prepare =
            |work: &Work| work.label.iter().map(|label| prompts::write(label, &samples[&work.card.feature])).collect();
        self.ask(works, prepare, |work, replies| round::take(work, &replies[0]));
        let mut floors = BTreeMap::new();
        for work in works.iter().filter(|_| !self.excerpts.is_empty()) {
            let fires = self.database.firings_of(work.card.feature)?.len();
            floors.insert(work.card.feature, fires as f64 / self.excerpts.len() as f64);
        }
        round::sensitivity(works, reader, &floors)
    }

    /// The label of another feature, as far as there is one: of this run, else a rule.
    fn other_label(&self, feature: usize, own: &str) -> Option<String> {
        let others = |labels: &[(usize, String)]| -> Vec<String> {
            let differs = |(other, text): &&(usize, String)| *other != feature && text != own;
            labels.iter().filter(differs).map(|(_, text)| text.clone()).collect()
        };
        let (made, rules) = (others(&self.made), others(&self.rules));
        let among = if made.is_empty() { rules } else { made };
        let at = mix(self.plan.seed ^ mix(feature as u64 + 1)) as usize;
        (!among.is_empty()).then(|| among[at % among.len()].clone())
    }

    /// Detection and fuzzing, by the label and by another one.
    fn judge(&mut self, works: &mut [Work]) {
        let seed = self.plan.seed;
        let mut sheets = BTreeMap::new();
        for work in works.iter().filter(|work| work.is_going()) {
            let Some(own) = &work.label else { continue };
            let other = self.plan.controls.then(|| self.other_label(work.card.feature, own)).flatten();
            let labels: Vec<String> = std::iter::once(own.clone()).chain(other).collect();
            let items = QUESTIONS.map(|question| items(question, &work.material, seed));
            sheets.insert(work.card.feature, Sheet { labels, items });
        }
        let prepare = |work: &Work| sheets.get(&work.card.feature).map_or(Vec::new(), Sheet::requests);
        let hear = |work: &mut Work, replies: &[Reply]| {
            work.scores.extend(sheets[&work.card.feature].scores(replies, work.material.near));
        };
        self.ask(works, prepare, hear);
    }

    /// Writes what is done.
    fn keep(&mut self, works: Vec<Work>, editor: &mut DatabaseEditor) -> Result<(), InterpretError> {
        for work in works {
            let feature = work.card.feature;
            match &work.state {
                State::Unfinished => continue,
                State::LeftOut(reason) => {
                    self.report.left_out.push((feature, reason.clone()));
                    continue;
                }
                State::Going => {}
            }
            let labels = work.labels(&self.report.source)?;
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

const QUESTIONS: [Question; 2] = [Question::Detection, Question::Fuzzing];

/// What judges are asked about a feature.
struct Sheet {
    /// Its own label, and that of another feature.
    labels: Vec<String>,
    /// The texts of every question.
    items: [Vec<Item>; 2],
}

impl Sheet {
    fn requests(&self) -> Vec<Request> {
        let of = |label: &String| {
            let questions = QUESTIONS.iter().zip(&self.items);
            questions.flat_map(|(question, items)| requests(*question, label, items)).collect::<Vec<_>>()
        };
        self.labels.iter().flat_map(of).collect()
    }

    /// What the answers to these requests come to.
    fn scores(&self, replies: &[Reply], near: usize) -> Vec<Score> {
        let each = replies.len() / self.labels.len();
        let (own, other) = replies.split_at(each);
        let (mut from, mut found) = (0, Vec::new());
        for (question, items) in QUESTIONS.into_iter().zip(&self.items).filter(|(_, items)| !items.is_empty()) {
            let places = from..from + items.len().div_ceil(prompts::PER_REQUEST);
            from = places.end;
            let control = other.get(places.clone()).map(|replies| outcome(items, replies));
            found.extend(scores(question, &outcome(items, &own[places]), control.as_ref(), near));
        }
        found
    }
}
