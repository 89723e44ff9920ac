//! Which statements does a source consist of?
//!
//! As Jinja2's parser reads them, with the tags that transformers adds: `break`, `continue` and `generation`.

mod expression;
mod postfix;
mod statement;

use super::budget::{Failure, Result};
use super::lexer::{Word, words};
use super::tree::{Statement, Takes};
use super::{checks, filters};

/// Chosen: blocks and brackets inside each other; Python's own parser allows 100 and 200.
const NESTING: usize = 150;
/// Chosen: levels of one expression, which a sum of as many terms has too. Python's own parser allows 200.
const HEIGHT: u16 = 250;

/// Chosen: characters of a name that messages quote.
const SAID: usize = 80;

/// A name as messages quote it.
fn said(name: &str) -> &str {
    name.char_indices().nth(SAID).map_or(name, |(at, _)| &name[..at])
}

/// The statements of a template.
pub(super) fn parse(source: &str) -> Result<Vec<Statement>> {
    let words = words(source)?;
    let mut parser = Parser {
        words,
        at: 0,
        nesting: 0,
        soft: 0,
        unknown: Vec::new(),
        takes: Takes::default(),
        loops: 0,
        inside_for: 0,
    };
    let body = parser.statements(&[])?;
    match parser.unknown.first() {
        None => Ok(body),
        Some(unknown) => Err(unknown.clone()),
    }
}

struct Parser {
    words: Vec<(Word, u32)>,
    at: usize,
    nesting: usize,
    /// Conditions that what is read stands under; unknown names are errors there only when they are reached.
    soft: usize,
    unknown: Vec<Failure>,
    /// What the macro that is read asks for.
    takes: Takes,
    /// Loops that `break` may end.
    loops: usize,
    /// All loops around what is read.
    inside_for: usize,
}

impl Parser {
    fn peek(&self) -> &Word {
        &self.words[self.at].0
    }

    fn peek_second(&self) -> &Word {
        &self.words[(self.at + 1).min(self.words.len() - 1)].0
    }

    fn line(&self) -> u32 {
        self.words[self.at].1
    }

    fn next(&mut self) -> Word {
        let last = self.words.len() - 1;
        let word = self.words[self.at].0.clone();
        self.at = (self.at + 1).min(last);
        word
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Word::Operator(found) if *found == operator)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Word::Name(found) if found == name)
    }

    fn skip_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        if found {
            self.next();
        }
        found
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    fn expect_operator(&mut self, operator: &str) -> Result<()> {
        if self.skip_operator(operator) {
            Ok(())
        } else {
            self.fail(format!("expected token '{operator}', got {}", self.found()))
        }
    }

    fn expect_name(&mut self, name: &str) -> Result<()> {
        if self.skip_name(name) { Ok(()) } else { self.fail(format!("expected token '{name}', got {}", self.found())) }
    }

    fn expect(&mut self, word: &Word, what: &str) -> Result<()> {
        if self.peek() == word {
            self.next();
            return Ok(());
        }
        self.fail(format!("expected token '{what}', got {}", self.found()))
    }

    fn any_name(&mut self) -> Result<String> {
        match self.peek() {
            Word::Name(_) => {
                let Word::Name(name) = self.next() else { return self.fail("expected a name") };
                Ok(name)
            }
            _ => self.fail(format!("expected token 'name', got {}", self.found())),
        }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Failure::new(message).at(self.line()))
    }

    /// The next word as messages name it.
    fn found(&self) -> String {
        match self.peek() {
            Word::Data(_) => "'template data / text'".to_owned(),
            Word::VariableBegin => "'begin of print statement'".to_owned(),
            Word::VariableEnd => "'end of print statement'".to_owned(),
            Word::BlockBegin => "'begin of statement block'".to_owned(),
            Word::BlockEnd => "'end of statement block'".to_owned(),
            Word::Name(name) => format!("'{}'", said(name)),
            Word::Text(_) => "'string'".to_owned(),
            Word::Int(_) => "'integer'".to_owned(),
            Word::Float(_) => "'float'".to_owned(),
            Word::Operator(operator) => format!("'{operator}'"),
            Word::End => "'end of template'".to_owned(),
        }
    }

    /// Reads what is inside another thing.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting >= NESTING {
            return self.fail(format!("more than {NESTING} blocks and brackets inside each other"));
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// Remembers a filter that does not exist.
    fn check_filter(&mut self, name: &str, line: u32) {
        if self.soft == 0 && !filters::exists(name) {
            self.unknown.push(Failure::new(format!("No filter named '{}'.", said(name))).at(line));
        }
    }

    /// Remembers a test that does not exist.
    fn check_test(&mut self, name: &str, line: u32) {
        if self.soft == 0 && !checks::exists(name) {
            self.unknown.push(Failure::new(format!("No test named '{}'.", said(name))).at(line));
        }
    }
}
