//! Which parts does a text have?
//!
//! Splitting, stripping, replacing.

use super::super::arguments::{Given, int, optional_text, size, text as text_of, truth};
use super::super::budget::{Budget, Failure, Result};
use super::super::unicode::is_space;
use super::super::value::Value;
use std::collections::HashSet;
use std::mem::size_of;

/// The method's value, none where it is none of these.
pub(super) fn call(budget: &Budget, text: &str, name: &str, given: &Given) -> Result<Option<Value>> {
    Ok(Some(match name {
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = given.bind(name, ["/chars"], 0)?;
            let chars = optional_text(chars.as_ref(), &format!("{name} arg"))?;
            budget.look_through(chars.unwrap_or(""))?;
            let (left, right) = (name != "rstrip", name != "lstrip");
            Value::new_text(budget, stripped(text, chars, left, right).to_owned())?
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = given.bind(name, ["/affix"], 1)?;
            let affix = affix.unwrap_or(Value::None);
            let affix = text_of(&affix, &format!("{name}() argument"))?;
            let cut = if name == "removeprefix" { text.strip_prefix(affix) } else { text.strip_suffix(affix) };
            Value::new_text(budget, cut.unwrap_or(text).to_owned())?
        }
        "replace" => {
            let [old, new, count] = given.bind(name, ["/old", "/new", "/count"], 2)?;
            let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
            let count = int(count.as_ref(), -1)?;
            let (old, new) = (text_of(&old, "replace() argument 1")?, text_of(&new, "replace() argument 2")?);
            Value::text(replaced(budget, text, old, new, count)?)
        }
        "split" | "rsplit" => {
            let [separator, count] = given.bind(name, ["sep", "maxsplit"], 0)?;
            let count = int(count.as_ref(), -1)?;
            let separator = optional_text(separator.as_ref(), "sep")?;
            split(budget, text, separator, usize::try_from(count).unwrap_or(usize::MAX), name == "rsplit")?
        }
        "partition" | "rpartition" => partition(budget, text, name, given)?,
        "splitlines" => {
            let [keep] = given.bind(name, ["keepends"], 0)?;
            let lines = lines(text, truth(keep.as_ref(), false));
            texts(budget, lines)?
        }
        "expandtabs" => {
            let [width] = given.bind(name, ["tabsize"], 0)?;
            Value::text(expanded(budget, text, size(width.as_ref(), 8)?)?)
        }
        _ => return Ok(None),
    }))
}

fn texts(budget: &Budget, parts: Vec<&str>) -> Result<Value> {
    budget.claim_product(parts.len(), 2 * size_of::<Value>())?;
    budget.claim(parts.iter().map(|part| part.len()).sum())?;
    Value::list(budget, parts.into_iter().map(Value::text).collect())
}

/// A text without these characters, or without white space, around it.
pub(crate) fn stripped<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let set: Option<HashSet<char>> = chars.map(|chars| chars.chars().collect());
    let taken = |c: char| set.as_ref().map_or_else(|| is_space(c), |set| set.contains(&c));
    let text = if left { text.trim_start_matches(taken) } else { text };
    if right { text.trim_end_matches(taken) } else { text }
}

/// `text.replace(old, new, count)`; a negative count is none.
pub(crate) fn replaced(budget: &Budget, text: &str, old: &str, new: &str, count: i128) -> Result<String> {
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() }.min(limit);
    budget.step(found as u64)?;
    budget.claim(text.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(text.replacen(old, new, limit))
}

fn split(budget: &Budget, text: &str, separator: Option<&str>, limit: usize, from_right: bool) -> Result<Value> {
    let Some(separator) = separator else {
        return texts(budget, if from_right { words_from_right(text, limit) } else { words(text, limit) });
    };
    if separator.is_empty() {
        return Err(Failure::new("empty separator"));
    }
    let parts = limit.saturating_add(1);
    let found: Vec<&str> = if from_right {
        let mut found: Vec<_> = text.rsplitn(parts, separator).collect();
        found.reverse();
        found
    } else {
        text.splitn(parts, separator).collect()
    };
    texts(budget, found)
}

/// The words between white space; the last is all that is left after `limit` of them.
fn words(text: &str, limit: usize) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = if found.len() < limit { rest.find(is_space) } else { None };
        let Some(end) = end else {
            // What is left keeps the white space inside it, and behind it unless words were left to find.
            found.push(rest);
            break;
        };
        found.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    found
}

fn words_from_right(text: &str, limit: usize) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let start = if found.len() < limit { rest.char_indices().rev().find(|(_, c)| is_space(*c)) } else { None };
        let Some((at, c)) = start else {
            found.push(rest);
            break;
        };
        found.push(&rest[at + c.len_utf8()..]);
        rest = rest[..at].trim_end_matches(is_space);
    }
    found.reverse();
    found
}

fn partition(budget: &Budget, text: &str, name: &str, given: &Given) -> Result<Value> {
    let [separator] = given.bind(name, ["/sep"], 1)?;
    let separator = separator.unwrap_or(Value::None);
    let separator = text_of(&separator, "sep")?;
    if separator.is_empty() {
        return Err(Failure::new("empty separator"));
    }
    budget.claim(text.len())?;
    let parts = if name == "partition" {
        text.split_once(separator).map_or([text, "", ""], |(left, right)| [left, separator, right])
    } else {
        text.rsplit_once(separator).map_or(["", "", text], |(left, right)| [left, separator, right])
    };
    Value::tuple(budget, parts.into_iter().map(Value::text).collect())
}

/// `text.splitlines(keep)`.
pub(crate) fn lines(text: &str, keep: bool) -> Vec<&str> {
    let ends = |c: char| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((at, end)) = rest.char_indices().find(|(_, c)| ends(*c)) {
        let length = if rest[at..].starts_with("\r\n") { 2 } else { end.len_utf8() };
        found.push(&rest[..if keep { at + length } else { at }]);
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        found.push(rest);
    }
    found
}

fn expanded(budget: &Budget, text: &str, width: usize) -> Result<String> {
    let tabs = text.bytes().filter(|byte| *byte == b'\t').count();
    budget.claim(text.len().saturating_add(tabs.saturating_mul(width)))?;
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if width > 0 => {
                let blanks = width - column % width;
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    Ok(out)
}
