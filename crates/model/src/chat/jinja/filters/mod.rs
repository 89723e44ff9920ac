//! What do filters make of a value?
//!
//! What follows `|`.

mod choose;
mod group;
mod number;
mod path;
mod text;
mod wrap;

use super::arguments::{Given, text as text_of, truth};
use super::budget::{Failure, Result};
use super::json::tojson;
use super::operators::escaped;
use super::render::Renderer;
use super::sequence::{is_iterable, items, length, listed};
use super::text::{repr, shown};
use super::value::{Value, View};

const NAMES: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// Whether there is a filter of this name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// `value | name(…)`
pub(super) fn apply(renderer: &mut Renderer<'_>, name: &str, value: &Value, given: &Given) -> Result<Value> {
    renderer.budget.enter()?;
    let found = applied(renderer, name, value, given)?;
    renderer.budget.leave();
    Ok(found)
}

fn applied(renderer: &mut Renderer<'_>, name: &str, value: &Value, given: &Given) -> Result<Value> {
    let budget = renderer.budget.clone();
    budget.step(1)?;
    if let Some(found) = text::apply(&budget, name, value, given)? {
        return Ok(found);
    }
    if let Some(found) = number::apply(&budget, name, value, given)? {
        return Ok(found);
    }
    if let Some(found) = choose::apply(renderer, name, value, given)? {
        return Ok(found);
    }
    if let Some(found) = group::apply(renderer, name, value, given)? {
        return Ok(found);
    }
    match name {
        "tojson" => tojson(&budget, value, given),
        "d" | "default" => {
            let [default, boolean] = given.bind(name, ["default_value", "boolean"], 0)?;
            let missing = value.is_undefined() || truth(boolean.as_ref(), false) && !value.is_true();
            Ok(if missing { default.unwrap_or_else(|| Value::text("")) } else { value.clone() })
        }
        "attr" => {
            let [attribute] = given.bind(name, ["name"], 1)?;
            let attribute = attribute.unwrap_or(Value::None);
            renderer.only_attribute(value, text_of(&attribute, "attribute name")?)
        }
        "items" if value.is_undefined() => Value::generator(&budget, Vec::new()),
        "items" => {
            given.none(name)?;
            let Value::Dict(dict) = value else {
                return Err(Failure::new("Can only get item pairs from a mapping."));
            };
            Value::generator(&budget, super::sequence::view(&budget, View::Items, dict)?)
        }
        _ => plain(&budget, name, value, given),
    }
}

/// Filters that take nothing beside the value.
fn plain(budget: &super::budget::Budget, name: &str, value: &Value, given: &Given) -> Result<Value> {
    if exists(name) {
        given.none(name)?;
    }
    match name {
        "length" | "count" => match length(budget, value)? {
            Some(length) => Ok(Value::Int(length as i128)),
            None => Err(Failure::new(format!("object of type '{}' has no len()", value.type_name()))),
        },
        "list" => Value::list(budget, listed(budget, value)?),
        "first" => {
            if let Value::Generator(generator) = value {
                return Ok(generator.next().unwrap_or_else(|| Value::missing("No first item, sequence was empty.")));
            }
            let found = items(budget, value)?;
            let none = || Value::missing("No first item, sequence was empty.");
            Ok(if found.len() == 0 { none() } else { found.get(0) })
        }
        "last" => {
            if matches!(value, Value::Generator(_)) {
                return Err(Failure::new("'generator' object is not reversible"));
            }
            let found = items(budget, value)?;
            let none = || Value::missing("No last item, sequence was empty.");
            Ok(found.len().checked_sub(1).map_or_else(none, |last| found.get(last).marked_as(value)))
        }
        "reverse" => {
            if let Some(text) = value.as_text() {
                let reversed = Value::new_text(budget, text.chars().rev().collect())?;
                return Ok(reversed.marked_as(value));
            }
            // Asked before the values are taken, since a generator hands them out once.
            if !is_iterable(budget, value)? {
                return Err(Failure::new("argument must be iterable"));
            }
            let mut found = listed(budget, value)?;
            found.reverse();
            // What is no sequence is made a list for it.
            if matches!(value, Value::Generator(_)) {
                Value::list(budget, found)
            } else {
                Value::generator(budget, found)
            }
        }
        "string" => Ok(if value.as_text().is_some() { value.clone() } else { Value::Text(shown(budget, value)?) }),
        "safe" => Ok(Value::Markup(shown(budget, value)?)),
        "e" | "escape" => Ok(Value::Markup(escaped(budget, value)?.into())),
        "forceescape" => Ok(Value::Markup(escaped(budget, &Value::Text(shown(budget, value)?))?.into())),
        "pprint" => {
            // `pprint` differs from `repr` where it breaks lines, sorts keys or joins long texts.
            let text = repr(budget, value)?;
            if text.chars().count() > 79 || text.contains('{') {
                return Err(Failure::new("the filter 'pprint' of dicts and of long values is not supported"));
            }
            Ok(Value::text(text))
        }
        "random" | "urlize" => Err(Failure::new(format!("the filter '{name}' is not supported"))),
        _ => Err(Failure::new(format!("No filter named '{name}'."))),
    }
}
