//! How do templates write JSON?
//!
//! As Python's `json.dumps` does, with what transformers' filter lets templates choose; Jinja's own filter would also
//! escape what HTML does.

use super::arguments::{Given, truth};
use super::budget::{Budget, Failure, Result};
use super::compare::sorted;
use super::text::float;
use super::value::{Dict, Value};
use std::fmt::Write;
use std::mem::size_of;

/// The filter `tojson`.
pub(super) fn tojson(budget: &Budget, value: &Value, given: &Given) -> Result<Value> {
    let [ascii, indent, separators, sorted] =
        given.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"], 0)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(text)) => Some(text.as_ref().to_owned()),
        Some(width) => {
            let width = super::arguments::size(Some(&width), 0)?;
            budget.claim(width)?;
            Some(" ".repeat(width))
        }
    };
    let (between, behind) = match separators {
        None | Some(Value::None) => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some(pair) => pair_of_texts(budget, &pair)?,
    };
    let (ascii, sorted) = (truth(ascii.as_ref(), false), truth(sorted.as_ref(), false));
    let mut writer = Writer { budget, ascii, indent, between, behind, sorted, level: 0, out: String::new() };
    writer.value(value)?;
    Ok(Value::text(writer.out))
}

fn pair_of_texts(budget: &Budget, pair: &Value) -> Result<(String, String)> {
    let parts = super::sequence::listed(budget, pair)?;
    match parts.as_slice() {
        [Value::Text(between), Value::Text(behind)] => Ok((between.as_ref().to_owned(), behind.as_ref().to_owned())),
        _ => Err(Failure::new("separators must be two strings")),
    }
}

struct Writer<'a> {
    budget: &'a Budget<'a>,
    ascii: bool,
    indent: Option<String>,
    between: String,
    behind: String,
    sorted: bool,
    level: usize,
    out: String,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<()> {
        let before = self.out.len();
        match value {
            Value::None => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => drop(write!(self.out, "{value}")),
            Value::Float(value) => self.out.push_str(&json_float(*value)),
            Value::Text(text) | Value::Markup(text) => self.text(text),
            Value::List(list) | Value::Tuple(list) => return self.list(&list.items),
            Value::Dict(dict) => return self.dict(dict),
            other => {
                return Err(Failure::new(format!("Object of type {} is not JSON serializable", other.type_name())));
            }
        }
        self.budget.claim(self.out.len() - before)
    }

    fn list(&mut self, items: &[Value]) -> Result<()> {
        self.out.push('[');
        self.level += 1;
        self.budget.enter()?;
        for (index, item) in items.iter().enumerate() {
            self.separate(index > 0)?;
            self.value(item)?;
        }
        self.budget.leave();
        self.level -= 1;
        self.close(!items.is_empty(), ']')
    }

    fn dict(&mut self, dict: &Dict) -> Result<()> {
        self.out.push('{');
        self.level += 1;
        self.budget.enter()?;
        self.budget.claim_product(dict.len(), size_of::<&(Value, Value)>())?;
        let mut entries: Vec<_> = dict.entries().iter().collect();
        if self.sorted {
            entries = sorted(self.budget, entries, |entry| entry.0.clone(), false)?;
        }
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.separate(index > 0)?;
            let before = self.out.len();
            self.key(key)?;
            self.out.push_str(&self.behind);
            self.budget.claim(self.out.len() - before)?;
            self.value(value)?;
        }
        self.budget.leave();
        self.level -= 1;
        self.close(dict.len() > 0, '}')
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        match key {
            Value::Text(text) | Value::Markup(text) => self.text(text),
            Value::None => self.out.push_str("\"null\""),
            Value::Bool(value) => drop(write!(self.out, "\"{value}\"")),
            Value::Int(value) => drop(write!(self.out, "\"{value}\"")),
            Value::Float(value) => drop(write!(self.out, "\"{}\"", json_float(*value))),
            other => {
                let found = other.type_name();
                return Err(Failure::new(format!("keys must be str, int, float, bool or None, not {found}")));
            }
        }
        Ok(())
    }

    /// What stands before an element.
    fn separate(&mut self, comma: bool) -> Result<()> {
        if comma {
            self.out.push_str(&self.between);
        }
        self.budget.claim(self.between.len())?;
        self.line()
    }

    fn line(&mut self) -> Result<()> {
        if let Some(indent) = &self.indent {
            self.budget.claim(1 + indent.len().saturating_mul(self.level))?;
            self.out.push('\n');
            for _ in 0..self.level {
                self.out.push_str(indent);
            }
        }
        Ok(())
    }

    fn close(&mut self, any: bool, bracket: char) -> Result<()> {
        if any {
            self.line()?;
        }
        self.out.push(bracket);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                '\0'..='\x1f' => drop(write!(self.out, "\\u{:04x}", u32::from(c))),
                '\x7f'.. if self.ascii => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}

fn json_float(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        _ => float(value),
    }
}
