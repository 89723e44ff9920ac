//! Which words does a template's source consist of?
//!
//! As Jinja2's lexer finds them with `trim_blocks` and `lstrip_blocks`: the newline after a block's tag and the blanks
//! before it on its line are no text, and neither is the last newline of the source.

use super::budget::{Failure, Result};
use super::literal;
use super::unicode::is_space;
use std::sync::Arc;

/// A word of the source.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Text(Arc<str>),
    Int(i128),
    Float(f64),
    Operator(&'static str),
    End,
}

/// Chosen: bytes of a name, so that naming one takes a step. Real ones have up to 40.
const LONGEST_NAME: usize = 1_000;

/// Longest first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

/// The words of a source and their lines.
pub(super) fn words(source: &str) -> Result<Vec<(Word, u32)>> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer = Lexer { source: &source, at: 0, line: 1, line_starts: true, words: Vec::new() };
    while lexer.at < source.len() {
        lexer.root().map_err(|failure| failure.at(lexer.line))?;
    }
    let line = lexer.line;
    lexer.words.push((Word::End, line));
    Ok(lexer.words)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    /// Whether what was read last ended with a newline.
    line_starts: bool,
    words: Vec<(Word, u32)>,
}

/// What stands between data.
#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Variable,
    Block,
    Comment,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, word: Word) {
        self.words.push((word, self.line));
    }

    /// Goes on by so many bytes.
    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count() as u32;
        if let Some(last) = passed.bytes().last() {
            self.line_starts = last == b'\n';
        }
        self.at += bytes;
    }

    /// Data up to the next tag, and the tag.
    fn root(&mut self) -> Result<()> {
        let rest = self.rest();
        let Some((start, tag)) = next_tag(rest) else {
            self.push(Word::Data(rest.to_owned()));
            self.advance(rest.len());
            return Ok(());
        };
        let sign = rest[start + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
        let data = self.before(&rest[..start], sign, tag != Tag::Variable);
        if !data.is_empty() {
            self.push(Word::Data(data.to_owned()));
        }
        self.advance(start + 2 + sign.map_or(0, char::len_utf8));
        match tag {
            Tag::Comment => self.comment(),
            Tag::Variable => self.inside(Word::VariableBegin, Word::VariableEnd),
            Tag::Block => match raw_tag(self.rest()) {
                Some(length) => {
                    self.advance(length);
                    self.raw()
                }
                None => self.inside(Word::BlockBegin, Word::BlockEnd),
            },
        }
    }

    /// The data before a tag, without the white space that the tag takes.
    fn before(&self, data: &'a str, sign: Option<char>, strips: bool) -> &'a str {
        match sign {
            Some('-') => data.trim_end_matches(is_space),
            None if strips => {
                let line = data.rfind('\n').map_or(0, |at| at + 1);
                let blank = data[line..].chars().all(is_space);
                if blank && (line > 0 || self.line_starts) { &data[..line] } else { data }
            }
            _ => data,
        }
    }

    fn comment(&mut self) -> Result<()> {
        let Some(end) = self.rest().find("#}") else { return Err(Failure::new("Missing end of comment tag")) };
        let sign = self.rest()[..end].chars().next_back();
        self.advance(end + 2);
        self.after(sign.filter(|sign| matches!(sign, '-' | '+')), true);
        Ok(())
    }

    /// Passes the white space that the end of a tag takes.
    fn after(&mut self, sign: Option<char>, trims: bool) {
        let rest = self.rest();
        let taken = match sign {
            Some('-') => rest.len() - rest.trim_start_matches(is_space).len(),
            None if trims && rest.starts_with('\n') => 1,
            _ => 0,
        };
        self.advance(taken);
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let start = from + found;
            let (sign, inside) = signed(&rest[start + 2..]);
            let word = inside.trim_start_matches(is_space);
            if let Some(tail) = word.strip_prefix("endraw") {
                let tail = tail.trim_start_matches(is_space);
                let (end_sign, end) = signed(tail);
                if let Some(after) = end.strip_prefix("%}") {
                    let data = self.before(&rest[..start], sign, true);
                    self.push(Word::Data(data.to_owned()));
                    self.advance(rest.len() - after.len());
                    self.after(end_sign, true);
                    return Ok(());
                }
            }
            from = start + 2;
        }
        Err(Failure::new("Missing end of raw directive"))
    }

    /// The words of an expression or a statement.
    fn inside(&mut self, begin: Word, end: Word) -> Result<()> {
        self.push(begin);
        let block = end == Word::BlockEnd;
        let close = if block { "%}" } else { "}}" };
        let mut open: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            if open.is_empty() {
                let (sign, tail) = signed(rest);
                let sign_counts = block || sign != Some('+');
                if sign_counts && tail.starts_with(close) {
                    self.push(end);
                    self.advance(rest.len() - tail.len() + 2);
                    self.after(sign, block);
                    return Ok(());
                }
            }
            let Some(first) = rest.chars().next() else { return Err(Failure::new("unexpected end of template")) };
            if is_space(first) {
                self.advance(rest.len() - rest.trim_start_matches(is_space).len());
                continue;
            }
            self.word(rest, first, &mut open)?;
        }
    }

    fn word(&mut self, rest: &'a str, first: char, open: &mut Vec<&'static str>) -> Result<()> {
        let after_dot = self.source[..self.at].ends_with('.');
        let (word, length) = if first.is_ascii_digit() {
            literal::number(rest, after_dot)?
        } else if first == '_' || first.is_alphabetic() {
            let length = rest.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(rest.len());
            if length > LONGEST_NAME {
                return Err(Failure::new(format!("a name of {length} bytes, where at most {LONGEST_NAME} are read")));
            }
            (Word::Name(rest[..length].to_owned()), length)
        } else if first == '\'' || first == '"' {
            literal::text(rest, first)?
        } else {
            let found = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
            let Some(operator) = found else { return Err(Failure::new(format!("unexpected char {first:?}"))) };
            match *operator {
                "{" => open.push("}"),
                "(" => open.push(")"),
                "[" => open.push("]"),
                close @ ("}" | ")" | "]") if open.pop() != Some(close) => {
                    return Err(Failure::new(format!("unexpected '{close}'")));
                }
                _ => {}
            }
            (Word::Operator(operator), operator.len())
        };
        self.push(word);
        self.advance(length);
        Ok(())
    }
}

/// Where the next tag begins.
fn next_tag(rest: &str) -> Option<(usize, Tag)> {
    let mut from = 0;
    while let Some(found) = rest[from..].find('{') {
        let at = from + found;
        match rest.as_bytes().get(at + 1) {
            Some(b'{') => return Some((at, Tag::Variable)),
            Some(b'%') => return Some((at, Tag::Block)),
            Some(b'#') => return Some((at, Tag::Comment)),
            _ => from = at + 1,
        }
    }
    None
}

/// A sign before what follows.
fn signed(text: &str) -> (Option<char>, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (Some('-'), &text[1..]),
        Some(b'+') => (Some('+'), &text[1..]),
        _ => (None, text),
    }
}

/// How long the rest of a tag is that begins raw text.
fn raw_tag(rest: &str) -> Option<usize> {
    let tail = rest.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
    if let Some(after) = tail.strip_prefix("%}") {
        return Some(rest.len() - after.len());
    }
    let after = tail.strip_prefix("-%}")?.trim_start_matches(is_space);
    Some(rest.len() - after.len())
}
