//! What does Python write as JSON that is no JSON?
//!
//! `json.dumps` writes floats that are not finite as `NaN`, `Infinity` and `-Infinity`, and halves of characters as they
//! stand in a string, `\ud800`. Files and lines are read as they are first; only those that fail come here, so that this costs
//! nothing where nothing is wrong.

use std::ops::Range;

const NOT_FINITE: [(&[u8], f64); 3] =
    [(b"-Infinity", f64::NEG_INFINITY), (b"Infinity", f64::INFINITY), (b"NaN", f64::NAN)];
/// What stands for half a character: one mark for each, as Python's `len` counts one.
const HALF: &[u8] = b"\\ufffd";

/// A line that was made JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// What it says in JSON.
    pub line: Vec<u8>,
    /// Byte sequences that were replaced in its strings.
    pub replaced: u64,
}

/// How a reader spells a number that is not finite in JSON.
pub type Spelling = fn(f64) -> &'static str;

/// The line with numbers for what is not finite; none where nothing of that is in it. In a line of a conversation these
/// are spelt as `conversation` says, and halves of characters become whole ones; elsewhere they are `null`.
pub fn mend(line: &[u8], conversation: Option<Spelling>) -> Option<Mended> {
    let mut mended = Mended { line: Vec::with_capacity(line.len() + 16), replaced: 0 };
    let (mut at, mut copied) = (0, 0);
    let mut put = |mended: &mut Mended, range: Range<usize>, instead: &[u8]| {
        mended.line.extend_from_slice(&line[copied..range.start]);
        mended.line.extend_from_slice(instead);
        copied = range.end;
    };
    let mut in_string = false;
    while at < line.len() {
        let rest = &line[at..];
        at += match (in_string, rest[0]) {
            (_, b'"') => {
                in_string = !in_string;
                1
            }
            (true, b'\\') => {
                let (length, is_half) = escape(rest);
                if is_half && conversation.is_some() {
                    put(&mut mended, at..at + length, HALF);
                    mended.replaced += 1;
                }
                length
            }
            (false, b'-' | b'I' | b'N') => match NOT_FINITE.iter().find(|(word, _)| rest.starts_with(word)) {
                Some((word, number)) => {
                    let spelt = conversation.map_or("null", |spelling| spelling(*number));
                    put(&mut mended, at..at + word.len(), spelt.as_bytes());
                    word.len()
                }
                None => 1,
            },
            _ => 1,
        };
    }
    if copied == 0 {
        return None;
    }
    mended.line.extend_from_slice(&line[copied..]);
    Some(mended)
}

/// Length of the escape, or pair of escapes, that `text` begins with, and whether it is half a character.
fn escape(text: &[u8]) -> (usize, bool) {
    match unit(text) {
        Some(0xd800..=0xdbff) => match text.get(6..).and_then(unit) {
            Some(0xdc00..=0xdfff) => (12, false),
            _ => (6, true),
        },
        Some(0xdc00..=0xdfff) => (6, true),
        Some(_) => (6, false),
        None => (2, false),
    }
}

/// The number of an escape of four hexadecimal digits, such as `\ud83d`.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_outside_of_strings_is_a_number() {
        let of = |line: &str| {
            mend(line.as_bytes(), Some(|number| if number > 0.0 { "1e999" } else { "-1e999" }))
                .map(|m| (String::from_utf8(m.line).expect("text"), m.replaced))
        };
        let whole = |text: &str| Some((text.to_owned(), 0));
        assert_eq!(
            of(r#"{"NaN": 1, "a": [-Infinity,Infinity], "b": -1}"#),
            whole(r#"{"NaN": 1, "a": [-1e999,1e999], "b": -1}"#)
        );
        let plain = mend(b"[NaN, -Infinity]", None).expect("mended");
        assert_eq!(plain.line, b"[null, null]");
        assert_eq!(of(r#"{"a": "\\\" NaN", "b": "\ud83d\ude00 \u00e9"}"#), None);
        assert_eq!(of(r#"{"a": "\ud800x\\ud800\udc00"}"#), Some((r#"{"a": "\ufffdx\\ud800\ufffd"}"#.to_owned(), 2)));
        assert!(mend(br#"{"a": "\ud800"}"#, None).is_none());
    }
}
