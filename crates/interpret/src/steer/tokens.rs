//! Is a token among those that are meant?

use super::grammar::{Positions, Span, Which};
use super::problem::SteerProblem;
use crate::error::InterpretError;
use crate::intervene::Scope;
use std::collections::BTreeSet;
use untangle_model::{LanguageModel, Phase};

/// [`Positions`] whose texts are token ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    taken: Vec<Meant>,
    left_out: Vec<Meant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Meant {
    scope: Scope,
    which: Ids,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ids {
    Range(Option<i64>, Option<i64>),
    Of(BTreeSet<i64>),
}

/// Where a token stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    /// Its id.
    pub(super) token: i64,
    /// Its place among the real tokens of its text.
    pub(super) place: i64,
    /// Tokens of the prompt, which come first.
    pub(super) prompt: i64,
    pub(super) phase: Phase,
}

impl Tokens {
    /// All tokens of a phase.
    pub fn of(scope: Scope) -> Self {
        Tokens { taken: vec![Meant { scope, which: Ids::Range(None, None) }], left_out: Vec::new() }
    }

    /// The tokens that are meant in texts of this model.
    ///
    /// # Errors
    /// When no token has a text that is said.
    pub fn resolve(positions: &Positions, model: &LanguageModel) -> Result<Self, InterpretError> {
        let all = |spans: &[Span]| spans.iter().map(|span| meant(span, model)).collect::<Result<Vec<_>, _>>();
        Ok(Tokens { taken: all(&positions.taken)?, left_out: all(&positions.left_out)? })
    }

    /// Whether every token among others is among these for sure: they are all tokens, all of the phase of the others, or the same.
    pub(super) fn hold_all_of(&self, others: &Self) -> bool {
        let whole = |span: &Meant| span.which == Ids::Range(None, None);
        let holds = |scope: Scope| {
            self.taken.is_empty()
                || self.taken.iter().any(|own| whole(own) && (own.scope == Scope::All || own.scope == scope))
        };
        let of_others = |other: &Meant| holds(other.scope);
        let all = holds(Scope::All) || (!others.taken.is_empty() && others.taken.iter().all(of_others));
        self == others || (all && self.left_out.is_empty())
    }

    /// Whether both are the same tokens for sure, however they are written.
    pub(super) fn are_those_of(&self, others: &Self) -> bool {
        self.hold_all_of(others) && others.hold_all_of(self)
    }

    pub(super) fn take(&self, stand: Stand) -> bool {
        let among = |spans: &[Meant]| spans.iter().any(|span| span.takes(stand));
        (self.taken.is_empty() || among(&self.taken)) && !among(&self.left_out)
    }
}

impl Tokens {
    /// Whether one of a prompt's tokens, or of so many that follow, may be among them; which tokens follow nobody knows. `special` says
    /// by id which are never changed.
    pub(super) fn may_be_among(&self, prompt: &[u32], new: i64, special: &[bool]) -> bool {
        let is_special = |id: i64| special.get(id as usize).copied().unwrap_or(false);
        let (n, spans) = (prompt.len() as i64, self.taken.iter().chain(&self.left_out));
        let knows_texts = spans.into_iter().any(|span| matches!(span.which, Ids::Of(_)));
        let stand = |place: i64, token, phase| Stand { token, place, prompt: n, phase };
        let ordinary = prompt.iter().map(|id| i64::from(*id)).zip(0..).filter(|(id, _)| !is_special(*id));
        let of_prompt = ordinary.into_iter().any(|(id, place)| self.take(stand(place, id, Phase::Prompt)));
        let can_be = |span: &Meant| match &span.which {
            Ids::Range(..) => true,
            Ids::Of(ids) => ids.iter().any(|id| !is_special(*id)),
        };
        let of_written = |span: &Meant| span.scope != Scope::Prompt && can_be(span);
        let reaches_new = self.taken.is_empty() || self.taken.iter().any(of_written);
        let of_new = || match knows_texts {
            true => new > 0 && reaches_new,
            false => (n..n + new).any(|place| self.take(stand(place, -1, Phase::Generated))),
        };
        of_prompt || of_new()
    }
}

impl Meant {
    fn takes(&self, stand: Stand) -> bool {
        let Stand { token, place, prompt, phase } = stand;
        let from_end = |at: i64| if at < 0 { prompt + at } else { at };
        let place = match (self.scope, phase) {
            (Scope::All, _) | (Scope::Prompt, Phase::Prompt) => place,
            (Scope::Generated, Phase::Generated) => place - prompt,
            (Scope::Prompt, Phase::Generated) | (Scope::Generated, Phase::Prompt) => return false,
        };
        match &self.which {
            Ids::Range(first, end) => {
                first.is_none_or(|first| from_end(first) <= place) && end.is_none_or(|end| place < from_end(end))
            }
            Ids::Of(ids) => ids.contains(&token),
        }
    }
}

