//! What does `text.format(…)` give?

use super::super::arguments::Given;
use super::super::budget::{Budget, Failure, Result};
use super::super::spec::formatted;
use super::super::text::{ascii, repr, shown};
use super::super::value::{Key, Value};

/// Finds `value.name`, or `value[name]`: whether it is an attribute, the value and the name.
pub(crate) type Lookup<'a> = dyn Fn(bool, &Value, &str) -> Result<Value> + 'a;

/// `text.format(…)`.
pub(super) fn format(budget: &Budget, text: &str, given: &Given, lookup: &Lookup<'_>) -> Result<String> {
    let named = |name: &str| given.named.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    Writer { budget, positional: &given.positional, named: &named, lookup, next: Some(0) }.written(text, 2)
}

/// `text.format_map(mapping)`.
pub(super) fn format_map(budget: &Budget, text: &str, mapping: Option<&Value>, lookup: &Lookup<'_>) -> Result<String> {
    let named = |name: &str| match mapping {
        Some(Value::Dict(dict)) => dict.get(&Key::Text(name.into())).cloned(),
        _ => None,
    };
    Writer { budget, positional: &[], named: &named, lookup, next: Some(0) }.written(text, 2)
}

struct Writer<'a> {
    budget: &'a Budget<'a>,
    positional: &'a [Value],
    named: &'a dyn Fn(&str) -> Option<Value>,
    lookup: &'a Lookup<'a>,
    /// The value that `{}` stands for; none once values are numbered.
    next: Option<usize>,
}

impl Writer<'_> {
    /// The text with its fields replaced; fields in forms are one level deeper.
    fn written(&mut self, text: &str, levels: usize) -> Result<String> {
        if levels == 0 {
            return Err(Failure::new("Max string recursion exceeded"));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(Failure::new("Single '}' encountered in format string"));
            }
            let end = closing(after).ok_or_else(|| Failure::new("expected '}' before end of string"))?;
            let field = self.field(&after[..end], levels)?;
            self.budget.claim(field.len())?;
            out.push_str(&field);
            rest = &after[end + 1..];
        }
        self.budget.claim(text.len())?;
        Ok(out + rest)
    }

    fn field(&mut self, field: &str, levels: usize) -> Result<String> {
        let bracketed = field.find('[').and_then(|open| field[open..].find(']').map(|close| open + close));
        let from = bracketed.unwrap_or(0);
        let head_end = field[from..].find(['!', ':']).map_or(field.len(), |at| from + at);
        let (name, rest) = field.split_at(head_end);
        let (conversion, rest) = match rest.strip_prefix('!') {
            Some(rest) => (rest.chars().next(), rest.get(1..).unwrap_or("")),
            None => (None, rest),
        };
        let spec = rest.strip_prefix(':').unwrap_or(rest);
        let value = self.value(name)?;
        let spec = self.written(spec, levels - 1 + usize::from(spec.is_empty()))?;
        let value = match conversion {
            None => value,
            Some('s') => Value::Text(shown(self.budget, &value)?),
            Some('r') => Value::text(repr(self.budget, &value)?),
            Some('a') => Value::text(ascii(self.budget, &value)?),
            Some(other) => return Err(Failure::new(format!("Unknown conversion specifier {other}"))),
        };
        formatted(self.budget, &value, &spec)
    }

    /// What `0.role` or `message[content]` stands for.
    fn value(&mut self, name: &str) -> Result<Value> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let mut value = self.first(first)?;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = (self.lookup)(true, &value, &after[..end])?;
                rest = &after[end..];
            } else {
                let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
                    return Err(Failure::new("Missing ']' in format string"));
                };
                value = (self.lookup)(false, &value, index)?;
                rest = after;
            }
        }
        Ok(value)
    }

    fn first(&mut self, name: &str) -> Result<Value> {
        let index = match (name.parse::<usize>(), self.next) {
            (Ok(_), Some(next)) if next > 0 => {
                return Err(Failure::new("cannot switch from automatic field numbering to manual field specification"));
            }
            (Ok(index), _) => {
                self.next = None;
                index
            }
            (Err(_), Some(next)) if name.is_empty() => {
                self.next = Some(next + 1);
                next
            }
            (Err(_), None) if name.is_empty() => {
                return Err(Failure::new("cannot switch from manual field specification to automatic field numbering"));
            }
            _ => return (self.named)(name).ok_or_else(|| Failure::new(format!("key error: '{name}'"))),
        };
        let missing = || Failure::new(format!("Replacement index {index} out of range for positional args tuple"));
        self.positional.get(index).cloned().ok_or_else(missing)
    }
}

/// Where the brace is that closes a field.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}
