//! All of an answer at once.

use super::asking::Events;
use crate::desk::{Event, Placed};
use crate::problem::Problem;
use crate::wire::writing::FinishReason;
use untangle_model::Scored;

/// A text that has ended.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) text: String,
    pub(super) prompt: Vec<Scored>,
    pub(super) tokens: Vec<Placed>,
    pub(super) n_tokens: usize,
    reason: Option<FinishReason>,
}

impl Gathered {
    pub(super) fn reason(&self) -> FinishReason {
        self.reason.unwrap_or(FinishReason::Length)
    }
}

/// Waits until all texts have ended.
pub(super) async fn gather(events: &mut Events, texts: usize) -> Result<Vec<Gathered>, Problem> {
    let mut gathered: Vec<Gathered> = (0..texts).map(|_| Gathered::default()).collect();
    let mut left = texts;
    while left > 0 {
        match events.recv().await {
            None => return Err(Problem::closing()),
            Some(Event::Failed(problem)) => return Err(problem),
            Some(Event::Accepted { .. } | Event::Place { .. }) => {}
            Some(Event::Prompt { text, scores }) => gathered[text].prompt = scores,
            Some(Event::Piece { text, piece, tokens }) => {
                gathered[text].text += &piece;
                gathered[text].tokens.extend(tokens);
            }
            Some(Event::Ended { text, reason, tokens }) => {
                (gathered[text].reason, gathered[text].n_tokens) = (Some(reason), tokens);
                left -= 1;
            }
        }
    }
    Ok(gathered)
}
