//! What does `text % values` give?

use super::budget::{Budget, Failure, Result};
use super::operators::too_large;
use super::spec::{check_precision, number, padded, plain_float};
use super::text::{ascii, repr, shown};
use super::value::{Key, Value, whole_of};
use std::iter::Peekable;
use std::str::Chars;

/// A conversion, as `%(name)-08.3f`.
#[derive(Default)]
struct Conversion {
    left: bool,
    zeros: bool,
    sign: Option<char>,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// The values that are still to be written.
struct Source<'a> {
    values: &'a Value,
    passed: usize,
}

impl Source<'_> {
    fn next(&mut self) -> Result<Value> {
        let found = match self.values {
            Value::Tuple(list) => list.items.get(self.passed).cloned(),
            value => (self.passed == 0).then(|| value.clone()),
        };
        self.passed += 1;
        found.ok_or_else(|| Failure::new("not enough arguments for format string"))
    }

    fn named(&mut self, name: &str) -> Result<Value> {
        let Value::Dict(dict) = self.values else { return Err(Failure::new("format requires a mapping")) };
        let found = dict.get(&Key::Text(name.into()));
        found.cloned().ok_or_else(|| Failure::new(format!("key error: '{name}'")))
    }

    /// That every value was written.
    fn all_passed(&self) -> bool {
        match self.values {
            Value::Tuple(list) => self.passed >= list.items.len(),
            // Python takes what has items, but is no text, for a mapping.
            Value::Dict(_) | Value::List(_) | Value::Range(_) => true,
            _ => self.passed > 0,
        }
    }
}

/// `text % values`.
pub(super) fn format(budget: &Budget, text: &str, values: &Value) -> Result<String> {
    let mut source = Source { values, passed: 0 };
    let mut named = false;
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    budget.claim(text.len())?;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let name = if chars.next_if_eq(&'(').is_some() { Some(in_brackets(&mut chars)?) } else { None };
        let conversion = read(&mut chars, &mut source)?;
        while chars.next_if(|c| matches!(c, 'h' | 'l' | 'L')).is_some() {}
        let Some(kind) = chars.next() else { return Err(Failure::new("incomplete format")) };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match &name {
            Some(name) => source.named(name)?,
            None => source.next()?,
        };
        named |= name.is_some();
        let before = out.len();
        write(budget, kind, &conversion, &value, &mut out)?;
        budget.claim(out.len() - before)?;
    }
    if !named && !source.all_passed() {
        return Err(Failure::new("not all arguments converted during string formatting"));
    }
    Ok(out)
}

fn in_brackets(chars: &mut Peekable<Chars<'_>>) -> Result<String> {
    let (mut name, mut depth) = (String::new(), 1);
    for c in chars.by_ref() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 {
            return Ok(name);
        }
        name.push(c);
    }
    Err(Failure::new("incomplete format key"))
}

fn read(chars: &mut Peekable<Chars<'_>>, source: &mut Source<'_>) -> Result<Conversion> {
    let mut found = Conversion::default();
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '#' | '0')) {
        match flag {
            '-' => found.left = true,
            '+' => found.sign = Some('+'),
            ' ' => found.sign = found.sign.or(Some(' ')),
            '#' => found.alternate = true,
            _ => found.zeros = true,
        }
    }
    let mut size = |chars: &mut Peekable<Chars<'_>>| match chars.next_if_eq(&'*') {
        None => number(chars).map(|number| number.unwrap_or(0) as i128),
        Some(_) => source.next()?.as_int().ok_or_else(|| Failure::new("* wants int")),
    };
    let width = size(chars)?;
    found.left |= width < 0;
    found.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    if chars.next_if_eq(&'.').is_some() {
        found.precision = Some(usize::try_from(size(chars)?).unwrap_or(0));
    }
    Ok(found)
}

fn write(budget: &Budget, kind: char, conversion: &Conversion, value: &Value, out: &mut String) -> Result<()> {
    let cut = |text: String| match conversion.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    };
    let (sign, prefix, body) = match kind {
        's' => ("", "", cut(shown(budget, value)?.as_ref().to_owned())),
        'r' => ("", "", cut(repr(budget, value)?)),
        'a' => ("", "", cut(ascii(budget, value)?)),
        'c' => ("", "", character(value)?),
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => whole(budget, kind, conversion, value)?,
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let Some(number) = value.as_float() else {
                return Err(Failure::new(format!("must be real number, not {}", value.type_name())));
            };
            check_precision(budget, conversion.precision)?;
            let body = plain_float(number.abs(), kind, conversion.precision, conversion.alternate);
            (sign_of(number.is_sign_negative(), conversion), "", body)
        }
        other => return Err(Failure::new(format!("unsupported format character '{other}'"))),
    };
    let numeric = !matches!(kind, 's' | 'r' | 'a' | 'c');
    if numeric && conversion.zeros && !conversion.left {
        out.push_str(sign);
        out.push_str(prefix);
        let room = conversion.width.saturating_sub(sign.len() + prefix.len());
        out.push_str(&padded(budget, &body, '0', '>', room)?);
        return Ok(());
    }
    let align = if conversion.left { '<' } else { '>' };
    out.push_str(&padded(budget, &format!("{sign}{prefix}{body}"), ' ', align, conversion.width)?);
    Ok(())
}

fn sign_of(negative: bool, conversion: &Conversion) -> &'static str {
    match conversion.sign {
        _ if negative => "-",
        Some('+') => "+",
        Some(_) => " ",
        None => "",
    }
}

fn character(value: &Value) -> Result<String> {
    let found = match value.as_text() {
        Some(text) if text.chars().count() == 1 => Some(text.as_ref().to_owned()),
        Some(_) => None,
        None => value.as_int().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32).map(String::from),
    };
    found.ok_or_else(|| Failure::new("%c requires int or char"))
}

/// Sign, prefix and digits of a whole number.
fn whole(
    budget: &Budget,
    kind: char,
    conversion: &Conversion,
    value: &Value,
) -> Result<(&'static str, &'static str, String)> {
    let number = match value {
        Value::Float(number) if matches!(kind, 'd' | 'i' | 'u') && number.is_finite() => {
            whole_of(number.trunc()).ok_or_else(too_large)?
        }
        other => other.as_int().ok_or_else(|| {
            let need = if matches!(kind, 'd' | 'i' | 'u') { "a real number" } else { "an integer" };
            Failure::new(format!("%{kind} format: {need} is required, not {}", other.type_name()))
        })?,
    };
    let digits = number.unsigned_abs();
    let (prefix, digits) = match kind {
        'o' => ("0o", format!("{digits:o}")),
        'x' => ("0x", format!("{digits:x}")),
        'X' => ("0X", format!("{digits:X}")),
        _ => ("", digits.to_string()),
    };
    let digits = padded(budget, &digits, '0', '>', conversion.precision.unwrap_or(0))?;
    Ok((sign_of(number < 0, conversion), if conversion.alternate { prefix } else { "" }, digits))
}
