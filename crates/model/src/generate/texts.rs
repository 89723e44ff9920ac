//! The tokens of all rows of a batch, and the passes that read them.

use super::request::Request;
use crate::cache::KvCache;
use crate::error::ModelError;
use crate::hook::{Hook, Phase};
use crate::input::{Input, Logits};
use crate::language_model::LanguageModel;
use tch::{Device, Tensor};

/// A token where a text has none: any will do, as nobody sees it.
const PADDING: i64 = 0;

/// Logits that are held at a time where those after every token are asked for: 64 MiB (chosen).
pub const LOGITS_AT_ONCE: u64 = 1 << 24;

/// All tokens of all rows, side by side: padding at the left of shorter prompts, so that the last column is everyone's last
/// token. Where prompts are of one length there is no padding, and rows that have ended go on with tokens that nobody reads;
/// otherwise they go on with padding, so that a row that fills its context can end while others go on.
pub(super) struct Texts<'a> {
    model: &'a LanguageModel,
    cache: KvCache,
    /// Columns of the prompts.
    prompt: usize,
    /// Columns in all.
    columns: usize,
    rows: Vec<Text>,
    /// Columns that there will be at most.
    most: usize,
}

/// The tokens of one row.
struct Text {
    /// Columns before the first token.
    padding: usize,
    tokens: Vec<u32>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(model: &'a LanguageModel, requests: &[Request]) -> Result<Self, ModelError> {
        let prompt = requests.iter().map(|request| request.prompt.len()).max().unwrap_or(0);
        let text = |request: &Request| Text { padding: prompt - request.prompt.len(), tokens: request.prompt.clone() };
        let rows: Vec<Text> = requests.iter().map(text).collect();
        // A text ends where it was asked to, or where its context is full.
        let tokens = |request: &Request| {
            let asked = request.prompt.len().saturating_add(request.options.max_new_tokens);
            asked.min(model.max_context().max(request.prompt.len()))
        };
        let most = rows.iter().zip(requests).map(|(row, request)| row.padding + tokens(request)).max().unwrap_or(0);
        let cache = KvCache::new(model.config()).at_most(most);
        let texts = Self { model, cache, prompt, columns: prompt, rows, most };
        let longest = requests.iter().map(|request| request.prompt.len() + request.options.max_new_tokens).max();
        match model.config().long_text_border() {
            // All tokens of a row that outgrows the border pass again, which the rows of a batch can only do together.
            Some(border) if texts.is_ragged() && longest.unwrap_or(0) > border => Err(ModelError::Input {
                what: "prompts of one batch",
                found: "of different lengths".to_owned(),
                expected: format!("one length, as texts of this model may grow beyond {border} tokens"),
            }),
            _ => Ok(texts),
        }
    }

    fn is_ragged(&self) -> bool {
        self.rows.iter().any(|row| row.padding > 0)
    }

    /// The tokens of a row.
    pub(super) fn text(&self, row: usize) -> &[u32] {
        &self.rows[row].tokens
    }

    /// Appends a token to every row that goes on.
    pub(super) fn push(&mut self, chosen: &[Option<u32>]) {
        let ragged = self.is_ragged();
        self.columns += 1;
        for (row, token) in self.rows.iter_mut().zip(chosen) {
            row.tokens.extend(token.or((!ragged).then_some(PADDING as u32)));
        }
    }

    /// The logits after the last token, `[batch][vocab]`, by a pass over what the cache does not hold; where the model
    /// turns the tokens of texts of this length by other angles, over all tokens again.
    pub(super) fn last_logits(&mut self, hook: &mut dyn Hook) -> Result<Vec<Vec<f32>>, ModelError> {
        if self.cache.is_outgrown_by(self.columns, self.model.config()) {
            self.cache = KvCache::for_length(self.model.config(), self.columns).at_most(self.most);
        }
        let mut logits = None;
        for (end, phase) in [(self.prompt, Phase::Prompt), (self.columns, Phase::Generated)] {
            if self.cache.len() < end {
                logits = Some(self.pass(end, phase, Logits::Last, hook)?);
            }
        }
        Ok(rows_of(&logits.expect("every pass but the first follows a push")))
    }

