//! One text: from tokens to pieces that are certain, and to whoever asked for it.

use crate::desk::{Event, Placed};
use crate::problem::Problem;
use crate::wire::writing::FinishReason;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use tokio::sync::mpsc::UnboundedSender;
use untangle_interpret::Step;
use untangle_model::{Entry, ModelError, Scored, StopReason, TextStream, Tokenizer, Told};

/// A text whose prompt is not read.
pub(super) struct Waiting<'a> {
    pub(super) entry: Entry,
    pub(super) text: Text<'a>,
    /// The number of texts before it that was told last.
    pub(super) before: Option<usize>,
}

/// A text.
pub(super) struct Text<'a> {
    told: UnboundedSender<Event>,
    /// Its number among those of its request.
    index: usize,
    stream: TextStream<'a>,
    /// Scored tokens whose text is not yet certain.
    held: VecDeque<Placed>,
    /// Tokens that were chosen.
    tokens: usize,
    steps: Rc<[Step]>,
}

impl Waiting<'_> {
    /// Tells where it stands, if that has changed; of a request with several texts the first that waits does.
    pub(super) fn say(&mut self, before: usize) {
        if self.text.index == 0 && self.before != Some(before) {
            self.before = Some(before);
            self.text.send(Event::Place { before });
        }
    }
}

impl<'a> Text<'a> {
    pub(super) fn new(
        told: UnboundedSender<Event>,
        index: usize,
        tokenizer: &'a Tokenizer,
        prompt: &[u32],
        stop: &[String],
        steps: Rc<[Step]>,
    ) -> Self {
        let stream = TextStream::new(tokenizer, prompt, stop.to_vec());
        Text { told, index, stream, held: VecDeque::new(), tokens: 0, steps }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.told.is_closed()
    }

    /// Tells that its request cannot be answered.
    pub(super) fn fail(&self, problem: Problem) {
        self.send(Event::Failed(problem));
    }

    fn send(&self, event: Event) {
        // Whoever has left is noticed before the next token.
        let _ = self.told.send(event);
    }

    /// Hears what happened; a break where it is to end.
    pub(super) fn hear(&mut self, told: Told) -> Result<ControlFlow<()>, ModelError> {
        match told {
            Told::Prompt(scores) => self.send(Event::Prompt { text: self.index, scores }),
            Told::Token(token, scored) => {
                self.take(token, scored)?;
                if self.stream.has_stopped() || self.is_unwanted() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Told::Ended(stop) => self.end(stop)?,
            Told::Failed(error) => return Err(error),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn take(&mut self, token: u32, scored: Option<Scored>) -> Result<(), ModelError> {
        self.tokens += 1;
        let at = self.stream.decoded();
        self.held.extend(scored.map(|scored| Placed { scored, at }));
        let piece = self.stream.push(token)?;
        self.tell(piece, false);
        Ok(())
    }

    fn end(&mut self, stop: StopReason) -> Result<(), ModelError> {
        let rest = self.stream.finish()?;
        self.tell(rest, true);
        let reason = match stop {
            StopReason::EndOfSequence | StopReason::StopString => FinishReason::Stop,
            _ if self.stream.has_stopped() => FinishReason::Stop,
            StopReason::MaxNewTokens | StopReason::ContextFull | StopReason::Cancelled => FinishReason::Length,
        };
        self.send(Event::Ended { text: self.index, reason, tokens: self.tokens });
        Ok(())
    }

    /// Tells a piece with the tokens that it is of, where there is anything to tell. Tokens of words that ended the text are
    /// not told.
    fn tell(&mut self, piece: String, is_last: bool) {
        let (certain, all) = (self.stream.text().len(), is_last && !self.stream.has_stopped());
        let n = self.held.iter().take_while(|placed| all || placed.at < certain).count();
        let tokens: Vec<Placed> = self.held.drain(..n).collect();
        if !piece.is_empty() || !tokens.is_empty() {
            self.send(Event::Piece { text: self.index, piece, tokens });
        }
    }
}
