//! What do filters make of texts?

use super::super::arguments::{Given, int, optional_text, size, text as text_of, truth};
use super::super::budget::{Budget, Failure, Result};
use super::super::operators::escaped;
use super::super::percent;
use super::super::sequence::length as length_of;
use super::super::strings::{capitalized, centered, joined, lines, replaced, stripped};
use super::super::text::{repr, shown};
use super::super::unicode::{is_space, is_word};
use super::super::value::{Dict, Value};
use super::wrap;
use std::rc::Rc;

/// The filter's value, none where it is none of these.
pub(super) fn apply(budget: &Budget, name: &str, value: &Value, given: &Given) -> Result<Option<Value>> {
    let changed: fn(&str) -> String = match name {
        "upper" => str::to_uppercase,
        "lower" => str::to_lowercase,
        "capitalize" => capitalized,
        "title" => title,
        _ => return shaped(budget, name, value, given),
    };
    given.none(name)?;
    let changed = Value::new_text(budget, changed(&shown(budget, value)?))?;
    // Jinja2 puts a title together anew, which is not marked safe any more.
    Ok(Some(if name == "title" { changed } else { changed.marked_as(value) }))
}

fn shaped(budget: &Budget, name: &str, value: &Value, given: &Given) -> Result<Option<Value>> {
    Ok(Some(match name {
        "trim" => {
            let [chars] = given.bind(name, ["chars"], 0)?;
            let chars = optional_text(chars.as_ref(), "strip arg")?;
            budget.look_through(chars.unwrap_or(""))?;
            Value::new_text(budget, stripped(&shown(budget, value)?, chars, true, true).to_owned())?.marked_as(value)
        }
        "replace" => {
            let [old, new, count] = given.bind(name, ["old", "new", "count"], 2)?;
            let [old, new] = [old, new].map(|part| shown(budget, &part.unwrap_or(Value::None)));
            let count = match count {
                None | Some(Value::None) => -1,
                count => int(count.as_ref(), -1)?,
            };
            let text = shown(budget, value)?;
            budget.read(text.len())?;
            Value::text(replaced(budget, &text, &old?, &new?, count)?)
        }
        "center" => {
            let [width] = given.bind(name, ["width"], 0)?;
            Value::text(centered(budget, &shown(budget, value)?, ' ', size(width.as_ref(), 80)?)?).marked_as(value)
        }
        "format" => formatted(budget, value, given)?,
        "join" => return Ok(None),
        "indent" => indent(budget, value, given)?,
        "truncate" => truncate(budget, value, given)?,
        "wordwrap" => wrap::apply(budget, value, given)?,
        "wordcount" => {
            given.none(name)?;
            let text = shown(budget, value)?;
            budget.look_through(&text)?;
            let mut before = false;
            let starts = text.chars().filter(|c| {
                is_word(*c) && !std::mem::replace(&mut before, is_word(*c)) || {
                    before = is_word(*c);
                    false
                }
            });
            Value::Int(starts.count() as i128)
        }
        "striptags" => {
            given.none(name)?;
            Value::text(striptags(budget, &shown(budget, value)?)?)
        }
        "urlencode" => {
            given.none(name)?;
            urlencode(budget, value)?
        }
        "xmlattr" => xmlattr(budget, value, given)?,
        _ => return Ok(None),
    }))
}

/// `value | join(…)` of values whose attributes were looked up.
pub(super) fn join(budget: &Budget, value: &Value, separator: Option<&Value>) -> Result<Value> {
    let separator = separator.map_or_else(|| Ok("".into()), |separator| shown(budget, separator))?;
    joined(budget, &separator, value, false)
}

/// Jinja's `title`: unlike the method, letters behind an apostrophe stay small.
fn title(text: &str) -> String {
    let splits = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(splits).unwrap_or(rest.len());
        let mut chars = rest[..word].chars();
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        out.push_str(&chars.as_str().to_lowercase());
        rest = &rest[word..];
        let blank = rest.find(|c: char| !splits(c)).unwrap_or(rest.len());
        out.push_str(&rest[..blank]);
        rest = &rest[blank..];
    }
    out
}

fn formatted(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    if matches!(value, Value::Markup(_)) {
        return Err(Failure::new("the filter 'format' of text that is marked safe is not supported"));
    }
    if !given.positional.is_empty() && !given.named.is_empty() {
        return Err(Failure::new("can't handle positional and keyword arguments at the same time"));
    }
    let values = if given.named.is_empty() {
        Value::tuple(budget, given.positional.clone())?
    } else {
        let mut dict = Dict::default();
        for (name, value) in &given.named {
            dict.set(budget, Value::text(name.as_str()), value.clone())?;
        }
        Value::Dict(Rc::new(dict))
    };
    Value::new_text(budget, percent::format(budget, &shown(budget, value)?, &values)?)
}