    /// The same of prompts that nothing has read yet, in passes over some columns at a time; `read` receives the first
    /// column of each, and the logits after each of them, `[batch, n, vocab]`.
    pub(super) fn all_logits(
        &mut self,
        hook: &mut dyn Hook,
        read: &mut dyn FnMut(usize, &Tensor),
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let at_once = (LOGITS_AT_ONCE as usize / (self.rows.len() * self.model.vocab_size()).max(1)).max(1);
        self.cache = KvCache::for_length(self.model.config(), self.columns).at_most(self.most);
        loop {
            let (start, end) = (self.cache.len(), (self.cache.len() + at_once).min(self.prompt));
            let logits = self.pass(end, Phase::Prompt, Logits::All, hook)?;
            read(start, &logits);
            if end == self.prompt {
                return Ok(rows_of(&logits.narrow(1, -1, 1)));
            }
        }
    }

    /// Columns before the first token of a row.
    pub(super) fn padding(&self, row: usize) -> usize {
        self.rows[row].padding
    }

    /// Some of the rows. What was read of prompts only in part is read anew.
    pub(super) fn some(&self, rows: &[usize]) -> Self {
        let first = self.first_of(rows);
        let kept = rows.iter().map(|row| &self.rows[*row]);
        let kept = kept.map(|row| Text { padding: row.padding - first, tokens: row.tokens.clone() }).collect();
        let most = self.most - first;
        let cache = match self.cache.len() < self.prompt {
            true => KvCache::new(self.model.config()).at_most(most),
            false => self.cache.some(&numbers(rows), first as i64),
        };
        let (prompt, columns) = (self.prompt.saturating_sub(first), self.columns - first);
        Self { model: self.model, cache, prompt, columns, rows: kept, most }
    }

    /// The same in place; `rows` are in ascending order.
    pub(super) fn keep(&mut self, rows: &[usize]) {
        let first = self.first_of(rows);
        match self.cache.len() < self.prompt {
            true => self.cache = KvCache::new(self.model.config()).at_most(self.most - first),
            false => self.cache.keep(&numbers(rows), first as i64),
        }
        let mut at = 0;
        self.rows.retain(|_| {
            at += 1;
            rows.binary_search(&(at - 1)).is_ok()
        });
        self.rows.iter_mut().for_each(|row| row.padding -= first);
        self.prompt = self.prompt.saturating_sub(first);
        (self.columns, self.most) = (self.columns - first, self.most - first);
    }

    /// The first column in which one of some rows has a token.
    fn first_of(&self, rows: &[usize]) -> usize {
        rows.iter().map(|row| self.rows[*row].padding).min().unwrap_or(0)
    }

    /// Takes in other texts behind its own. Of both, all but the last token of every row has been read.
    pub(super) fn absorb(&mut self, mut other: Self) {
        let columns = self.columns.max(other.columns);
        for texts in [&mut *self, &mut other] {
            let more = columns - texts.columns;
            texts.rows.iter_mut().for_each(|row| row.padding += more);
            texts.most += more;
        }
        self.most = self.most.max(other.most);
        self.cache.absorb(&other.cache);
        self.rows.append(&mut other.rows);
        // Prompts end at columns of their own now, and all of them have been read.
        (self.columns, self.prompt) = (columns, 0);
    }

    /// One pass over every row's columns up to `end`; the logits after the last of them, `[batch, 1, vocab]`, or after
    /// each, `[batch, n, vocab]`.
    fn pass(&mut self, end: usize, phase: Phase, of: Logits, hook: &mut dyn Hook) -> Result<Tensor, ModelError> {
        let (start, batch) = (self.cache.len(), self.rows.len() as i64);
        let (mut ids, mut real) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let tokens = (start..end).map(|column| row.tokens.get(column.wrapping_sub(row.padding)));
            tokens.for_each(|token| {
                ids.push(token.map_or(PADDING, |token| i64::from(*token)));
                real.push(token.is_some());
            });
        }
        let device = self.model.device();
        let of_batch = |tensor: Tensor| tensor.view([batch, -1]).to_device(device); // [batch, end - start]
        let tokens = of_batch(Tensor::from_slice(&ids));
        let mask = real.contains(&false).then(|| of_batch(Tensor::from_slice(&real)));
        let input = Input { tokens: &tokens, mask: mask.as_ref(), phase, logits: of };
        let logits = self.model.forward_with(&input, Some(&mut self.cache), hook)?;
        Ok(logits.expect("a hook without a last point does not end a pass"))
    }
}

/// Rows as indices of tensors.
fn numbers(rows: &[usize]) -> Vec<i64> {
    rows.iter().map(|row| *row as i64).collect()
}

/// Logits `[batch, 1, vocab]` as rows.
fn rows_of(logits: &Tensor) -> Vec<Vec<f32>> {
    Vec::try_from(logits.squeeze_dim(1).to_device(Device::Cpu)).expect("two dimensions of f32 are rows of f32")
}
