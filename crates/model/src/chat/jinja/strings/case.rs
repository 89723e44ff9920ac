//! Which case have a text's letters, and which classes?

use super::super::arguments::Given;
use super::super::budget::{Budget, Result};
use super::super::unicode::{
    fold, is_alnum, is_alpha, is_decimal, is_digit, is_numeric, is_printable, is_space, title as title_of,
};
use super::super::value::Value;

/// The method's value, none where it is none of these.
pub(super) fn call(budget: &Budget, text: &str, name: &str, given: &Given) -> Result<Option<Value>> {
    let all = |class: fn(char) -> bool| Some(Value::Bool(!text.is_empty() && text.chars().all(class)));
    let found = match name {
        "isalnum" => all(is_alnum),
        "isalpha" => all(is_alpha),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(is_digit),
        "isnumeric" => all(is_numeric),
        "isspace" => all(is_space),
        "isascii" => Some(Value::Bool(text.is_ascii())),
        "isprintable" => Some(Value::Bool(text.chars().all(is_printable))),
        "isidentifier" => {
            let name = |c: char| c == '_' || c.is_alphanumeric();
            let first = text.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic());
            Some(Value::Bool(first && text.chars().all(name)))
        }
        "islower" => Some(Value::Bool(is_lower(text))),
        "isupper" => Some(Value::Bool(is_upper(text))),
        "istitle" => Some(Value::Bool(is_title(text))),
        _ => changed(text, name).map(Value::text),
    };
    if let Some(found) = &found {
        given.none(name)?;
        budget.look_through(text)?;
        budget.claim(found.as_text().map_or(0, |text| text.len()))?;
    }
    Ok(found)
}

fn changed(text: &str, name: &str) -> Option<String> {
    Some(match name {
        "lower" => text.to_lowercase(),
        "upper" => text.to_uppercase(),
        "capitalize" => capitalized(text),
        "title" => title(text),
        "casefold" => {
            let mut out = String::new();
            text.chars().for_each(|c| fold(c, &mut out));
            out
        }
        "swapcase" => {
            let mut out = String::new();
            for c in text.chars() {
                if c.is_uppercase() {
                    out.extend(c.to_lowercase());
                } else {
                    out.extend(c.to_uppercase());
                }
            }
            out
        }
        _ => return None,
    })
}

/// `str.capitalize`.
pub(crate) fn capitalized(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    if let Some(first) = chars.next() {
        title_of(first, &mut out);
    }
    out + &chars.as_str().to_lowercase()
}

/// `str.title`.
fn title(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            title_of(c, &mut out);
        }
        inside = is_cased(c);
    }
    out
}

fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

/// `str.islower`.
pub(crate) fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
}

/// `str.isupper`.
pub(crate) fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

fn is_title(text: &str) -> bool {
    let (mut inside, mut any) = (false, false);
    for c in text.chars() {
        let fits = if c.is_lowercase() { inside } else { !is_cased(c) || !inside };
        if !fits {
            return false;
        }
        inside = is_cased(c);
        any |= inside;
    }
    any
}