fn indent(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    let [width, first, blank] = given.bind("indent", ["width", "first", "blank"], 0)?;
    let width = match &width {
        Some(width @ Value::Text(_)) if matches!(value, Value::Markup(_)) => escaped(budget, width)?,
        Some(Value::Text(text)) => text.as_ref().to_owned(),
        width => {
            let width = size(width.as_ref(), 4)?;
            budget.claim(width)?;
            " ".repeat(width)
        }
    };
    let (first, blank) = (truth(first.as_ref(), false), truth(blank.as_ref(), false));
    let text = format!("{}\n", text_of(value, "the value of 'indent'")?);
    let lines = lines(&text, false);
    budget.claim(text.len().saturating_add(lines.len().saturating_mul(width.len() + 1)))?;
    let mut out = String::new();
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if (index == 0 && first) || index > 0 && (blank || !line.is_empty()) {
            out.push_str(&width);
        }
        out.push_str(line);
    }
    Ok(Value::text(out).marked_as(value))
}

fn truncate(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    let [length, killwords, end, leeway] = given.bind("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let (length, killwords) = (int(length.as_ref(), 255)?, truth(killwords.as_ref(), false));
    let end = optional_text(end.as_ref(), "end")?.unwrap_or("...");
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        leeway => int(leeway.as_ref(), 5)?,
    };
    let tail = end.chars().count() as i128;
    if length < tail {
        return Err(Failure::new(format!("expected length >= {tail}, got {length}")));
    }
    if leeway < 0 {
        return Err(Failure::new(format!("expected leeway >= 0, got {leeway}")));
    }
    if value.is_undefined() {
        return Ok(value.clone());
    }
    if let Some(elements) = length_of(budget, value)?
        && value.as_text().is_none()
        && elements as i128 <= length.saturating_add(leeway)
    {
        return Ok(value.clone());
    }
    let text = text_of(value, "the value of 'truncate'")?;
    budget.read(text.len())?;
    if text.chars().count() as i128 <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let cut: String = text.chars().take((length - tail) as usize).collect();
    let kept = if killwords { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(kept, _)| kept) };
    let end = if matches!(value, Value::Markup(_)) { escaped(budget, &Value::text(end))? } else { end.to_owned() };
    Ok(Value::new_text(budget, format!("{kept}{end}"))?.marked_as(value))
}

/// As markupsafe: comments, then tags, then references to characters.
fn striptags(budget: &Budget, text: &str) -> Result<String> {
    budget.claim(3 * text.len())?;
    let without = |text: &str, start: &str, end: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(start) {
            let Some(length) = rest[at..].find(end) else { break };
            out.push_str(&rest[..at]);
            rest = &rest[at + length + end.len()..];
        }
        out + rest
    };
    let plain = without(&without(text, "<!--", "-->"), "<", ">");
    let words: Vec<&str> = plain.split(is_space).filter(|word| !word.is_empty()).collect();
    let joined = words.join(" ");
    let mut out = String::new();
    let mut rest = joined.as_str();
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&#34;", '"'), ("&#39;", '\''), ("&quot;", '"')];
        if let Some((name, c)) = known.iter().find(|(name, _)| rest.starts_with(name)) {
            out.push(*c);
            rest = &rest[name.len()..];
        } else if rest[1..].starts_with(|c: char| c == '#' || c.is_ascii_alphanumeric()) {
            return Err(Failure::new(
                "the filter 'striptags' of other references than &lt; and its kind is not supported",
            ));
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    Ok(out + rest)
}

fn quoted(budget: &Budget, value: &Value, query: bool, out: &mut String) -> Result<()> {
    use std::fmt::Write;
    let text = shown(budget, value)?;
    budget.claim(3 * text.len())?;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    Ok(())
}

fn urlencode(budget: &Budget, value: &Value) -> Result<Value> {
    let mut out = String::new();
    let pairs = match value {
        Value::Dict(dict) => super::super::sequence::view(budget, super::super::value::View::Items, dict)?,
        Value::List(_) | Value::Tuple(_) | Value::Generator(_) | Value::View(..) => {
            super::super::sequence::listed(budget, value)?
        }
        Value::Undefined(_) => return Ok(Value::text("")),
        value => {
            quoted(budget, value, false, &mut out)?;
            return Ok(Value::text(out));
        }
    };
    for pair in pairs {
        let pair = super::super::sequence::listed(budget, &pair)?;
        let [key, value] = pair.as_slice() else {
            return Err(Failure::new("urlencode needs pairs of two values"));
        };
        if !out.is_empty() {
            out.push('&');
        }
        quoted(budget, key, true, &mut out)?;
        out.push('=');
        quoted(budget, value, true, &mut out)?;
    }
    Ok(Value::text(out))
}

fn xmlattr(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    let [autospace] = given.bind("xmlattr", ["autospace"], 0)?;
    let Value::Dict(dict) = value else { return Err(Failure::new("xmlattr needs a dict")) };
    let mut out = String::new();
    for (key, value) in dict.entries() {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let name = text_of(key, "attribute name")?;
        if name.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '\x0b' | '/' | '>' | '=')) {
            return Err(Failure::new(format!("Invalid character in attribute name: {}", repr(budget, key)?)));
        }
        if !out.is_empty() || truth(autospace.as_ref(), true) {
            out.push(' ');
        }
        let (key, value) = (escaped(budget, key)?, escaped(budget, value)?);
        budget.claim(key.len() + value.len())?;
        out.push_str(&format!("{key}=\"{value}\""));
    }
    Ok(Value::text(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_keep_what_follows_an_apostrophe_small() {
        assert_eq!(title("it's a-b (c) éA"), "It's A-B (C) Éa");
    }
}
