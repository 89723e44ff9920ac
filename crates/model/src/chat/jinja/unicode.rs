//! Which characters are what for Python?
//!
//! Python's classes are general categories; Rust's own differ in some: vowel signs are alphabetic there, and letters
//! of numbers.

use regex::Regex;
use std::sync::LazyLock;

static LETTERS: LazyLock<Vec<[char; 2]>> = LazyLock::new(|| runs_of(r"\p{L}+"));
static DECIMALS: LazyLock<Vec<[char; 2]>> = LazyLock::new(|| runs_of(r"\p{Nd}+"));

/// First and last characters of the runs that match, in one pass through all characters that there are.
fn runs_of(pattern: &str) -> Vec<[char; 2]> {
    let all: String = ('\0'..=char::MAX).collect();
    let Ok(class) = Regex::new(pattern) else { return Vec::new() };
    class.find_iter(&all).filter_map(|run| ends_of(run.as_str())).collect()
}

fn ends_of(run: &str) -> Option<[char; 2]> {
    Some([run.chars().next()?, run.chars().next_back()?])
}

fn is_in(runs: &[[char; 2]], c: char) -> bool {
    let place = runs.partition_point(|[_, last]| *last < c);
    runs.get(place).is_some_and(|[first, _]| *first <= c)
}

/// `str.isspace`, what `strip` and `split` take.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `str.isalpha`.
pub(super) fn is_alpha(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { is_in(&LETTERS, c) }
}

/// `str.isdecimal`.
pub(super) fn is_decimal(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { is_in(&DECIMALS, c) }
}

/// The digit that a decimal of any script is, as `0` to `9`; other characters as they are.
pub(super) fn ascii_digit(c: char) -> char {
    let place = DECIMALS.partition_point(|[_, last]| *last < c);
    match DECIMALS.get(place) {
        // Every run of decimals begins with a zero and is some tens long.
        Some([first, _]) if *first <= c => char::from_digit((u32::from(c) - u32::from(*first)) % 10, 10).unwrap_or(c),
        _ => c,
    }
}

/// `str.isdigit`: also digits that are raised, lowered or in circles.
pub(super) fn is_digit(c: char) -> bool {
    let other = matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐'
        | '⓪' | '⓵'..='⓽' | '⓿' | '❶'..='❾' | '➀'..='➈' | '➊'..='➒' | '\u{1369}'..='\u{1371}' | '\u{19da}'
        | '\u{10a40}'..='\u{10a43}' | '\u{10e60}'..='\u{10e68}' | '\u{11052}'..='\u{1105a}' | '\u{1f100}'..='\u{1f10a}');
    other || is_decimal(c)
}

/// Characters of Chinese that stand for numbers, which the standard library does not count among numbers.
const HAN_NUMBERS: &str = "一二三四五六七八九十百千万億兆零〇壹贰叁肆伍陆柒捌玖拾佰仟亿貳參陸萬㐅㒃㠪㭍亖什仨兩卄卅卌参叄壱幺廾廿弌弍弎弐漆貮阡陌\
    \u{f96b}\u{f973}\u{f978}\u{f9b2}\u{f9d1}\u{f9d3}\u{f9fd}𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭\u{2f890}";

/// `str.isnumeric`: also fractions, Roman and Chinese numbers.
pub(super) fn is_numeric(c: char) -> bool {
    c.is_numeric() || !c.is_ascii() && HAN_NUMBERS.contains(c)
}

/// `str.isalnum`.
pub(super) fn is_alnum(c: char) -> bool {
    is_alpha(c) || is_numeric(c) || is_digit(c)
}

/// `\w` of Python's regular expressions.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}

/// `str.isprintable`: what `repr` does not escape. The standard library escapes the same categories, and marks where
/// they begin a text.
pub(super) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if c.is_ascii() => false,
        _ => {
            let mut behind_a_letter = [b'a', 0, 0, 0, 0];
            let length = 1 + c.encode_utf8(&mut behind_a_letter[1..]).len();
            let text = std::str::from_utf8(&behind_a_letter[..length]).unwrap_or("");
            text.escape_debug().nth(1) != Some('\\')
        }
    }
}

