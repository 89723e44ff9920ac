//! What do the methods of Python's strings give?

mod case;
mod parts;
mod template;

use super::arguments::{Given, int, optional_text, size, text as text_of};
use super::budget::{Budget, Failure, Result};
use super::sequence::items;
use super::spec::padded;
use super::text::shown;
use super::value::Value;

pub(super) use case::{capitalized, is_lower, is_upper};
pub(super) use parts::{lines, replaced, stripped};
pub(super) use template::Lookup;

/// The methods, in alphabetical order.
const METHODS: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// Whether strings have a method of this name.
pub(super) fn has_method(name: &str) -> bool {
    METHODS.binary_search(&name).is_ok()
}

/// `text.name(…)`; `lookup` finds attributes and items for `format`.
pub(super) fn call(budget: &Budget, text: &str, name: &str, given: &Given, lookup: &Lookup<'_>) -> Result<Value> {
    budget.read(text.len())?;
    if let Some(found) = case::call(budget, text, name, given)? {
        return Ok(found);
    }
    if let Some(found) = parts::call(budget, text, name, given)? {
        return Ok(found);
    }
    match name {
        "startswith" | "endswith" => affixed(budget, text, name, given),
        "find" | "index" | "rfind" | "rindex" | "count" => sought(budget, text, name, given),
        "center" | "ljust" | "rjust" | "zfill" => aligned(budget, text, name, given),
        "join" => {
            let [values] = given.bind(name, ["/iterable"], 1)?;
            joined(budget, text, &values.unwrap_or(Value::None), true)
        }
        "format" => Value::new_text(budget, template::format(budget, text, given, lookup)?),
        "format_map" => {
            let [mapping] = given.bind(name, ["/mapping"], 1)?;
            Value::new_text(budget, template::format_map(budget, text, mapping.as_ref(), lookup)?)
        }
        _ => Err(Failure::new(format!("the method '{name}' of strings is not supported"))),
    }
}

/// Values with a text between them; `strict` where each must be a text, as for the method.
pub(super) fn joined(budget: &Budget, separator: &str, values: &Value, strict: bool) -> Result<Value> {
    let values = items(budget, values)?;
    let mut out = String::new();
    for index in 0..values.len() {
        let value = values.get(index);
        if strict && value.as_text().is_none() {
            let found = value.type_name();
            return Err(Failure::new(format!("sequence item {index}: expected str instance, {found} found")));
        }
        let part = shown(budget, &value)?;
        budget.claim(separator.len() + part.len())?;
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(&part);
    }
    Ok(Value::text(out))
}

/// The part of a text between two indices of characters, and where it begins.
fn window<'a>(text: &'a str, start: Option<&Value>, stop: Option<&Value>) -> Result<Option<(&'a str, usize)>> {
    if start.is_none() && stop.is_none() {
        return Ok(Some((text, 0)));
    }
    let length = text.chars().count() as i128;
    let bound = |value: Option<&Value>, default| match value {
        None | Some(Value::None) => Ok(default),
        value => int(value, default).map(|at| if at < 0 { (at + length).max(0) } else { at }),
    };
    let (start, stop) = (bound(start, 0)?, bound(stop, length)?.min(length));
    if start > stop || start > length {
        return Ok(None);
    }
    let at = |index: i128| text.char_indices().nth(index as usize).map_or(text.len(), |(at, _)| at);
    Ok(Some((&text[at(start)..at(stop)], start as usize)))
}

fn affixed(budget: &Budget, text: &str, name: &str, given: &Given) -> Result<Value> {
    let [affix, start, stop] = given.bind(name, ["/prefix", "/start", "/end"], 1)?;
    let part = window(text, start.as_ref(), stop.as_ref())?;
    let fits = |affix: &str| match part {
        Some((part, _)) if name == "startswith" => part.starts_with(affix),
        Some((part, _)) => part.ends_with(affix),
        None => false,
    };
    match affix {
        Some(Value::Text(affix) | Value::Markup(affix)) => Ok(Value::Bool(fits(&affix))),
        Some(Value::Tuple(affixes)) => {
            for affix in &affixes.items {
                let affix = text_of(affix, &format!("tuple for {name}"))?;
                budget.read(affix.len().min(text.len()))?;
                if fits(affix) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        other => {
            let found = other.map_or("nothing", |other| other.type_name());
            Err(Failure::new(format!("{name} first arg must be str or a tuple of str, not {found}")))
        }
    }
}

fn sought(budget: &Budget, text: &str, name: &str, given: &Given) -> Result<Value> {
    let [part, start, stop] = given.bind(name, ["/sub", "/start", "/end"], 1)?;
    let part = part.unwrap_or(Value::None);
    let part = text_of(&part, "argument 1")?;
    budget.read(part.len())?;
    let window = window(text, start.as_ref(), stop.as_ref())?;
    if name == "count" {
        let count = window.map_or(0, |(window, _)| match part {
            "" => window.chars().count() + 1,
            part => window.matches(part).count(),
        });
        return Ok(Value::Int(count as i128));
    }
    let found = window.and_then(|(window, offset)| {
        let at = if name.starts_with('r') { window.rfind(part) } else { window.find(part) };
        at.map(|at| (offset + window[..at].chars().count()) as i128)
    });
    match found {
        None if name.ends_with("index") => Err(Failure::new("substring not found")),
        found => Ok(Value::Int(found.unwrap_or(-1))),
    }
}

fn aligned(budget: &Budget, text: &str, name: &str, given: &Given) -> Result<Value> {
    if name == "zfill" {
        let [width] = given.bind(name, ["/width"], 1)?;
        let (sign, digits) = match text.chars().next() {
            Some('+' | '-') => text.split_at(1),
            _ => ("", text),
        };
        let width = size(width.as_ref(), 0)?.saturating_sub(sign.len());
        return Ok(Value::text(format!("{sign}{}", padded(budget, digits, '0', '>', width)?)));
    }
    let [width, fill] = given.bind(name, ["/width", "/fillchar"], 1)?;
    let fill = optional_text(fill.as_ref(), "The fill character")?.unwrap_or(" ");
    let mut fills = fill.chars();
    let (Some(fill), None) = (fills.next(), fills.next()) else {
        return Err(Failure::new("The fill character must be exactly one character long"));
    };
    let width = size(width.as_ref(), 0)?;
    let padded = match name {
        "center" => centered(budget, text, fill, width),
        "ljust" => padded(budget, text, fill, '<', width),
        _ => padded(budget, text, fill, '>', width),
    };
    padded.map(Value::text)
}

/// `str.center`, which puts what is odd to the left where the width is odd.
pub(super) fn centered(budget: &Budget, text: &str, fill: char, width: usize) -> Result<String> {
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = missing / 2 + (missing & width & 1);
    let half = padded(budget, text, fill, '>', length + left)?;
    padded(budget, &half, fill, '<', width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_are_in_order() {
        assert!(METHODS.is_sorted());
    }
}
