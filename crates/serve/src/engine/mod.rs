//! The one thread that has the model: takes jobs, lets their texts in, and writes all of them side by side.
//!
//! Between two tokens it looks who has come and who has gone. What comes is understood at once, so that a fault is told before
//! the text's turn; prompts are then read in the order of their arrival, as many at a time as there is room for, and join what
//! is being written. Every text has its own steps, and is what it is alone.
//!
//! Questions, which features fire in a text, are answered one between two tokens.
//!
//! - [`served`]: the model, and what comes with it
//! - [`steps`]: what interventions mean in this model
//! - [`readers`]: dictionaries that read texts
//! - [`text`]: one text: from tokens to pieces
//! - [`writers`]: the texts that are being written, by key

mod readers;
mod served;
mod steps;
mod text;
mod writers;

use crate::desk::{Desk, Event, Job};
use crate::error::ServeError;
use crate::limits::{GRACE, Limits, PROMPTS_AT_ONCE};
use crate::problem::Problem;
use readers::Readers;
pub use served::Served;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};
use steps::Interpreter;
use text::{Text, Waiting};
use untangle_interpret::steer::check_databases;
use untangle_interpret::{Spec, Steering};
use untangle_model::{Batch, Entry, ModelError, Request, Tokenizer};
use untangle_schema::{Event as Note, Observer};
use writers::Writers;

/// How long it waits for a job before it looks whether it is to stop (chosen).
const PAUSE: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Engine<'a> {
    served: Served<'a>,
    limits: Limits,
    interpreter: Interpreter<'a>,
    readers: Readers<'a>,
    waiting: VecDeque<Waiting<'a>>,
    batch: Option<Batch<'a>>,
    /// The hook of the batch, with the keys of the texts that it is for.
    hook: Option<(Vec<u64>, Steering<'a>)>,
    writers: Writers<'a>,
    tokenizer: &'a Tokenizer,
    next_key: u64,
}

impl<'a> Engine<'a> {
    /// An engine at rest.
    ///
    /// # Errors
    /// When a dictionary does not belong to the model, a database describes another one, or the model gives no text.
    pub(crate) fn new(served: Served<'a>, limits: Limits) -> Result<Self, ServeError> {
        let Served { model, dictionaries, .. } = served;
        if !model.has_unembedding() {
            return Err(ModelError::NoHead { model: model.identity().name }.into());
        }
        check_databases(dictionaries)?;
        Steering::new(model, dictionaries, &[])?;
        Ok(Engine {
            served,
            limits,
            interpreter: Interpreter::new(served),
            readers: Readers::new(served)?,
            waiting: VecDeque::new(),
            batch: None,
            hook: None,
            writers: Writers::default(),
            tokenizer: model.tokenizer()?,
            next_key: 0,
        })
    }

    /// Whether a dictionary reads texts.
    pub(crate) fn reads(&self, dictionary: usize) -> bool {
        self.readers.reads(dictionary)
    }

    /// Whether the model can be steered so.
    ///
    /// # Errors
    /// When it cannot under one of the names.
    pub(crate) fn check(&self, variants: &BTreeMap<String, Vec<Spec>>) -> Result<(), ServeError> {
        let refused = |name: &str, error| ServeError::Variant { name: name.to_owned(), source: error };
        for (name, specs) in variants {
            if *name == self.served.model.identity().name {
                return Err(ServeError::Named { name: name.clone() });
            }
            self.interpreter.meaning(specs, 0).map_err(|(_, error)| refused(name, error))?;
        }
        Ok(())
    }

    /// Works until the observer asks to stop; what is being written then may be finished within a few seconds.
    pub(crate) fn run(&mut self, desk: &Desk, observer: &dyn Observer) {
        let mut closing: Option<Instant> = None;
        loop {
            let idle = self.batch.is_none() && self.waiting.is_empty();
            for job in desk.take((idle && closing.is_none()).then_some(PAUSE)) {
                self.admit(job);
            }
            if observer.interrupted() && closing.is_none() {
                closing = Some(Instant::now());
                desk.close();
            }
            if let Some(since) = closing {
                self.waiting.drain(..).for_each(|waiting| waiting.text.fail(Problem::closing()));
                while let Some(question) = desk.question() {
                    let _ = question.answer.send(Err(Problem::closing()));
                }
                if self.batch.is_none() || since.elapsed() >= GRACE {
                    self.writers.fail_all(&Problem::closing());
                    return;
                }
            }
            self.forget_those_who_left();
            self.let_in();
            self.step();
            if let Some(question) = desk.question() {
                self.readers.answer(question).iter().for_each(|warning| observer.event(Note::Warning(warning)));
            }
            self.writers.take_warnings().iter().for_each(|warning| observer.event(Note::Warning(warning)));
            desk.say(self.waiting.len(), self.writers.len());
        }
    }

