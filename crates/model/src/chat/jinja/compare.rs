//! Which values are equal, less, or in others?

use super::budget::{Budget, Failure, Result};
use super::sequence::{items, view};
use super::value::{List, Value, View, key_of, undefined_error};
use std::cmp::Ordering;

/// `left == right`.
pub(super) fn equal(budget: &Budget, left: &Value, right: &Value) -> Result<bool> {
    budget.step(1)?;
    Ok(match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Text(left) | Value::Markup(left), Value::Text(right) | Value::Markup(right)) => {
            budget.read(if left.len() == right.len() { left.len() } else { 0 })?;
            left == right
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            return equal_lists(budget, left, right);
        }
        (Value::Dict(left), Value::Dict(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (key, value) in left.entries() {
                let same = match right.get(&key_of(budget, key)?) {
                    Some(other) => budget.deeper(|| equal(budget, value, other))?,
                    None => false,
                };
                if !same {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Range(left), Value::Range(right)) => {
            let len = left.len();
            len == right.len() && (len == 0 || left.start == right.start && (len == 1 || left.step == right.step))
        }
        (Value::View(left_kind, left), Value::View(right_kind, right)) => {
            // Views of keys and items compare as sets; those of values never do.
            if *left_kind == View::Values || left_kind != right_kind || left.len() != right.len() {
                return Ok(false);
            }
            let mut all = true;
            for (key, value) in left.entries() {
                let found = right.get(&key_of(budget, key)?);
                all = all
                    && match found {
                        Some(other) if *left_kind == View::Items => equal(budget, value, other)?,
                        found => found.is_some(),
                    };
            }
            all
        }
        (Value::Function(left), Value::Function(right)) => left == right,
        (Value::Object(left), Value::Object(right)) => left == right,
        _ => match order_of_numbers(left, right) {
            Some(order) => order == Some(Ordering::Equal),
            None => false,
        },
    })
}

fn equal_lists(budget: &Budget, left: &List, right: &List) -> Result<bool> {
    if left.items.len() != right.items.len() {
        return Ok(false);
    }
    for (left, right) in left.items.iter().zip(&right.items) {
        if !budget.deeper(|| equal(budget, left, right))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two numbers, none where one is no number; it has none beside what is not a number.
fn order_of_numbers(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    match (left.as_int(), right.as_int()) {
        (Some(left), Some(right)) => Some(Some(left.cmp(&right))),
        _ => Some(left.as_float()?.partial_cmp(&right.as_float()?)),
    }
}

/// The order of two values, for a message about `operator` where they have none.
pub(super) fn order(budget: &Budget, operator: &str, left: &Value, right: &Value) -> Result<Option<Ordering>> {
    budget.step(1)?;
    for side in [left, right] {
        if let Value::Undefined(missing) = side {
            return Err(undefined_error(missing));
        }
    }
    if let Some(order) = order_of_numbers(left, right) {
        return Ok(order);
    }
    match (left, right) {
        (Value::Text(left) | Value::Markup(left), Value::Text(right) | Value::Markup(right)) => {
            budget.read(left.len().min(right.len()))?;
            Ok(Some(left.cmp(right)))
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            for (left, right) in left.items.iter().zip(&right.items) {
                if !budget.deeper(|| equal(budget, left, right))? {
                    return budget.deeper(|| order(budget, operator, left, right));
                }
            }
            Ok(Some(left.items.len().cmp(&right.items.len())))
        }
        _ => {
            let (left, right) = (left.type_name(), right.type_name());
            Err(Failure::new(format!("'{operator}' not supported between instances of '{left}' and '{right}'")))
        }
    }
}

/// `left operator right` of a comparison.
pub(super) fn holds(budget: &Budget, operator: &str, left: &Value, right: &Value) -> Result<bool> {
    Ok(match operator {
        "==" => equal(budget, left, right)?,
        "!=" => !equal(budget, left, right)?,
        "in" => contains(budget, right, left)?,
        "not in" => !contains(budget, right, left)?,
        "<" => order(budget, operator, left, right)? == Some(Ordering::Less),
        ">" => order(budget, operator, left, right)? == Some(Ordering::Greater),
        "<=" => matches!(order(budget, operator, left, right)?, Some(Ordering::Less | Ordering::Equal)),
        _ => matches!(order(budget, operator, left, right)?, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// `value in container`.
pub(super) fn contains(budget: &Budget, container: &Value, value: &Value) -> Result<bool> {
    match container {
        Value::Text(text) | Value::Markup(text) => match value.as_text() {
            Some(part) => {
                budget.read(text.len() + part.len())?;
                Ok(text.contains(&**part))
            }
            None => {
                let found = value.type_name();
                Err(Failure::new(format!("'in <string>' requires string as left operand, not {found}")))
            }
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(&key_of(budget, value)?).is_some()),
        Value::View(kind, dict) => any_equal(budget, &view(budget, *kind, dict)?, value),
        Value::List(list) | Value::Tuple(list) => any_equal(budget, &list.items, value),
        Value::Range(range) => Ok(match value.as_float() {
            Some(number) if number == number.trunc() => {
                let offset = (number as i128).saturating_sub(range.start);
                offset % range.step == 0 && offset / range.step >= 0 && ((offset / range.step) as usize) < range.len()
            }
            _ => false,
        }),
        Value::Undefined(_) | Value::Generator(_) => {
            let items = items(budget, container)?;
            for index in 0..items.len() {
                if equal(budget, &items.get(index), value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => Err(Failure::new(format!("argument of type '{}' is not iterable", other.type_name()))),
    }
}

fn any_equal(budget: &Budget, items: &[Value], value: &Value) -> Result<bool> {
    for item in items {
        if equal(budget, item, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sorts, as Python does: stable, and by `<` alone.
pub(super) fn sort<T>(budget: &Budget, items: &mut [T], key: impl Fn(&T) -> Value, reverse: bool) -> Result<()> {
    let mut failure = None;
    items.sort_by(|left, right| {
        if failure.is_some() {
            return Ordering::Equal;
        }
        match order(budget, "<", &key(left), &key(right)) {
            Ok(order) => {
                let order = order.unwrap_or(Ordering::Equal);
                if reverse { order.reverse() } else { order }
            }
            Err(found) => {
                failure = Some(found);
                Ordering::Equal
            }
        }
    });
    failure.map_or(Ok(()), Err)
}
