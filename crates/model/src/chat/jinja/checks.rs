//! Which tests does a value pass?
//!
//! What follows `is`.

use super::arguments::Given;
use super::budget::{Budget, Failure, Result};
use super::compare::holds;
use super::operators::binary;
use super::sequence::is_iterable;
use super::strings::{is_lower, is_upper};
use super::text::shown;
use super::value::Value;
use std::rc::Rc;
use std::sync::Arc;

const NAMES: [&str; 39] = [
    "odd",
    "even",
    "divisibleby",
    "defined",
    "undefined",
    "filter",
    "test",
    "none",
    "boolean",
    "false",
    "true",
    "integer",
    "float",
    "lower",
    "upper",
    "string",
    "mapping",
    "number",
    "sequence",
    "iterable",
    "callable",
    "sameas",
    "escaped",
    "in",
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    ">",
    "gt",
    "greaterthan",
    "ge",
    ">=",
    "<",
    "lt",
    "lessthan",
    "<=",
    "le",
];

/// Whether there is a test of this name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// `value is name(…)`
pub(super) fn check(budget: &Budget, name: &str, value: &Value, given: &Given) -> Result<bool> {
    let operator = match name {
        "==" | "eq" | "equalto" => "==",
        "!=" | "ne" => "!=",
        ">" | "gt" | "greaterthan" => ">",
        ">=" | "ge" => ">=",
        "<" | "lt" | "lessthan" => "<",
        "<=" | "le" => "<=",
        "in" => "in",
        _ => return of_value(budget, name, value, given),
    };
    let [other] = given.bind(name, ["/b"], 1)?;
    holds(budget, operator, value, &other.unwrap_or(Value::None))
}

fn of_value(budget: &Budget, name: &str, value: &Value, given: &Given) -> Result<bool> {
    match name {
        "divisibleby" => {
            let [number] = given.bind(name, ["num"], 1)?;
            return rest_is(budget, value, &number.unwrap_or(Value::None), 0);
        }
        "sameas" => {
            let [other] = given.bind(name, ["other"], 1)?;
            return Ok(is_same(value, &other.unwrap_or(Value::None)));
        }
        _ => given.none(name)?,
    }
    Ok(match name {
        "odd" => rest_is(budget, value, &Value::Int(2), 1)?,
        "even" => rest_is(budget, value, &Value::Int(2), 0)?,
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "filter" => value.as_text().is_some_and(|name| super::filters::exists(name)),
        "test" => value.as_text().is_some_and(|name| exists(name)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
        "lower" | "upper" => {
            let text = shown(budget, value)?;
            budget.look_through(&text)?;
            if name == "lower" { is_lower(&text) } else { is_upper(&text) }
        }
        "string" => value.as_text().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        // Jinja2 takes whatever has a length and items; what is undefined has an empty one.
        "sequence" => matches!(
            value,
            Value::Undefined(_)
                | Value::Text(_)
                | Value::Markup(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
        ),
        "iterable" => is_iterable(budget, value)?,
        "callable" => matches!(value, Value::Undefined(_) | Value::Function(_) | Value::Method(_)),
        "escaped" => matches!(value, Value::Markup(_)),
        _ => return Err(Failure::new(format!("No test named '{name}'."))),
    })
}

fn rest_is(budget: &Budget, value: &Value, number: &Value, rest: i128) -> Result<bool> {
    if value.as_text().is_some() {
        return Err(Failure::new("not all arguments converted during string formatting"));
    }
    let found = binary(budget, "%", value, number)?;
    holds(budget, "==", &found, &Value::Int(rest))
}

/// Whether two values are one object to Python, which keeps small whole numbers and single characters once.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right && (-5..=256).contains(left),
        (Value::Text(left), Value::Text(right)) => {
            let one = left.len() <= 'ÿ'.len_utf8() && left.chars().count() < 2 && left.chars().all(|c| c <= 'ÿ');
            one && left == right || Arc::ptr_eq(left, right)
        }
        (Value::Undefined(left), Value::Undefined(right)) => Rc::ptr_eq(left, right),
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => Rc::ptr_eq(left, right),
        (Value::Dict(left), Value::Dict(right)) => Rc::ptr_eq(left, right),
        (Value::Object(left), Value::Object(right)) => left == right,
        (Value::Function(left), Value::Function(right)) => left == right,
        _ => false,
    }
}
