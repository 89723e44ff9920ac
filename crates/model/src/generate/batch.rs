//! Texts that are written side by side, which others join, and which leave, between two tokens.
//!
//! ```text
//! batch   = begin(first)         prompts pass together, padded at the left
//! batch  .  step(hook)           every text gets its next token; those that end leave
//! joining = begin(others)        meanwhile others come
//! joining.  step(hook of these)  their prompts pass, and each has its first token
//! batch  .  absorb(joining)      from here on all are stepped together
//! ```
//!
//! Every text is what it is alone, whoever joins and leaves ([`super::generate_batch`] is the reference). A pass that fails
//! changes nothing, so that the batch can be taken [apart](Batch::apart) and the text found that is at fault.

use super::request::{Request, StopReason};
use super::row::{Row, check};
use super::scores::{Scored, Wanted, score};
use super::texts::Texts;
use crate::error::ModelError;
use crate::hook::{Hook, NoHook};
use crate::language_model::LanguageModel;
use std::ops::ControlFlow;
use tch::Tensor;

/// A text that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// By what the caller knows it.
    pub key: u64,
    /// The prompt and how it is continued.
    pub request: Request,
    /// What is to be scored.
    pub wanted: Wanted,
}

/// What is told of a text.
#[derive(Debug)]
pub enum Told {
    /// Its prompt was read, and these are the scores of all of its tokens but the first.
    Prompt(Vec<Scored>),
    /// A token was chosen.
    Token(u32, Option<Scored>),
    /// It has ended, and has left.
    Ended(StopReason),
    /// It cannot go on, and has left.
    Failed(ModelError),
}

/// Is told what happens to texts, by key; a break ends the text.
pub type Listener<'l> = dyn FnMut(u64, Told) -> ControlFlow<()> + 'l;

/// Texts that are written side by side.
pub struct Batch<'a> {
    model: &'a LanguageModel,
    texts: Texts<'a>,
    writing: Vec<Writing>,
    /// Whether no prompt was read yet.
    is_new: bool,
}

/// One of them.
struct Writing {
    key: u64,
    row: Row,
    wanted: Wanted,
    /// Tokens of its prompt.
    prompt: usize,
    /// The prompt's scores as far as it was read; none where one of them is not a number.
    scores: Option<Vec<Scored>>,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("keys", &self.keys()).field("is_new", &self.is_new).finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    /// Texts none of which has been read.
    ///
    /// # Errors
    /// A prompt is empty or does not fit the context, settings are out of range, or there are several where texts of the model
    /// are written [alone](Batch::takes_others).
    pub fn begin(model: &'a LanguageModel, entries: Vec<Entry>) -> Result<Self, ModelError> {
        entries.iter().try_for_each(|entry| check(model, &entry.request, &NoHook))?;
        if entries.len() > 1 && !Self::takes_others(model) {
            return Err(alone(entries.len()));
        }
        let requests: Vec<Request> = entries.iter().map(|entry| entry.request.clone()).collect();
        let writing = |entry: Entry| Writing {
            key: entry.key,
            row: Row::new(&entry.request),
            wanted: entry.wanted,
            prompt: entry.request.prompt.len(),
            scores: Some(Vec::new()),
        };
        let texts = Texts::new(model, &requests)?;
        Ok(Self { model, texts, writing: entries.into_iter().map(writing).collect(), is_new: true })
    }

    /// Whether texts of the model can join others: not where those that grow long pass again as a whole (LongRoPE).
    pub fn takes_others(model: &LanguageModel) -> bool {
        model.long_text_border().is_none()
    }

    /// The keys of its texts, in the order of the rows that hooks see.
    pub fn keys(&self) -> Vec<u64> {
        self.writing.iter().map(|writing| writing.key).collect()
    }

    /// The number of tokens of each prompt, in the same order.
    pub fn prompts(&self) -> Vec<usize> {
        self.writing.iter().map(|writing| writing.prompt).collect()
    }

    /// Whether no text is left.
    pub fn is_empty(&self) -> bool {
        self.writing.is_empty()
    }

    /// Has the texts of another batch join. Both have been stepped.
    ///
    /// # Errors
    /// When texts of the model are written [alone](Batch::takes_others), or a prompt of one of both was not read.
    pub fn absorb(&mut self, other: Batch<'a>) -> Result<(), ModelError> {
        if other.is_empty() || self.is_empty() {
            if !other.is_empty() {
                *self = other;
            }
            return Ok(());
        }
        if !Self::takes_others(self.model) {
            return Err(alone(self.writing.len() + other.writing.len()));
        }
        if self.is_new || other.is_new {
            let (found, expected) = ("of prompts that were not read".to_owned(), "a step of both before".to_owned());
            return Err(ModelError::Input { what: "batch", found, expected });
        }
        self.texts.absorb(other.texts);
        self.writing.extend(other.writing);
        Ok(())
    }

