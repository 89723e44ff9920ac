//! How does Python write a value?
//!
//! `str` and `repr`.

use super::budget::{Budget, Failure, Result};
use super::unicode::is_printable;
use super::value::{Value, View};
use std::fmt::Write;
use std::sync::Arc;

/// `str(value)`.
pub(super) fn shown(budget: &Budget, value: &Value) -> Result<Arc<str>> {
    match value {
        Value::Text(text) | Value::Markup(text) => Ok(text.clone()),
        Value::Undefined(_) => Ok("".into()),
        _ => repr(budget, value).map(Arc::from),
    }
}

/// `repr(value)`.
pub(super) fn repr(budget: &Budget, value: &Value) -> Result<String> {
    let mut out = String::new();
    write_repr(budget, value, &mut out)?;
    Ok(out)
}

/// `ascii(value)`.
pub(super) fn ascii(budget: &Budget, value: &Value) -> Result<String> {
    let shown = repr(budget, value)?;
    let mut out = String::new();
    for c in shown.chars() {
        match u32::from(c) {
            0..=0x7f => out.push(c),
            code @ 0..=0xff => drop(write!(out, "\\x{code:02x}")),
            code @ 0..=0xffff => drop(write!(out, "\\u{code:04x}")),
            code => drop(write!(out, "\\U{code:08x}")),
        }
    }
    budget.claim(out.len())?;
    Ok(out)
}

fn write_repr(budget: &Budget, value: &Value, out: &mut String) -> Result<()> {
    let before = out.len();
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
        Value::Int(value) => drop(write!(out, "{value}")),
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Text(text) => {
            budget.claim(text.len())?;
            budget.look_through(text)?;
            quoted(text, out);
        }
        Value::Markup(text) => {
            budget.claim(text.len())?;
            budget.look_through(text)?;
            out.push_str("Markup(");
            quoted(text, out);
            out.push(')');
        }
        Value::List(list) => return write_items(budget, &list.items, ["[", "]"], out),
        Value::Tuple(list) if list.items.len() == 1 => return write_items(budget, &list.items, ["(", ",)"], out),
        Value::Tuple(list) => return write_items(budget, &list.items, ["(", ")"], out),
        Value::Dict(dict) => {
            out.push('{');
            for (index, (key, value)) in dict.entries().iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                budget.deeper(|| write_repr(budget, key, out))?;
                out.push_str(": ");
                budget.deeper(|| write_repr(budget, value, out))?;
            }
            out.push('}');
            return budget.claim(2 + 4 * dict.len());
        }
        Value::View(view, dict) => {
            let name = value.type_name();
            let items = super::sequence::view(budget, *view, dict)?;
            write!(out, "{name}").map_err(|error| Failure::new(error.to_string()))?;
            debug_assert!(matches!(view, View::Keys | View::Values | View::Items));
            return write_items(budget, &items, ["([", "])"], out);
        }
        Value::Range(range) if range.step == 1 => drop(write!(out, "range({}, {})", range.start, range.stop)),
        Value::Range(range) => drop(write!(out, "range({}, {}, {})", range.start, range.stop, range.step)),
        Value::Slice(bounds) => return write_items(budget, bounds.as_slice(), ["slice(", ")"], out),
        Value::Object(_) => return Err(Failure::new("writing a namespace, a loop or a macro is not supported")),
        // Python shows where it stands in memory: nothing that a text may depend on.
        Value::Generator(_) | Value::Method(_) | Value::Function(_) => {
            let name = value.type_name();
            return Err(Failure::new(format!("a {name} is written: Python writes its address, which is no text")));
        }
    }
    budget.claim(out.len() - before)
}

fn write_items(budget: &Budget, items: &[Value], around: [&str; 2], out: &mut String) -> Result<()> {
    out.push_str(around[0]);
    for (index, item) in items.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        budget.deeper(|| write_repr(budget, item, out))?;
    }
    out.push_str(around[1]);
    budget.claim(4 + 2 * items.len())
}

/// A text in the quotation marks that need no escape.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => out.extend(['\\', c]),
            _ if is_printable(c) => out.push(c),
            _ => match u32::from(c) {
                code @ 0..=0xff => drop(write!(out, "\\x{code:02x}")),
                code @ 0..=0xffff => drop(write!(out, "\\u{code:04x}")),
                code => drop(write!(out, "\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

/// A number in the shortest form that reads as the same.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}
