//! Which tokens are changed: `prompt`, `generated[0..10]`, `prompt[-1]`, `all['bridge']`, `prompt, not prompt[0]`.
//!
//! Items are joined by commas. A token is taken where one of the items takes it, or where there are only items with `not`, and
//! no item with `not` does. Places count from 0, a beginning-of-sequence token included; those of `prompt` and of `all` from
//! the beginning of the text, those of `generated` from the first new token. Negative ones, of `prompt` alone, count from the
//! end of the prompt. Ranges are half-open. Special tokens are never changed, whatever is written.

use super::scan::{OF_A_LABEL, Scan, quoted, unquoted};
use crate::intervene::Scope;
use std::fmt;

/// Which tokens are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Those that are taken; all where there are none.
    pub taken: Vec<Span>,
    /// Those of them that are not.
    pub left_out: Vec<Span>,
}

/// Some tokens of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Of which tokens.
    pub scope: Scope,
    /// Which of these.
    pub which: Which,
}

/// Which tokens of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    Every,
    /// The one at this place.
    At(i64),
    /// From the first place up to the second, that not included.
    Range(Option<i64>, Option<i64>),
    /// Tokens of this text, spaces around it aside.
    Text(String),
}

impl Positions {
    /// All tokens of a phase.
    pub fn of(scope: Scope) -> Self {
        Positions { taken: vec![Span { scope, which: Which::Every }], left_out: Vec::new() }
    }

    /// Reads what stands behind `at`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut positions = Positions::default();
        for item in Scan::new(text).split(",") {
            let item = item.trim();
            match item.strip_prefix("not ") {
                Some(item) => positions.left_out.push(span(item.trim())?),
                None => positions.taken.push(span(item)?),
            }
        }
        Ok(positions)
    }
}

fn span(text: &str) -> Result<Span, String> {
    let unknown = || {
        format!(
            "`{text}` says no tokens; say prompt, generated or all, with a place, a range or a text in brackets \
             (prompt[-1], generated[0..10], all['cat']); {OF_A_LABEL}"
        )
    };
    let (name, inside) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').ok_or_else(unknown)?)),
    };
    let scope = match name.trim() {
        "all" => Scope::All,
        "prompt" => Scope::Prompt,
        "generated" => Scope::Generated,
        _ => return Err(unknown()),
    };
    let which = inside.map_or(Ok(Which::Every), |inside| which(inside.trim()).ok_or_else(unknown))?;
    let negative = match which {
        Which::At(at) => at < 0,
        Which::Range(first, end) => first.is_some_and(|at| at < 0) || end.is_some_and(|at| at < 0),
        Which::Every | Which::Text(_) => false,
    };
    if negative && scope != Scope::Prompt {
        return Err(format!("`{text}`: only a prompt has an end to count from; negative places belong to it alone"));
    }
    if matches!(which, Which::Range(Some(first), Some(end)) if (first < 0) == (end < 0) && first >= end) {
        return Err(format!("`{text}` is empty: the end of a range is not part of it"));
    }
    Ok(Span { scope, which })
}

fn which(text: &str) -> Option<Which> {
    if let Some(text) = unquoted(text) {
        return (!text.is_empty()).then_some(Which::Text(text));
    }
    let place = |text: &str| match text.trim() {
        "" => Some(None),
        number => number.parse::<i64>().ok().map(Some),
    };
    match text.split_once("..") {
        Some((first, end)) => Some(Which::Range(place(first)?, place(end)?)),
        None => text.parse().ok().map(Which::At),
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = self.taken.iter().map(Span::to_string);
        let left_out = self.left_out.iter().map(|span| format!("not {span}"));
        f.write_str(&taken.chain(left_out).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |at: &Option<i64>| at.map(|at| at.to_string()).unwrap_or_default();
        let name = match self.scope {
            Scope::All => "all",
            Scope::Prompt => "prompt",
            Scope::Generated => "generated",
        };
        match &self.which {
            Which::Every => f.write_str(name),
            Which::At(at) => write!(f, "{name}[{at}]"),
            Which::Range(first, end) => write!(f, "{name}[{}..{}]", place(first), place(end)),
            Which::Text(text) => write!(f, "{name}[{}]", quoted(text)),
        }
    }
}
