//! Which of several values do filters choose, and what do they make of each?

use super::super::arguments::{Given, truth};
use super::super::budget::{Failure, Result};
use super::super::compare::order;
use super::super::operators::binary;
use super::super::render::Renderer;
use super::super::sequence::{items, listed};
use super::super::value::{Key, Value, key_of};
use super::path::{Path, folded};
use super::{apply as apply_filter, text};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::mem::size_of;

/// The filter's value, none where it is none of these.
pub(super) fn apply(renderer: &mut Renderer<'_>, name: &str, value: &Value, given: &Given) -> Result<Option<Value>> {
    let budget = renderer.budget.clone();
    Ok(Some(match name {
        "map" => map(renderer, value, given)?,
        "select" | "reject" | "selectattr" | "rejectattr" => select(renderer, name, value, given)?,
        "join" => {
            let [separator, attribute] = given.bind(name, ["d", "attribute"], 0)?;
            let path = Path::new(&budget, attribute.as_ref())?;
            if path.is_whole() {
                return text::join(&budget, value, separator.as_ref()).map(Some);
            }
            let mut found = Vec::new();
            for item in listed(&budget, value)? {
                found.push(path.find(renderer, &item, None)?);
            }
            text::join(&budget, &Value::list(&budget, found)?, separator.as_ref())?
        }
        "sum" => {
            let [attribute, start] = given.bind(name, ["attribute", "start"], 0)?;
            let path = Path::new(&budget, attribute.as_ref())?;
            let mut sum = start.unwrap_or(Value::Int(0));
            if sum.as_text().is_some() {
                return Err(Failure::new("sum() can't sum strings [use ''.join(seq) instead]"));
            }
            for item in listed(&budget, value)? {
                let item = path.find(renderer, &item, None)?;
                sum = binary(&budget, "+", &sum, &item)?;
            }
            sum
        }
        "min" | "max" => {
            let [case_sensitive, attribute] = given.bind(name, ["case_sensitive", "attribute"], 0)?;
            let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
            extreme(renderer, value, truth(case_sensitive.as_ref(), false), attribute.as_ref(), wanted)?
        }
        "unique" => {
            let [case_sensitive, attribute] = given.bind(name, ["case_sensitive", "attribute"], 0)?;
            let case_sensitive = truth(case_sensitive.as_ref(), false);
            let path = Path::new(&budget, attribute.as_ref())?;
            let mut seen: HashSet<Key> = HashSet::new();
            let mut found = Vec::new();
            for item in listed(&budget, value)? {
                let key = path.find(renderer, &item, None)?;
                budget.claim(size_of::<Key>())?;
                if seen.insert(key_of(&budget, &folded(&budget, key, case_sensitive)?)?) {
                    found.push(item);
                }
            }
            Value::generator(&budget, found)?
        }
        _ => return Ok(None),
    }))
}

fn map(renderer: &mut Renderer<'_>, value: &Value, given: &Given) -> Result<Value> {
    let budget = renderer.budget.clone();
    if !value.is_true() {
        return Value::generator(&budget, Vec::new());
    }
    let mut found = Vec::new();
    if given.positional.is_empty() {
        let [attribute, default] = given.bind("map", ["attribute", "default"], 0)?;
        let attribute = attribute.ok_or_else(|| Failure::new("map requires a filter argument"))?;
        let path = Path::new(&budget, Some(&attribute))?;
        let default = default.filter(|default| !matches!(default, Value::None));
        for item in listed(&budget, value)? {
            found.push(path.find(renderer, &item, default.as_ref())?);
        }
        return Value::generator(&budget, found);
    }
    let (name, rest) = divided(given, 0)?;
    for item in listed(&budget, value)? {
        found.push(apply_filter(renderer, &name, &item, &rest)?);
    }
    Value::generator(&budget, found)
}

/// The name of the filter or test at this place, and what follows it.
fn divided(given: &Given, at: usize) -> Result<(String, Given)> {
    let name = given.positional.get(at).and_then(Value::as_text).map(|name| name.as_ref().to_owned());
    let name = name.ok_or_else(|| Failure::new("the name of a filter or test must be a text"))?;
    Ok((name, Given { positional: given.positional[at + 1..].to_vec(), named: given.named.clone() }))
}

fn select(renderer: &mut Renderer<'_>, name: &str, value: &Value, given: &Given) -> Result<Value> {
    let budget = renderer.budget.clone();
    if !value.is_true() {
        return Value::generator(&budget, Vec::new());
    }
    let by_attribute = name.ends_with("attr");
    let path = match (by_attribute, given.positional.first()) {
        (true, None) => return Err(Failure::new("Missing parameter for attribute name")),
        (true, attribute) => Path::new(&budget, attribute)?,
        (false, _) => Path::whole(),
    };
    let offset = usize::from(by_attribute);
    let test = if given.positional.len() > offset { Some(divided(given, offset)?) } else { None };
    let wanted = name.starts_with("select");
    let mut found = Vec::new();
    for item in listed(&budget, value)? {
        let subject = path.find(renderer, &item, None)?;
        let holds = match &test {
            Some((test, rest)) => renderer.check(test, &subject, rest)?,
            None => subject.is_true(),
        };
        if holds == wanted {
            found.push(item);
        }
    }
    Value::generator(&budget, found)
}

fn extreme(
    renderer: &mut Renderer<'_>,
    value: &Value,
    case_sensitive: bool,
    attribute: Option<&Value>,
    wanted: Ordering,
) -> Result<Value> {
    let budget = renderer.budget.clone();
    let path = Path::new(&budget, attribute)?;
    let found = items(&budget, value)?;
    let mut best: Option<(Value, Value)> = None;
    let operator = if wanted == Ordering::Less { "<" } else { ">" };
    for index in 0..found.len() {
        let item = found.get(index);
        let key = path.find(renderer, &item, None)?;
        let key = folded(&budget, key, case_sensitive)?;
        let better = match &best {
            None => true,
            Some((_, last)) => order(&budget, operator, &key, last)? == Some(wanted),
        };
        if better {
            best = Some((item, key));
        }
    }
    Ok(best.map_or_else(|| Value::missing("No aggregated item, sequence was empty."), |(item, _)| item))
}
