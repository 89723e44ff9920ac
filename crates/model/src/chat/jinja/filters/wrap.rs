//! How is a text wrapped to a width?
//!
//! As Python's `textwrap`, with white space kept as it is.

use super::super::arguments::{Given, int, optional_text, text as text_of, truth};
use super::super::budget::{Budget, Failure, Result};
use super::super::strings::lines;
use super::super::value::Value;
use std::mem::size_of;

/// What `textwrap` takes for white space.
fn is_blank(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

/// The filter `wordwrap`.
pub(super) fn apply(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    let [width, long, wrapstring, hyphens] =
        given.bind("wordwrap", ["width", "break_long_words", "wrapstring", "break_on_hyphens"], 0)?;
    let width = int(width.as_ref(), 79)?;
    let width = usize::try_from(width).ok().filter(|width| *width > 0);
    let width = width.ok_or_else(|| Failure::new("invalid width (must be > 0)"))?;
    let (long, hyphens) = (truth(long.as_ref(), true), truth(hyphens.as_ref(), true));
    let between = optional_text(wrapstring.as_ref(), "wrapstring")?.unwrap_or("\n");
    let text = text_of(value, "the value of 'wordwrap'")?;
    // Where words are divided at hyphens is a matter of a regular expression with many cases.
    if hyphens && text.split(is_blank).any(|word| word.trim_matches('-').contains('-') || word.contains("--")) {
        return Err(Failure::new(
            "the filter 'wordwrap' is supported only with break_on_hyphens=false where words have hyphens",
        ));
    }
    budget.claim_product(text.len(), 1 + size_of::<&str>())?;
    let mut wrapped = Vec::new();
    for line in lines(text, false) {
        let parts = wrap(line, width, long);
        if parts.is_empty() { wrapped.push("") } else { wrapped.extend(parts) }
    }
    budget.claim(text.len().saturating_add(wrapped.len().saturating_mul(between.len())))?;
    Ok(Value::text(wrapped.join(between)))
}

/// Words and the white space between them.
fn chunks(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let blank = is_blank(first);
        let end = rest.find(|c: char| is_blank(c) != blank).unwrap_or(rest.len());
        found.push(&rest[..end]);
        rest = &rest[end..];
    }
    found
}

/// The lines of a text without newlines, each a part of it.
fn wrap(line: &str, width: usize, long: bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut left: Vec<&str> = chunks(line);
    left.reverse();
    let blank = |chunk: &str| chunk.chars().all(is_blank);
    let start_of = |part: &str| part.as_ptr() as usize - line.as_ptr() as usize;
    while !left.is_empty() {
        if !out.is_empty() && left.last().is_some_and(|chunk| blank(chunk)) {
            left.pop();
        }
        let mut row: Vec<&str> = Vec::new();
        let mut length = 0;
        while let Some(chunk) = left.last() {
            // No more than decides, since what is too long is looked at again in every row.
            let size = chunk.chars().take(width.saturating_add(1)).count();
            if length + size > width {
                break;
            }
            length += size;
            row.extend(left.pop());
        }
        if let Some(chunk) = left.last().copied()
            && chunk.chars().nth(width).is_some()
        {
            if long {
                let room = width - length;
                let at = chunk.char_indices().nth(room).map_or(chunk.len(), |(at, _)| at);
                left.pop();
                left.push(&chunk[at..]);
                row.push(&chunk[..at]);
            } else if row.is_empty() {
                row.extend(left.pop());
            }
        }
        if row.last().is_some_and(|chunk| blank(chunk)) {
            row.pop();
        }
        if let (Some(first), Some(last)) = (row.first(), row.last()) {
            out.push(&line[start_of(first)..start_of(last) + last.len()]);
        }
    }
    out
}
