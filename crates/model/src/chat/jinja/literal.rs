//! Which value does a literal stand for?

use super::budget::{Failure, Result};
use super::lexer::Word;
use super::operators::too_large;

/// The number that a text begins with, and its length. After a dot there are only whole numbers: `x.0.1` are two.
pub(super) fn number(text: &str, after_dot: bool) -> Result<(Word, usize)> {
    let lower: String = text.chars().take_while(char::is_ascii).take(400).collect::<String>().to_ascii_lowercase();
    for (prefix, radix) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let length = grouped(digits, |c| c.is_digit(radix), true);
            if length > 0 {
                return Ok((whole(&digits[..length], radix)?, 2 + length));
            }
        }
    }
    let digit = |c: char| c.is_ascii_digit();
    let length = grouped(&lower, digit, false);
    if !after_dot {
        let fraction = match lower[length..].strip_prefix('.') {
            Some(digits) => grouped(digits, digit, false),
            None => 0,
        };
        let mantissa = if fraction > 0 { length + 1 + fraction } else { length };
        let exponent = exponent(&lower[mantissa..]);
        let end = mantissa + exponent;
        if end > length {
            let plain = lower[..end].replace('_', "");
            let value = plain.parse().map_err(|_| Failure::new(format!("no number: {plain}")))?;
            return Ok((Word::Float(value), end));
        }
    }
    // Python has no whole numbers with zeros before them.
    if lower.starts_with('0') {
        let zeros = grouped(&lower, |c| c == '0', false);
        return Ok((Word::Int(0), zeros));
    }
    Ok((whole(&lower[..length], 10)?, length))
}

/// How long the exponent is that a text begins with.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix('e') else { return 0 };
    let sign = usize::from(rest.starts_with(['+', '-']));
    match grouped(&rest[sign..], |c| c.is_ascii_digit(), false) {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

/// How long a text's first digits are, with single underscores between them.
fn grouped(text: &str, digit: impl Fn(char) -> bool, underscore_first: bool) -> usize {
    let mut length = 0;
    let mut last = if underscore_first { '0' } else { '_' };
    for (at, c) in text.char_indices() {
        if digit(c) {
            length = at + 1;
        } else if c != '_' || last == '_' {
            break;
        }
        last = c;
    }
    length
}

fn whole(digits: &str, radix: u32) -> Result<Word> {
    i128::from_str_radix(&digits.replace('_', ""), radix).map(Word::Int).map_err(|_| too_large())
}

/// The text in quotation marks that a text begins with, and its length.
pub(super) fn text(text: &str, quote: char) -> Result<(Word, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((Word::Text(out.into()), at + 1));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some((at, escape)) = chars.next() else { break };
        let code = &text[at..];
        let skipped = escaped(escape, code, &mut out)?;
        for _ in 0..skipped {
            chars.next();
        }
    }
    Err(Failure::new(format!("unexpected char {quote:?}")))
}

/// Writes what an escape sequence stands for; the characters of it behind its letter.
fn escaped(escape: char, code: &str, out: &mut String) -> Result<usize> {
    let plain = match escape {
        '\n' => return Ok(0),
        '\\' | '\'' | '"' => escape,
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => return hexadecimal(code, 2, out),
        'u' => return hexadecimal(code, 4, out),
        'U' => return hexadecimal(code, 8, out),
        'N' => return Err(Failure::new("characters by name (\\N) are not supported: write \\u and the number")),
        '0'..='7' => {
            let length = code.chars().take(3).take_while(|c| c.is_digit(8)).count();
            let value = u32::from_str_radix(&code[..length], 8).unwrap_or(0);
            out.extend(char::from_u32(value));
            return Ok(length - 1);
        }
        other => {
            // As in Python, what is no escape sequence stays.
            out.push('\\');
            other
        }
    };
    out.push(plain);
    Ok(0)
}

fn hexadecimal(code: &str, length: usize, out: &mut String) -> Result<usize> {
    let wrong = || Failure::new(format!("an escape sequence without its {length} hexadecimal digits"));
    let read = |code: &str| {
        let digits = code.get(1..=length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let first = read(code).ok_or_else(wrong)?;
    match char::from_u32(first) {
        Some(c) => out.push(c),
        None => return Err(Failure::new(format!("\\u{first:04x} is half of a pair of surrogates: no character"))),
    }
    Ok(length)
}
