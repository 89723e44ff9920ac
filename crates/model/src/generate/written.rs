//! What is generated, as text: told of piece by piece, and ended where given words come.

use super::generate_batch;
use super::request::{GenerateOptions, Request, StopReason};
use crate::error::ModelError;
use crate::hook::Hook;
use crate::language_model::LanguageModel;
use crate::tokenizer::Tokenizer;
use std::borrow::Cow;
use std::ops::ControlFlow;

/// A prompt, how it is continued, and what ends the text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRequest {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// How it is continued.
    pub options: GenerateOptions,
    /// Where one of these comes, the text ends before it.
    pub stop: Vec<String>,
}

/// What was written behind a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The text, without words that ended it.
    pub text: String,
    /// The tokens that were chosen; those of words that ended the text are among them.
    pub tokens: Vec<u32>,
    /// Why there is no more.
    pub stop: StopReason,
}

/// [`generate_batch`], as text. `on_text` receives the row and what is certain to follow in it: characters that are whole, and
/// that do not begin words that may end the text. The pieces of a row are its text; a break ends it.
///
/// # Errors
/// As [`generate_batch`], and where the model has no tokenizer.
pub fn generate_texts(
    model: &LanguageModel,
    requests: &[TextRequest],
    hook: &mut dyn Hook,
    on_text: &mut dyn FnMut(usize, &str) -> ControlFlow<()>,
) -> Result<Vec<Written>, ModelError> {
    let tokenizer = model.tokenizer()?;
    let mut streams: Vec<TextStream<'_>> =
        requests.iter().map(|request| TextStream::new(tokenizer, &request.prompt, &request.stop)).collect();
    let tokens = |request: &TextRequest| Request { prompt: request.prompt.clone(), options: request.options };
    let rows: Vec<Request> = requests.iter().map(tokens).collect();
    let mut failed = None;
    let continued = generate_batch(model, &rows, hook, &mut |row, token| match streams[row].push(token) {
        Err(error) => {
            failed.get_or_insert(error);
            ControlFlow::Break(())
        }
        Ok(piece) => {
            let told = if piece.is_empty() { ControlFlow::Continue(()) } else { on_text(row, &piece) };
            if streams[row].has_stopped() { ControlFlow::Break(()) } else { told }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut written = Vec::with_capacity(requests.len());
    for (row, (continuation, stream)) in continued.into_iter().zip(&mut streams).enumerate() {
        let rest = stream.finish()?;
        if !rest.is_empty() {
            // The row has ended, whatever is answered.
            let _ = on_text(row, &rest);
        }
        let stop = if stream.stopped { StopReason::StopString } else { continuation.stop };
        written.push(Written { text: std::mem::take(&mut stream.text), tokens: continuation.tokens, stop });
    }
    Ok(written)
}

/// Tokens of the prompt that are decoded with the first new ones, so that a space before the first word stays.
const BEFORE: usize = 5;

/// Tokens to text, piece by piece.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stop: Cow<'a, [String]>,
    tokens: Vec<u32>,
    /// First of the tokens that are decoded together.
    anchor: usize,
    /// First of those whose text is not yet known.
    read: usize,
    /// Decoded and not yet told.
    held: String,
    text: String,
    stopped: bool,
}

impl<'a> TextStream<'a> {
    /// Text behind `prompt` that ends before any of `stop`.
    pub fn new(tokenizer: &'a Tokenizer, prompt: &[u32], stop: impl Into<Cow<'a, [String]>>) -> Self {
        let tokens = prompt[prompt.len().saturating_sub(BEFORE)..].to_vec();
        let read = tokens.len();
        TextStream {
            tokenizer,
            stop: stop.into(),
            tokens,
            anchor: 0,
            read,
            held: String::new(),
            text: String::new(),
            stopped: false,
        }
    }

    /// Takes a token; what is certain to follow.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn push(&mut self, token: u32) -> Result<String, ModelError> {
        self.tokens.push(token);
        self.decode(false)?;
        Ok(self.release())
    }

    /// The end of the text: what was held back because it might have become something else.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn finish(&mut self) -> Result<String, ModelError> {
        if self.stopped {
            return Ok(String::new());
        }
        self.decode(true)?;
        let mut rest = self.release();
        if !self.stopped {
            let held = std::mem::take(&mut self.held);
            self.text.push_str(&held);
            rest.push_str(&held);
        }
        Ok(rest)
    }

    /// Bytes of the text so far, with what is held back because words that end the text may begin with it.
    pub fn decoded(&self) -> usize {
        self.text.len() + self.held.len()
    }

    /// The text so far, as far as it is certain.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether words came that end the text.
    pub fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Decodes what has become whole characters; `all` even if it has not.
    fn decode(&mut self, all: bool) -> Result<(), ModelError> {
        let before = self.tokenizer.decode(&self.tokens[self.anchor..self.read])?;
        let now = self.tokenizer.decode(&self.tokens[self.anchor..])?;
        // Half a character decodes to a replacement mark until the other half is there.
        let whole = all || !now.ends_with('\u{FFFD}');
        if let Some(new) = now.strip_prefix(before.as_str()).filter(|new| whole && !new.is_empty()) {
            self.held.push_str(new);
            (self.anchor, self.read) = (self.read, self.tokens.len());
        }
        Ok(())
    }

    /// What may be told of what is held.
    fn release(&mut self) -> String {
        let found =
            self.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| self.held.find(stop.as_str())).min();
        let certain = match found {
            Some(at) => {
                self.stopped = true;
                at
            }
            None => self.held.len() - self.longest_beginning(),
        };
        let piece: String = self.held.drain(..certain).collect();
        if self.stopped {
            self.held.clear();
        }
        self.text.push_str(&piece);
        piece
    }

    /// Bytes at the end of what is held with which words that end the text may begin.
    fn longest_beginning(&self) -> usize {
        let begins = |stop: &String| {
            let most = self.held.len().min(stop.len().saturating_sub(1));
            (1..=most).rev().find(|n| stop.is_char_boundary(*n) && self.held.ends_with(&stop[..*n])).unwrap_or(0)
        };
        self.stop.iter().map(begins).max().unwrap_or(0)
    }
}