    /// Understands a job and has its texts wait.
    fn admit(&mut self, job: Job) {
        let steps = match self.interpreter.steps(&job.steering, job.of_name) {
            Ok(steps) => steps,
            Err(problem) => return drop(job.told.send(Event::Failed(problem))),
        };
        // Without those in whose place others were asked for.
        let steering = steps.iter().filter_map(|step| step.spec.as_ref()).map(ToString::to_string).collect();
        let accepted = Event::Accepted { steering, before: self.waiting.len() };
        if job.told.send(accepted).is_err() {
            return;
        }
        let Job { prompts, options, stop, wanted, told, .. } = job;
        let n = options.len();
        for (number, prompt) in prompts.into_iter().enumerate() {
            for (choice, options) in options.iter().enumerate() {
                let (key, request) = (self.next_key, Request { prompt: prompt.clone(), options: *options });
                self.next_key += 1;
                let index = number * n + choice;
                let text = Text::new(told.clone(), index, self.tokenizer, &prompt, &stop, Rc::clone(&steps));
                self.waiting.push_back(Waiting { entry: Entry { key, request, wanted }, text, before: None });
            }
        }
    }

    /// Gives up texts that nobody waits for any more.
    fn forget_those_who_left(&mut self) {
        self.waiting.retain(|waiting| !waiting.text.is_unwanted());
        let Some(batch) = &mut self.batch else { return };
        let gone = self.writers.remove_unwanted();
        if !gone.is_empty() {
            batch.remove(|key| gone.contains(&key));
        }
        if batch.is_empty() {
            self.batch = None;
        }
    }

    /// Reads the prompts of those who are next, and has them join.
    fn let_in(&mut self) {
        let writing = self.batch.as_ref().map_or(0, |batch| batch.keys().len());
        let room = match Batch::takes_others(self.served.model) {
            true => self.limits.batch.saturating_sub(writing),
            false => usize::from(writing == 0),
        };
        let (mut next, mut longest) = (Vec::new(), 0);
        while let Some(waiting) = self.waiting.front().filter(|_| next.len() < room) {
            longest = longest.max(waiting.entry.request.prompt.len());
            if !next.is_empty() && (next.len() + 1) * longest > PROMPTS_AT_ONCE {
                break;
            }
            next.extend(self.waiting.pop_front());
        }
        if next.is_empty() {
            return;
        }
        let entries = next.into_iter().map(|Waiting { entry, text, .. }| {
            self.writers.insert(entry.key, text);
            entry
        });
        let entries: Vec<Entry> = entries.collect();
        let keys: Vec<u64> = entries.iter().map(|entry| entry.key).collect();
        match Batch::begin(self.served.model, entries) {
            Ok(joining) => self.join(joining),
            Err(error) => self.writers.fail(&keys, &Problem::from(&error)),
        }
        self.say_places();
    }

    fn join(&mut self, joining: Batch<'a>) {
        for joining in self.stepped(joining) {
            match &mut self.batch {
                Some(batch) => {
                    let keys = joining.keys();
                    if let Err(error) = batch.absorb(joining) {
                        self.writers.fail(&keys, &Problem::from(&error));
                    }
                }
                none => *none = Some(joining),
            }
        }
    }

    /// Gives every text that is being written its next token.
    fn step(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let mut left = self.stepped(batch).into_iter();
        self.batch = left.next();
        if let Some(batch) = &mut self.batch {
            for other in left {
                let keys = other.keys();
                if let Err(error) = batch.absorb(other) {
                    self.writers.fail(&keys, &Problem::from(&error));
                }
            }
        }
    }

    /// A batch after a step; where that fails, those of its texts with which it does not, each in a batch of its own.
    fn stepped(&mut self, mut batch: Batch<'a>) -> Vec<Batch<'a>> {
        let Err(error) = self.step_of(&mut batch) else {
            return if batch.is_empty() { Vec::new() } else { vec![batch] };
        };
        let keys = batch.keys();
        if let [_] = keys[..] {
            self.writers.fail(&keys, &Problem::from(&error));
            return Vec::new();
        }
        batch.apart().into_iter().flat_map(|one| self.stepped(one)).collect()
    }

    fn step_of(&mut self, batch: &mut Batch<'a>) -> Result<(), ModelError> {
        let keys = batch.keys();
        let kept = self.hook.take().filter(|(of, _)| *of == keys);
        let mut hook = match kept {
            Some((_, hook)) => hook,
            None => {
                let steps: Vec<&[_]> = keys.iter().map(|key| self.writers.steps(*key)).collect();
                let hook = Steering::by_row(self.served.model, self.served.dictionaries, &steps);
                let hook = hook.map_err(|error| ModelError::Input {
                    what: "steering",
                    found: error.to_string(),
                    expected: "interventions that this model allows".to_owned(),
                })?;
                hook.behind(&batch.prompts())
            }
        };
        let writers = &mut self.writers;
        batch.step(&mut hook, &mut |key, told| writers.hear(key, told))?;
        self.hook = Some((keys, hook));
        Ok(())
    }

    /// Tells those who wait where they stand, where that has changed.
    fn say_places(&mut self) {
        for (before, waiting) in self.waiting.iter_mut().enumerate() {
            waiting.say(before);
        }
    }
}
