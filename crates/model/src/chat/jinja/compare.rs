//! Which values are equal, less, or in others?

use super::budget::{Budget, Failure, Result};
use super::sequence::view;
use super::value::{List, Value, View, key_of, undefined_error, whole_of};
use std::cmp::Ordering;
use std::mem::size_of;

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
    // Exactly, where both are whole: a float has no room for every whole number.
    let whole = |value: &Value| match value {
        Value::Float(number) => whole_of(*number),
        other => other.as_int(),
    };
    match (whole(left), whole(right)) {
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
        Value::Range(range) => {
            let number = match value {
                Value::Float(number) => whole_of(*number),
                other => other.as_int(),
            };
            Ok(number.is_some_and(|number| range.contains(number)))
        }
        Value::Undefined(_) => Ok(false),
        Value::Generator(generator) => {
            // What stands behind the value found is still to come.
            while let Some(item) = generator.next() {
                if equal(budget, &item, value)? {
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

/// The values in the order of their keys; those of equal keys stay as they were. What has no order is refused: where
/// Python puts it depends on every comparison that its way of sorting happens to make.
pub(super) fn sorted<T>(budget: &Budget, items: Vec<T>, key: impl Fn(&T) -> Value, reverse: bool) -> Result<Vec<T>> {
    let length = items.len();
    budget.claim_product(length, size_of::<Value>() + 2 * size_of::<usize>() + size_of::<Option<T>>())?;
    let keys: Vec<Value> = items.iter().map(key).collect();
    let wanted = if reverse { Ordering::Greater } else { Ordering::Less };
    let comes_first = |later: usize, earlier: usize| match order(budget, "<", &keys[later], &keys[earlier])? {
        Some(order) => Ok(order == wanted),
        None => Err(Failure::new("sorting numbers of which one is nan is not supported")),
    };
    // Runs that are in order are merged, two and two, until one is left.
    let (mut places, mut merged): (Vec<usize>, Vec<usize>) = ((0..length).collect(), Vec::with_capacity(length));
    let mut run = 1;
    while run < length {
        merged.clear();
        for pair in places.chunks(2 * run) {
            let (mut left, mut right) = pair.split_at(run.min(pair.len()));
            while let (Some(earlier), Some(later)) = (left.first(), right.first()) {
                let taken = if comes_first(*later, *earlier)? { &mut right } else { &mut left };
                merged.extend(taken.split_off_first());
            }
            merged.extend(left.iter().chain(right));
        }
        std::mem::swap(&mut places, &mut merged);
        run *= 2;
    }
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    Ok(places.into_iter().filter_map(|place| items[place].take()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_schema::Silent;

    #[test]
    fn sorting_is_stable_in_both_directions_at_every_length() {
        let budget = Budget::for_input(0, 0, &Silent);
        for length in 0..70 {
            let items: Vec<(i128, usize)> = (0..length).map(|at| ((at as i128 * 37 + 5) % 7, at)).collect();
            for reverse in [false, true] {
                let mut expected = items.clone();
                expected.sort_by(|left, right| if reverse { right.0.cmp(&left.0) } else { left.0.cmp(&right.0) });
                let found = sorted(&budget, items.clone(), |item| Value::Int(item.0), reverse).expect("numbers");
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn what_has_no_order_is_refused_and_stops_no_thread() {
        let budget = Budget::for_input(0, 0, &Silent);
        for length in 2..200 {
            let mixed =
                |at: usize| if at % 3 == 1 { Value::Float(f64::NAN) } else { Value::Int((at * 31 % 17) as i128) };
            let said = sorted(&budget, (0..length).map(mixed).collect(), Value::clone, false).expect_err("refused");
            assert!(said.message.contains("nan"), "{}", said.message);
            let mixed = |at: usize| if at % 3 == 1 { Value::text("a") } else { Value::Int((at * 31 % 17) as i128) };
            let said = sorted(&budget, (0..length).map(mixed).collect(), Value::clone, false).expect_err("refused");
            assert!(said.message.contains("not supported between"), "{}", said.message);
        }
    }

    #[test]
    fn numbers_are_compared_exactly_and_looked_for_in_ranges_without_overflow() {
        let budget = Budget::for_input(0, 0, &Silent);
        let float = Value::Float((1u64 << 53) as f64);
        assert!(!equal(&budget, &float, &Value::Int((1 << 53) + 1)).expect("numbers"));
        assert!(equal(&budget, &Value::Float(1e38), &Value::Int(1e38 as i128)).expect("numbers"));
        let range = |start, stop, step| Value::Range(crate::chat::jinja::value::Range { start, stop, step });
        for (container, value, found) in [
            (range(5, 0, -1), Value::Float(-1e300), false),
            (range(5, 0, -1), Value::Int(i128::MIN), false),
            (range(5, 0, -1), Value::Float(f64::NAN), false),
            (range(5, 0, -1), Value::Float(1.0), true),
            (range(i128::MIN, i128::MAX, i128::MAX), Value::Int(i128::MAX - 1), true),
            (range(0, 9, 4), Value::Int(8), true),
            (range(0, 8, 4), Value::Int(8), false),
            (range(0, 8, 4), Value::Bool(true), false),
        ] {
            assert_eq!(contains(&budget, &container, &value).expect("numbers"), found, "{value:?}");
        }
    }
}
