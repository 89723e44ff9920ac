//! What do operators make of Python's values?

use super::budget::{Budget, Failure, Result};
use super::percent;
use super::value::{Value, undefined_error};
use std::mem::size_of;

/// Why a whole number has no value here.
pub(super) fn too_large() -> Failure {
    Failure::new("a whole number beyond 128 bits, which is not supported")
}

/// `left operator right`.
pub(super) fn binary(budget: &Budget, operator: &str, left: &Value, right: &Value) -> Result<Value> {
    budget.step(1)?;
    for side in [left, right] {
        if let Value::Undefined(missing) = side
            && !(operator == "%" && left.as_text().is_some())
        {
            return Err(undefined_error(missing));
        }
    }
    if let Some(found) = on_sequences(budget, operator, left, right)? {
        return Ok(found);
    }
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return whole(operator, left, right);
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return real(operator, left, right);
    }
    let (left, right) = (left.type_name(), right.type_name());
    let name = if operator == "**" { "** or pow()" } else { operator };
    Err(Failure::new(match operator {
        "+" if left == "str" => format!("can only concatenate str (not \"{right}\") to str"),
        _ => format!("unsupported operand type(s) for {name}: '{left}' and '{right}'"),
    }))
}

fn on_sequences(budget: &Budget, operator: &str, left: &Value, right: &Value) -> Result<Option<Value>> {
    Ok(Some(match (operator, left, right) {
        ("+", Value::Text(left), Value::Text(right)) => {
            budget.claim(left.len() + right.len())?;
            Value::text([&**left, &**right].concat())
        }
        ("+", Value::Text(_) | Value::Markup(_), Value::Text(_) | Value::Markup(_)) => {
            let (left, right) = (escaped(budget, left)?, escaped(budget, right)?);
            budget.claim(left.len() + right.len())?;
            Value::Markup((left + &right).into())
        }
        ("+", Value::List(left), Value::List(right)) => {
            budget.claim_product(left.items.len() + right.items.len(), size_of::<Value>())?;
            Value::list(budget, [&left.items[..], &right.items[..]].concat())?
        }
        ("+", Value::Tuple(left), Value::Tuple(right)) => {
            budget.claim_product(left.items.len() + right.items.len(), size_of::<Value>())?;
            Value::tuple(budget, [&left.items[..], &right.items[..]].concat())?
        }
        ("*", sequence, count) | ("*", count, sequence) if repeats(sequence, count) => {
            repeated(budget, sequence, count.as_int().unwrap_or(0))?
        }
        ("%", Value::Text(text), values) => Value::new_text(budget, percent::format(budget, text, values)?)?,
        ("%", Value::Markup(_), _) => return Err(Failure::new("'%' of text that is marked safe is not supported")),
        _ => return Ok(None),
    }))
}

fn repeats(sequence: &Value, count: &Value) -> bool {
    let sequence = matches!(sequence, Value::Text(_) | Value::Markup(_) | Value::List(_) | Value::Tuple(_));
    sequence && count.as_int().is_some()
}

fn repeated(budget: &Budget, sequence: &Value, count: i128) -> Result<Value> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    match sequence {
        Value::List(list) | Value::Tuple(list) => {
            budget.claim_product(list.items.len().saturating_mul(size_of::<Value>()), count)?;
            let items = if list.items.is_empty() { Vec::new() } else { vec![&list.items[..]; count].concat() };
            let make = if matches!(sequence, Value::List(_)) { Value::list } else { Value::tuple };
            make(budget, items)
        }
        _ => {
            let text = sequence.as_text().map_or("", |text| text);
            budget.claim_product(text.len(), count)?;
            let text = if text.is_empty() { String::new() } else { text.repeat(count) };
            Ok(if matches!(sequence, Value::Markup(_)) { Value::Markup(text.into()) } else { Value::text(text) })
        }
    }
}

fn whole(operator: &str, left: i128, right: i128) -> Result<Value> {
    if right == 0 && matches!(operator, "/" | "//" | "%") {
        let what = if operator == "/" { "division by zero" } else { "integer division or modulo by zero" };
        return Err(Failure::new(what));
    }
    let found = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "//" => left.checked_div_euclid(right).map(|_| floor_div(left, right)),
        "%" => {
            left.checked_rem(right).map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest })
        }
        "/" => return Ok(Value::Float(left as f64 / right as f64)),
        _ if right < 0 => return real("**", left as f64, right as f64),
        _ => power(left, right),
    };
    found.map(Value::Int).ok_or_else(too_large)
}

/// The quotient, towards minus infinity. No overflow: that was looked at.
fn floor_div(left: i128, right: i128) -> i128 {
    let quotient = left / right;
    if left % right != 0 && (left < 0) != (right < 0) { quotient - 1 } else { quotient }
}

fn power(base: i128, exponent: i128) -> Option<i128> {
    match base {
        0 | 1 => Some(if exponent == 0 { 1 } else { base }),
        -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => base.checked_pow(u32::try_from(exponent).ok()?),
    }
}

fn real(operator: &str, left: f64, right: f64) -> Result<Value> {
    let floor_mod = || {
        let rest = left % right;
        if rest != 0.0 && (rest < 0.0) != (right < 0.0) {
            rest + right
        } else if rest == 0.0 {
            0f64.copysign(right)
        } else {
            rest
        }
    };
    if right == 0.0 && matches!(operator, "/" | "//" | "%") {
        return Err(Failure::new(if operator == "%" { "float modulo" } else { "float division by zero" }));
    }
    Ok(Value::Float(match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "//" => {
            // As CPython: the remainder is taken off first, so that the quotient is whole.
            let quotient = (left - floor_mod()) / right;
            let floor = quotient.floor();
            if quotient - floor > 0.5 { floor + 1.0 } else { floor }
        }
        "%" => floor_mod(),
        _ if left == 0.0 && right < 0.0 => {
            return Err(Failure::new("0.0 cannot be raised to a negative power"));
        }
        _ if left < 0.0 && right != right.trunc() => return Err(Failure::new("complex numbers are not supported")),
        _ => {
            let power = left.powf(right);
            if power.is_infinite() && left.is_finite() && right.is_finite() {
                return Err(Failure::new("(34, 'Numerical result out of range')"));
            }
            power
        }
    }))
}

/// `-value` and `+value`.
pub(super) fn signed(sign: char, value: &Value) -> Result<Value> {
    match value {
        Value::Undefined(missing) => Err(undefined_error(missing)),
        Value::Float(number) => Ok(Value::Float(if sign == '-' { -number } else { *number })),
        other => match other.as_int() {
            Some(number) if sign == '-' => number.checked_neg().map(Value::Int).ok_or_else(too_large),
            Some(number) => Ok(Value::Int(number)),
            None => Err(Failure::new(format!("bad operand type for unary {sign}: '{}'", other.type_name()))),
        },
    }
}

/// Text with HTML's reserved characters escaped, unless it is marked safe.
pub(super) fn escaped(budget: &Budget, value: &Value) -> Result<String> {
    let text = super::text::shown(budget, value)?;
    if matches!(value, Value::Markup(_)) {
        return Ok(text.as_ref().to_owned());
    }
    budget.claim(5 * text.len())?;
    Ok(untangle_schema::html::escaped(&text))
}
