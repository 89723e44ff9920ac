//! What do filters make of numbers?

use super::super::arguments::{Given, int};
use super::super::budget::{Budget, Failure, Result};
use super::super::operators::too_large;
use super::super::spec::check_precision;
use super::super::unicode::{ascii_digit, is_space};
use super::super::value::{Value, undefined_error, whole_of};

/// The filter's value, none where it is none of these.
pub(super) fn apply(budget: &Budget, name: &str, value: &Value, given: &Given) -> Result<Option<Value>> {
    Ok(Some(match name {
        "abs" => {
            given.none(name)?;
            match value {
                Value::Float(number) => Value::Float(number.abs()),
                Value::Undefined(missing) => return Err(undefined_error(missing)),
                other => match other.as_int().map(i128::checked_abs) {
                    Some(Some(number)) => Value::Int(number),
                    _ => return Err(Failure::new(format!("bad operand type for abs(): '{}'", other.type_name()))),
                },
            }
        }
        "float" => {
            let [default] = given.bind(name, ["default"], 0)?;
            match value {
                Value::Undefined(missing) => return Err(undefined_error(missing)),
                value => float_of(budget, value)?.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)),
            }
        }
        "int" => {
            let [default, base] = given.bind(name, ["default", "base"], 0)?;
            if let Value::Undefined(missing) = value {
                return Err(undefined_error(missing));
            }
            let base = int(base.as_ref(), 10)?;
            int_of(budget, value, base)?.or(default).unwrap_or(Value::Int(0))
        }
        "round" => round(budget, value, given)?,
        "filesizeformat" => {
            let [binary] = given.bind(name, ["binary"], 0)?;
            let Some(bytes) = float_of(budget, value)? else {
                return Err(Failure::new("filesizeformat needs a number"));
            };
            Value::text(file_size(bytes, binary.is_some_and(|binary| binary.is_true())))
        }
        _ => return Ok(None),
    }))
}

/// The digits of a number's text, with underscores only between digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let between = |at: usize| {
        let digit =
            |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric());
        digit(at.checked_sub(1)) && digit(Some(at + 1))
    };
    let fits = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || between(at));
    fits.then(|| text.replace('_', ""))
}

/// `float(value)`
fn float_of(budget: &Budget, value: &Value) -> Result<Option<f64>> {
    let Some(text) = value.as_text() else { return Ok(value.as_float()) };
    budget.look_through(text)?;
    let plain: String = text.trim_matches(is_space).chars().map(ascii_digit).collect();
    let lower = plain.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let named = matches!(lower.as_str(), "inf" | "infinity" | "nan");
    let digits = lower.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-' | b'_'));
    if !named && !digits {
        return Ok(None);
    }
    Ok(without_underscores(&plain).and_then(|plain| plain.parse().ok()))
}

/// `int(value, base)`, and of the number with a fraction where that is none.
fn int_of(budget: &Budget, value: &Value, base: i128) -> Result<Option<Value>> {
    if let Some(text) = value.as_text() {
        budget.look_through(text)?;
        let text: String = text.trim_matches(is_space).chars().map(ascii_digit).collect();
        if let Some(found) = whole(&text, base)? {
            return Ok(Some(Value::Int(found)));
        }
    } else if let Some(number) = value.as_int() {
        return Ok(Some(Value::Int(number)));
    }
    match float_of(budget, value)? {
        Some(number) if number.is_finite() => {
            whole_of(number.trunc()).map(|whole| Some(Value::Int(whole))).ok_or_else(too_large)
        }
        // Python's own `int` of what is infinite is an error only for numbers, which the filter passes on.
        _ => Ok(None),
    }
}

fn whole(text: &str, base: i128) -> Result<Option<i128>> {
    if base != 0 && !(2..=36).contains(&base) {
        return Err(Failure::new("int() base must be >= 2 and <= 36, or 0"));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find(|(prefix, radix)| lower.starts_with(prefix) && (base == 0 || base == *radix));
    let (radix, body) = match prefixed {
        Some((_, radix)) => (radix as u32, lower[2..].trim_start_matches('_')),
        None if base == 0 => (10, lower.as_str()),
        None => (base as u32, lower.as_str()),
    };
    let Some(body) = without_underscores(body) else { return Ok(None) };
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return Ok(None);
    }
    if base == 0 && prefixed.is_none() && body.len() > 1 && body.starts_with('0') && body.bytes().any(|b| b != b'0') {
        return Ok(None);
    }
    let sign = if negative { "-" } else { "" };
    i128::from_str_radix(&format!("{sign}{body}"), radix).map(Some).map_err(|_| too_large())
}

fn round(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    let [precision, method] = given.bind("round", ["precision", "method"], 0)?;
    let precision = int(precision.as_ref(), 0)?;
    let method = method.unwrap_or_else(|| Value::text("common"));
    let method = method.as_text().map_or("", |method| method);
    if !matches!(method, "common" | "ceil" | "floor") {
        return Err(Failure::new("method must be common, ceil or floor"));
    }
    if let Value::Undefined(missing) = value {
        return Err(undefined_error(missing));
    }
    let Some(number) = value.as_float() else {
        return Err(Failure::new(format!("type {} doesn't define __round__ method", value.type_name())));
    };
    if method == "common" {
        return rounded(budget, value, number, precision);
    }
    let power = 10f64.powi(i32::try_from(precision).unwrap_or(if precision < 0 { i32::MIN } else { i32::MAX }));
    let scaled = number * power;
    if !scaled.is_finite() {
        return Err(Failure::new("cannot convert float infinity to integer"));
    }
    Ok(Value::Float(if method == "ceil" { scaled.ceil() } else { scaled.floor() } / power))
}

/// `round(value, precision)`: half of a digit goes to the even one.
fn rounded(budget: &Budget, value: &Value, number: f64, precision: i128) -> Result<Value> {
    if let Some(whole) = value.as_int() {
        if precision >= 0 {
            return Ok(Value::Int(whole));
        }
        let Some(power) = u32::try_from(precision.unsigned_abs()).ok().and_then(|digits| 10i128.checked_pow(digits))
        else {
            return Ok(Value::Int(0));
        };
        let (quotient, rest) = (whole.div_euclid(power), whole.rem_euclid(power));
        let up = rest > power - rest || rest == power - rest && quotient % 2 != 0;
        return (quotient + i128::from(up)).checked_mul(power).map(Value::Int).ok_or_else(too_large);
    }
    if !number.is_finite() || precision > 330 {
        return Ok(Value::Float(number));
    }
    if precision < -308 {
        return Ok(Value::Float(0f64.copysign(number)));
    }
    check_precision(budget, usize::try_from(precision).ok())?;
    match usize::try_from(precision) {
        Ok(digits) => Ok(Value::Float(format!("{number:.digits$}").parse().unwrap_or(number))),
        Err(_) => {
            let power = 10f64.powi(-precision as i32);
            Ok(Value::Float((number / power).round_ties_even() * power))
        }
    }
}

fn file_size(bytes: f64, binary: bool) -> String {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return "1 Byte".to_owned();
    }
    if bytes < base {
        // The sum makes a zero of a negative one.
        return format!("{} Bytes", bytes.trunc() + 0.0);
    }
    let letters = ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
    let mut unit = base;
    let mut named = 'k';
    for letter in letters {
        unit *= base;
        named = letter;
        if bytes < unit {
            break;
        }
    }
    let named = if binary { format!("{}i", named.to_ascii_uppercase()) } else { named.to_string() };
    format!("{:.1} {named}B", base * bytes / unit)
}
