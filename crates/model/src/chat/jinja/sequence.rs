//! What do values consist of that others can be taken out of?
//!
//! Iteration, length, items and slices.

use super::budget::{Budget, Failure, Result};
use super::value::{Dict, List, Range, Value, View, key_of, undefined_error};
use std::mem::size_of;
use std::rc::Rc;

/// What a loop passes through.
pub(super) enum Items {
    List(Rc<List>),
    Range(Range),
    Made(Vec<Value>),
}

impl Items {
    pub(super) fn len(&self) -> usize {
        match self {
            Items::List(list) => list.items.len(),
            Items::Range(range) => range.len(),
            Items::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Value {
        match self {
            Items::List(list) => list.items[index].clone(),
            Items::Range(range) => range.get(index),
            Items::Made(items) => items[index].clone(),
        }
    }
}

/// The values of a dict's view.
pub(super) fn view(budget: &Budget, view: View, dict: &Dict) -> Result<Vec<Value>> {
    budget.claim_product(dict.len(), size_of::<Value>())?;
    let pick = |(key, value): &(Value, Value)| match view {
        View::Keys => Ok(key.clone()),
        View::Values => Ok(value.clone()),
        View::Items => Value::tuple(budget, vec![key.clone(), value.clone()]),
    };
    dict.entries().iter().map(pick).collect()
}

/// What a value yields, `None` where it is not iterable.
pub(super) fn iterate(budget: &Budget, value: &Value) -> Result<Option<Items>> {
    Ok(Some(match value {
        Value::Undefined(_) => Items::Made(Vec::new()),
        Value::List(list) | Value::Tuple(list) => Items::List(list.clone()),
        Value::Range(range) => Items::Range(*range),
        Value::Dict(dict) => Items::Made(view(budget, View::Keys, dict)?),
        Value::View(kind, dict) => Items::Made(view(budget, *kind, dict)?),
        Value::Text(text) | Value::Markup(text) => {
            budget.claim_product(text.chars().count(), 2 * size_of::<Value>())?;
            // Characters that are iterated over are not marked safe any more.
            Items::Made(text.chars().map(|c| Value::text(&*c.encode_utf8(&mut [0; 4]))).collect())
        }
        Value::Generator(generator) => {
            let from = generator.passed.replace(generator.items.items.len());
            budget.claim_product(generator.items.items.len() - from, size_of::<Value>())?;
            Items::Made(generator.items.items[from..].to_vec())
        }
        _ => return Ok(None),
    }))
}

/// Whether a value yields others; asking uses no generator up.
pub(super) fn is_iterable(budget: &Budget, value: &Value) -> Result<bool> {
    match value {
        Value::Generator(_) | Value::Text(_) | Value::Markup(_) => Ok(true),
        other => Ok(iterate(budget, other)?.is_some()),
    }
}

/// What a value yields.
pub(super) fn items(budget: &Budget, value: &Value) -> Result<Items> {
    match iterate(budget, value)? {
        Some(items) => Ok(items),
        None => Err(Failure::new(format!("'{}' object is not iterable", value.type_name()))),
    }
}

/// What a value yields, as a list of its own.
pub(super) fn listed(budget: &Budget, value: &Value) -> Result<Vec<Value>> {
    let items = items(budget, value)?;
    budget.claim_product(items.len(), size_of::<Value>())?;
    Ok(match items {
        Items::List(list) => list.items.clone(),
        Items::Range(range) => (0..range.len()).map(|index| range.get(index)).collect(),
        Items::Made(items) => items,
    })
}

/// `len(value)`, `None` where it has none.
pub(super) fn length(budget: &Budget, value: &Value) -> Result<Option<usize>> {
    Ok(Some(match value {
        Value::Undefined(_) => 0,
        Value::Text(text) | Value::Markup(text) => {
            budget.read(text.len())?;
            text.chars().count()
        }
        Value::List(list) | Value::Tuple(list) => list.items.len(),
        Value::Dict(dict) | Value::View(_, dict) => dict.len(),
        Value::Range(range) => range.len(),
        _ => return Ok(None),
    }))
}

/// `value[index]`, `None` where Python finds nothing.
pub(super) fn item(budget: &Budget, value: &Value, index: &Value) -> Result<Option<Value>> {
    if let Value::Undefined(missing) = value {
        return Err(undefined_error(missing));
    }
    if let Value::Dict(dict) = value {
        // What cannot be a key is not found; what takes too much is an error.
        return match key_of(budget, index) {
            Ok(key) => Ok(dict.get(&key).cloned()),
            Err(failure) if failure.message.starts_with("unhashable") => Ok(None),
            Err(failure) => Err(failure),
        };
    }
    if let Value::Slice(bounds) = index {
        return sliced(budget, value, bounds);
    }
    let Some(index) = index.as_int() else { return Ok(None) };
    let at = |length: usize| {
        let index = if index < 0 { index + length as i128 } else { index };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    Ok(match value {
        Value::List(list) | Value::Tuple(list) => at(list.items.len()).map(|index| list.items[index].clone()),
        Value::Range(range) => at(range.len()).map(|index| range.get(index)),
        Value::Text(text) | Value::Markup(text) => {
            budget.read(text.len())?;
            let length = if text.is_ascii() { text.len() } else { text.chars().count() };
            let found = at(length).and_then(|index| {
                if text.is_ascii() { Some(char::from(text.as_bytes()[index])) } else { text.chars().nth(index) }
            });
            found.map(|c| {
                let text = c.encode_utf8(&mut [0; 4]).into();
                if matches!(value, Value::Markup(_)) { Value::Markup(text) } else { Value::Text(text) }
            })
        }
        _ => None,
    })
}

/// Which indices a slice of so many elements takes: the first, their number, the distance.
fn indices(bounds: &[Value; 3], length: usize) -> Result<Option<(i128, usize, i128)>> {
    let whole = |value: &Value| match value {
        Value::None => Ok(None),
        other => other.as_int().map(Some).ok_or(()),
    };
    let (Ok(start), Ok(stop), Ok(step)) = (whole(&bounds[0]), whole(&bounds[1]), whole(&bounds[2])) else {
        // Python raises a TypeError, of which Jinja2 makes what is undefined.
        return Ok(None);
    };
    let (step, length) = (step.unwrap_or(1), length as i128);
    if step == 0 {
        return Err(Failure::new("slice step cannot be zero"));
    }
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |bound: i128| if bound < 0 { bound.saturating_add(length).max(lowest) } else { bound.min(highest) };
    let start = start.map_or(if step > 0 { lowest } else { highest }, clamp);
    let stop = stop.map_or(if step > 0 { highest } else { lowest }, clamp);
    let step = step.clamp(-length - 1, length + 1);
    Ok(Some((start, Range { start, stop, step }.len(), step)))
}

fn sliced(budget: &Budget, value: &Value, bounds: &[Value; 3]) -> Result<Option<Value>> {
    let Some(length) = length(budget, value)? else { return Ok(None) };
    if matches!(value, Value::View(..)) {
        return Ok(None);
    }
    let Some((start, count, step)) = indices(bounds, length)? else { return Ok(None) };
    let at = |index: usize| (start + step * index as i128) as usize;
    Ok(match value {
        Value::List(list) | Value::Tuple(list) => {
            budget.claim_product(count, size_of::<Value>())?;
            let items = (0..count).map(|index| list.items[at(index)].clone()).collect();
            let make = if matches!(value, Value::List(_)) { Value::list } else { Value::tuple };
            Some(make(budget, items)?)
        }
        Value::Range(range) => {
            let start = range.start.saturating_add(range.step.saturating_mul(start));
            let step = range.step.saturating_mul(step);
            let stop = start.saturating_add(step.saturating_mul(count as i128));
            Some(Value::Range(Range { start, stop, step }))
        }
        Value::Text(text) | Value::Markup(text) => {
            let taken = slice_of_text(budget, text, (start, count, step))?;
            Some(if matches!(value, Value::Markup(_)) { Value::Markup(taken.into()) } else { Value::text(taken) })
        }
        _ => None,
    })
}

fn slice_of_text(budget: &Budget, text: &str, (start, count, step): (i128, usize, i128)) -> Result<String> {
    if step == 1 {
        let tail = text.char_indices().nth(start as usize).map_or("", |(at, _)| &text[at..]);
        let taken = tail.char_indices().nth(count).map_or(tail, |(at, _)| &tail[..at]);
        budget.claim(taken.len())?;
        return Ok(taken.to_owned());
    }
    budget.claim_product(text.len(), size_of::<char>())?;
    let chars: Vec<char> = text.chars().collect();
    Ok((0..count).map(|index| chars[(start + step * index as i128) as usize]).collect())
}