/// The first character of a word in a title.
pub(super) fn title(c: char, out: &mut String) {
    match c {
        // Ligatures of two letters have a form of their own for titles.
        'Ǆ' | 'ǅ' | 'ǆ' => out.push('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => out.push('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => out.push('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => out.push('ǲ'),
        '\u{10d0}'..='\u{10ff}' => out.push(c),
        'ŉ' => out.push_str("ʼN"),
        // Greek capitals with an iota beside them are one letter.
        '\u{1f80}'..='\u{1faf}' => out.extend(char::from_u32(u32::from(c) | 8)),
        'ᾳ' | 'ᾼ' => out.push('ᾼ'),
        'ῃ' | 'ῌ' => out.push('ῌ'),
        'ῳ' | 'ῼ' => out.push('ῼ'),
        _ => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
            // An iota below stays below, at the end.
            if matches!(c, '\u{1fb2}'..='\u{1ff7}') && out.ends_with('ι') {
                out.pop();
                out.push('\u{345}');
            }
        }
    }
}

/// `str.casefold` of a character.
pub(super) fn fold(c: char, out: &mut String) {
    match c {
        'ß' | 'ẞ' => out.push_str("ss"),
        'ς' => out.push('σ'),
        'ſ' => out.push('s'),
        'ŉ' | 'ǰ' | 'ΐ' | 'ΰ' | 'և' | 'ﬀ'..='ﬆ' | 'ﬓ'..='ﬗ' => {
            out.extend(c.to_uppercase().flat_map(char::to_lowercase))
        }
        _ => out.extend(c.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_regular_expressions_at_every_edge() {
        let (letter, decimal) = (Regex::new(r"^\p{L}$").expect("valid"), Regex::new(r"^\p{Nd}$").expect("valid"));
        let edges = LETTERS.iter().chain(&*DECIMALS).flatten().flat_map(|c| {
            let code = u32::from(*c);
            [code.wrapping_sub(1), code, code + 1].into_iter().filter_map(char::from_u32)
        });
        for c in edges {
            let text = c.to_string();
            assert_eq!((is_alpha(c), is_decimal(c)), (letter.is_match(&text), decimal.is_match(&text)), "{c:?}");
        }
        assert!(LETTERS.len() > 600 && DECIMALS.len() > 60);
    }

    #[test]
    fn titles_and_numbers_are_those_of_python() {
        for (c, expected) in
            [('ŉ', "ʼN"), ('ᾀ', "ᾈ"), ('ῳ', "ῼ"), ('ᾷ', "Α\u{342}\u{345}"), ('ß', "Ss"), ('ǆ', "ǅ"), ('é', "É")]
        {
            let mut found = String::new();
            title(c, &mut found);
            assert_eq!(found, expected);
        }
        for (c, digit, numeric) in [
            ('五', false, true),
            ('兩', false, true),
            ('\u{1f101}', true, true),
            ('½', false, true),
            ('两', false, false),
        ] {
            assert_eq!((is_digit(c), is_numeric(c)), (digit, numeric), "{c}");
        }
        assert_eq!(['１', '٣', '\u{1d7d9}', 'a'].map(ascii_digit), ['1', '3', '1', 'a']);
    }

    #[test]
    fn marks_are_printable_and_what_cannot_be_seen_is_not() {
        let printable = ['é', '\u{301}', '\u{304}', '\u{93f}', '\u{20dd}', '\u{fe0f}', '漢', '\u{1f980}', '\u{10ffff}'];
        let expected = [true, true, true, true, true, true, true, true, false];
        assert_eq!(printable.map(is_printable), expected);
        for c in ['\u{7f}', '\u{80}', '\u{a0}', '\u{ad}', '\u{200b}', '\u{2028}', '\u{3000}', '\u{e000}', '\u{378}'] {
            assert!(!is_printable(c), "{c:?}");
        }
    }
}
