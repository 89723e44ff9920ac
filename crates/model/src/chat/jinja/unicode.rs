//! Which characters are what for Python?
//!
//! Python's classes are general categories; Rust's own differ in some: vowel signs are alphabetic there, and letters
//! of numbers.

use regex::Regex;
use std::sync::LazyLock;

static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}$").ok());
static DECIMAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());

fn is_in(class: &LazyLock<Option<Regex>>, c: char) -> bool {
    class.as_ref().is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])))
}

/// `str.isspace`, what `strip` and `split` take.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `str.isalpha`.
pub(super) fn is_alpha(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { is_in(&LETTER, c) }
}

/// `str.isdecimal`.
pub(super) fn is_decimal(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { is_in(&DECIMAL, c) }
}

/// `str.isdigit`: also digits that are raised, lowered or in circles.
pub(super) fn is_digit(c: char) -> bool {
    let other = matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐'
        | '⓪' | '⓵'..='⓽' | '⓿' | '❶'..='❾' | '➀'..='➈' | '➊'..='➒' | '\u{1369}'..='\u{1371}' | '\u{19da}');
    other || is_decimal(c)
}

/// `str.isnumeric`: also fractions, Roman and Chinese numbers.
pub(super) fn is_numeric(c: char) -> bool {
    c.is_numeric() || "一二三四五六七八九十百千万億兆零〇两壹贰叁肆伍陆柒捌玖拾佰仟亿貳參陸萬".contains(c)
}

/// `str.isalnum`.
pub(super) fn is_alnum(c: char) -> bool {
    is_alpha(c) || is_numeric(c) || is_digit(c)
}

/// `\w` of Python's regular expressions.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}

/// `str.isprintable`: what `repr` does not escape. The standard library escapes the same categories, but also marks
/// that begin a text.
pub(super) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if c.is_ascii() => false,
        _ => !format!("{:?}", format!("a{c}")).contains("\\u{"),
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
        _ => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
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