fn meant(span: &Span, model: &LanguageModel) -> Result<Meant, InterpretError> {
    let which = match &span.which {
        Which::Every => Ids::Range(None, None),
        // What follows -1 is the end and no place of its own.
        Which::At(-1) => Ids::Range(Some(-1), None),
        Which::At(at) => Ids::Range(Some(*at), Some(at + 1)),
        Which::Range(first, end) => Ids::Range(*first, *end),
        Which::Text(text) => Ids::Of(ids_of(text, model)?),
    };
    Ok(Meant { scope: span.scope, which })
}

/// The tokens that read as a text, spaces around both aside where the text has none.
fn ids_of(text: &str, model: &LanguageModel) -> Result<BTreeSet<i64>, InterpretError> {
    let tokenizer = model.tokenizer()?;
    let bare = text.trim() == text;
    let reads = |id: &u32| {
        let own = tokenizer.token_text(*id);
        own == text || (bare && own.trim() == text)
    };
    let ids: BTreeSet<i64> = (0..model.vocab_size() as u32).filter(reads).map(i64::from).collect();
    match ids.is_empty() {
        false => Ok(ids),
        true => Err(SteerProblem::NoSuchToken { text: text.to_owned(), pieces: pieces(text, model)? }.into()),
    }
}

/// What a text is cut into.
fn pieces(text: &str, model: &LanguageModel) -> Result<Vec<String>, InterpretError> {
    let tokenizer = model.tokenizer()?;
    Ok(tokenizer.encode(text)?.into_iter().map(|id| tokenizer.token_text(id)).collect())
}

/// The token that a text is.
pub(super) fn token_of(text: &str, model: &LanguageModel) -> Result<i64, InterpretError> {
    let tokenizer = model.tokenizer()?;
    let exact = (0..model.vocab_size() as u32).find(|id| tokenizer.token_text(*id) == text);
    match (exact, &tokenizer.encode(text)?[..]) {
        (Some(id), _) => Ok(i64::from(id)),
        (None, [id]) => Ok(i64::from(*id)),
        _ => Err(SteerProblem::NoSuchToken { text: text.to_owned(), pieces: pieces(text, model)? }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which places of a prompt of five and four new tokens are taken, where every token's id is its place.
    fn taken(text: &str) -> Vec<i64> {
        let positions = Positions::parse(text).expect("valid");
        let which = |which: &Which| match which {
            Which::Every => Ids::Range(None, None),
            Which::At(-1) => Ids::Range(Some(-1), None),
            Which::At(at) => Ids::Range(Some(*at), Some(at + 1)),
            Which::Range(first, end) => Ids::Range(*first, *end),
            Which::Text(text) => Ids::Of([text.parse().expect("an id")].into()),
        };
        let all = |spans: &[Span]| -> Vec<Meant> {
            spans.iter().map(|span| Meant { scope: span.scope, which: which(&span.which) }).collect()
        };
        let tokens = Tokens { taken: all(&positions.taken), left_out: all(&positions.left_out) };
        let phase = |place| if place < 5 { Phase::Prompt } else { Phase::Generated };
        (0..9).filter(|at| tokens.take(Stand { token: *at, place: *at, prompt: 5, phase: phase(*at) })).collect()
    }

    #[test]
    fn places_count_from_where_they_say() {
        assert_eq!(taken("all"), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((taken("prompt"), taken("generated")), (vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8]));
        assert_eq!((taken("prompt[-1]"), taken("prompt[-5]"), taken("prompt[-6]")), (vec![4], vec![0], vec![]));
        assert_eq!((taken("prompt[-3..-1]"), taken("prompt[3..]")), (vec![2, 3], vec![3, 4]));
        assert_eq!(
            (taken("generated[0..2]"), taken("all[4..6]"), taken("generated[9]")),
            (vec![5, 6], vec![4, 5], vec![])
        );
        assert_eq!(taken("prompt[0], generated[-0..1], all['7']"), [0, 5, 7]);
        assert_eq!(taken("not prompt, not all['8']"), [5, 6, 7]);
        assert_eq!(taken("prompt, not prompt[1..4]"), [0, 4]);
    }
}