    /// Every text in a batch of its own.
    pub fn apart(self) -> Vec<Batch<'a>> {
        let Batch { model, texts, writing, is_new } = self;
        let one = |(row, mut writing): (usize, Writing)| {
            if is_new {
                writing.scores = Some(Vec::new());
            }
            Batch { model, texts: texts.some(&[row]), writing: vec![writing], is_new }
        };
        writing.into_iter().enumerate().map(one).collect()
    }

    /// Has texts leave, without a word.
    pub fn remove(&mut self, leaves: impl Fn(u64) -> bool) {
        let stays = |at: &usize| !leaves(self.writing[*at].key);
        self.keep(&(0..self.writing.len()).filter(stays).collect::<Vec<_>>());
    }

    /// Reads what was not read, and gives every text its next token. The hook sees the rows in the order of [`Batch::keys`];
    /// it is told of [`Phase::Prompt`](crate::hook::Phase::Prompt) in the first step, perhaps in several passes.
    ///
    /// # Errors
    /// When a pass fails; the batch is then as it was.
    pub fn step(&mut self, hook: &mut dyn Hook, told: &mut Listener<'_>) -> Result<(), ModelError> {
        if let Some(last) = hook.last() {
            return Err(ModelError::NoLogits { last });
        }
        if self.is_empty() {
            return Ok(());
        }
        let logits = tch::no_grad(|| self.logits(hook))?;
        let (mut kept, mut chosen) = (Vec::new(), Vec::new());
        for (at, writing) in self.writing.iter_mut().enumerate() {
            if self.is_new && !writing.tell_prompt(told) {
                continue;
            }
            if let Some(token) = writing.go_on(&logits[at], self.texts.text(at), self.model, told) {
                kept.push(at);
                chosen.push(Some(token));
            }
        }
        self.is_new = false;
        self.keep(&kept);
        if !kept.is_empty() {
            self.texts.push(&chosen);
        }
        Ok(())
    }

    fn keep(&mut self, kept: &[usize]) {
        if kept.len() == self.writing.len() {
            return;
        }
        if !kept.is_empty() {
            self.texts.keep(kept);
        }
        let mut at = 0;
        self.writing.retain(|_| {
            at += 1;
            kept.binary_search(&(at - 1)).is_ok()
        });
    }

    /// The logits after the last tokens; on the way, the scores of prompts.
    fn logits(&mut self, hook: &mut dyn Hook) -> Result<Vec<Vec<f32>>, ModelError> {
        let scores_prompts = |writing: &Writing| writing.wanted.scores_prompt();
        if !self.is_new || !self.writing.iter().any(scores_prompts) {
            return self.texts.last_logits(hook);
        }
        let paddings: Vec<usize> = (0..self.writing.len()).map(|row| self.texts.padding(row)).collect();
        let prompts: Vec<Vec<u32>> = (0..self.writing.len()).map(|row| self.texts.text(row).to_vec()).collect();
        self.writing.iter_mut().for_each(|writing| writing.scores = Some(Vec::new()));
        let writing = &mut self.writing;
        self.texts.all_logits(hook, &mut |start, logits| {
            for (row, writing) in writing.iter_mut().enumerate().filter(|(_, writing)| scores_prompts(writing)) {
                let of_row = logits.select(0, row as i64); // [n, vocab]
                writing.read_prompt(start, &of_row, paddings[row], &prompts[row]);
            }
        })
    }
}

impl Writing {
    /// Takes in the logits after each column from `start` on, `[n, vocab]`: what follows is scored.
    fn read_prompt(&mut self, start: usize, logits: &Tensor, padding: usize, prompt: &[u32]) {
        let end = (start + logits.size()[0] as usize).min(padding + prompt.len() - 1);
        let first = start.max(padding);
        if first >= end {
            return;
        }
        let following = &prompt[first + 1 - padding..end + 1 - padding];
        let logits = logits.narrow(0, (first - start) as i64, (end - first) as i64);
        let scored = score(&logits, following, self.wanted.alternatives.unwrap_or(0));
        match (&mut self.scores, scored) {
            (Some(scores), Some(scored)) => scores.extend(scored),
            (scores, _) => *scores = None,
        }
    }

    /// Tells the prompt's scores, where they are wanted; whether the text goes on.
    fn tell_prompt(&mut self, told: &mut Listener<'_>) -> bool {
        let flow = match self.scores.take() {
            None => {
                let _ = told(self.key, Told::Failed(ModelError::NotFinite { n_tokens: self.prompt }));
                return false;
            }
            Some(scores) if self.wanted.scores_prompt() => told(self.key, Told::Prompt(scores)),
            Some(_) => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            self.row.stop = Some(StopReason::Cancelled);
        }
        true
    }

    /// Chooses the next token; none where the text ends.
    fn go_on(&mut self, logits: &[f32], text: &[u32], model: &LanguageModel, told: &mut Listener<'_>) -> Option<u32> {
        let mut chosen = None;
        if self.row.stop.is_none() {
            let sampling = self.row.options.sampling;
            let token = sampling.choose(logits, text, &mut self.row.rng).map(|token| token as u32);
            let scored = token.zip(self.wanted.alternatives).map(|(token, n)| {
                let logits = Tensor::from_slice(logits).unsqueeze(0); // [1, vocab]
                score(&logits, &[token], n)?.pop()
            });
            let (Some(token), None | Some(Some(_))) = (token, &scored) else {
                let _ = told(self.key, Told::Failed(ModelError::NotFinite { n_tokens: text.len() }));
                return None;
            };
            let is_part = self.row.accept(token, model, text.len());
            if is_part && told(self.key, Told::Token(token, scored.flatten())).is_break() {
                self.row.stop.get_or_insert(StopReason::Cancelled);
            }
            chosen = Some(token);
        }
        match self.row.stop {
            None => chosen,
            Some(stop) => {
                let _ = told(self.key, Told::Ended(stop));
                None
            }
        }
    }
}

fn alone(found: usize) -> ModelError {
    ModelError::Input {
        what: "batch",
        found: format!("of {found} texts"),
        expected: "one, as texts of this model that grow long pass again as a whole".to_owned(),
    }
}
