//! An answer piece by piece, as server-sent events: `data: {…}`, and `data: [DONE]` at the end.
//!
//! Where a text waits, comments (`: 3 texts before this one`) say where it stands; clients pass over them. A fault that comes
//! when pieces have been sent is an event of its own, `data: {"error": …}`, after which nothing comes.

use super::asking::Events;
use crate::desk::{Event, Placed};
use crate::problem::Problem;
use crate::wire::writing::FinishReason;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use untangle_model::Scored;

/// What an answer's pieces look like.
pub(super) trait Pieces: Send + Unpin + 'static {
    /// What comes before anything is written.
    fn begin(&mut self) -> Vec<String>;
    /// Scores of a prompt.
    fn prompt(&mut self, text: usize, scores: Vec<Scored>) -> Vec<String>;
    /// A text goes on.
    fn piece(&mut self, text: usize, piece: String, tokens: Vec<Placed>) -> String;
    /// A text has ended, after so many tokens.
    fn ended(&mut self, text: usize, reason: FinishReason, tokens: usize) -> String;
    /// What comes when all have.
    fn end(&mut self) -> Option<String>;
}

/// A value as the data of an event.
pub(super) fn data(value: &impl Serialize) -> String {
    // JSON of these types cannot fail, and has no line of its own.
    format!("data: {}\n\n", serde_json::to_string(value).unwrap_or_default())
}

/// The answer that has these pieces, of so many texts, behind so many of others.
pub(super) fn stream(mut pieces: impl Pieces, events: Events, texts: usize, before: usize) -> Response {
    let first = if before > 0 { place(before) } else { String::new() } + &pieces.begin().concat();
    let body = Stream { events, pieces, left: texts, first: (!first.is_empty()).then_some(first), is_over: false };
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response()
}

/// A comment that says where a text stands.
fn place(before: usize) -> String {
    let texts = if before == 1 { "text" } else { "texts" };
    format!(": {before} {texts} before this one\n\n")
}

struct Stream<P> {
    events: Events,
    pieces: P,
    left: usize,
    first: Option<String>,
    is_over: bool,
}

impl<P: Pieces> Stream<P> {
    /// What an event is on the wire; nothing where it is none.
    fn write(&mut self, event: Option<Event>) -> String {
        match event {
            None => self.fail(&Problem::closing()),
            Some(Event::Failed(problem)) => self.fail(&problem),
            Some(Event::Accepted { .. }) => String::new(),
            Some(Event::Place { before }) => place(before),
            Some(Event::Prompt { text, scores }) => self.pieces.prompt(text, scores).concat(),
            Some(Event::Piece { text, piece, tokens }) => self.pieces.piece(text, piece, tokens),
            Some(Event::Ended { text, reason, tokens }) => {
                let mut written = self.pieces.ended(text, reason, tokens);
                self.left -= 1;
                if self.left == 0 {
                    self.is_over = true;
                    written.extend(self.pieces.end());
                    written += "data: [DONE]\n\n";
                }
                written
            }
        }
    }

    fn fail(&mut self, problem: &Problem) -> String {
        self.is_over = true;
        data(&problem.body())
    }
}

impl<P: Pieces> http_body::Body for Stream<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(first)))));
        }
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            let Poll::Ready(event) = self.events.poll_recv(context) else { return Poll::Pending };
            let written = self.write(event);
            if !written.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(written)))));
            }
        }
    }
}
