//! What follows a value?
//!
//! Attributes, items, calls, filters and tests.

use super::super::budget::Result;
use super::super::lexer::Word;
use super::super::tree::{Arguments, Expr, Kind};
use super::{Parser, SAID};

impl Parser {
    /// Attributes, items and calls behind a value.
    pub(super) fn postfix(&mut self, mut value: Expr) -> Result<Expr> {
        loop {
            let (line, height) = (self.line(), value.height);
            value = if self.skip_operator(".") {
                match self.next() {
                    Word::Name(name) => self.node(Kind::Attribute(Box::new(value), name), &[height], line)?,
                    Word::Int(index) => {
                        let index = self.node(Kind::Int(index), &[], line)?;
                        self.node(Kind::Item(Box::new(value), Box::new(index)), &[height], line)?
                    }
                    _ => return self.fail("expected name or number"),
                }
            } else if self.skip_operator("[") {
                let index = self.nested(Self::subscript)?;
                let parts = [height, index.height];
                self.node(Kind::Item(Box::new(value), Box::new(index)), &parts, line)?
            } else if self.is_operator("(") {
                self.call(value)?
            } else {
                return Ok(value);
            };
        }
    }

    fn call(&mut self, value: Expr) -> Result<Expr> {
        let (line, height) = (self.line(), value.height);
        let (arguments, inside) = self.arguments()?;
        self.node(Kind::Call(Box::new(value), arguments), &[height, inside], line)
    }

    /// What stands in the brackets behind a value.
    fn subscript(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        while !self.is_operator("]") {
            if !items.is_empty() {
                self.expect_operator(",")?;
            }
            items.push(self.slice()?);
        }
        self.expect_operator("]")?;
        if items.len() == 1
            && let Some(item) = items.pop()
        {
            return Ok(item);
        }
        let parts: Vec<_> = items.iter().map(|item| item.height).collect();
        self.node(Kind::Tuple(items), &parts, line)
    }

    fn slice(&mut self) -> Result<Expr> {
        let line = self.line();
        let start = if self.is_operator(":") { None } else { Some(self.expression()?) };
        if !self.skip_operator(":") {
            return start.map_or_else(|| self.fail("expected a slice"), Ok);
        }
        let bound = |parser: &mut Self| {
            let none = parser.is_operator(":") || parser.is_operator("]") || parser.is_operator(",");
            if none { Ok(None) } else { parser.expression().map(Some) }
        };
        let stop = bound(self)?;
        let step = if self.skip_operator(":") { bound(self)? } else { None };
        let bounds = [start, stop, step];
        let parts = bounds.each_ref().map(|bound| bound.as_ref().map_or(0, |bound| bound.height));
        self.node(Kind::Slice(Box::new(bounds)), &parts, line)
    }

    /// What is handed over in brackets, and its height.
    fn arguments(&mut self) -> Result<(Arguments, u16)> {
        self.expect_operator("(")?;
        let (mut found, mut height, mut first) = (Arguments::default(), 0, true);
        while !self.is_operator(")") {
            if !first {
                self.expect_operator(",")?;
                if self.is_operator(")") {
                    break;
                }
            }
            first = false;
            let named = matches!(self.peek(), Word::Name(_)) && *self.peek_second() == Word::Operator("=");
            let (stars, star) = (self.skip_operator("**"), self.skip_operator("*"));
            let key = if named { Some(self.any_name()?) } else { None };
            if named {
                self.expect_operator("=")?;
            }
            let value = self.expression()?;
            height = height.max(value.height);
            let late = found.star.is_some() || found.stars.is_some() || !found.named.is_empty();
            match key {
                _ if found.stars.is_some() => return self.fail("invalid syntax for function call expression"),
                Some(key) => found.named.push((key, value)),
                None if stars => found.stars = Some(Box::new(value)),
                None if star && found.star.is_none() => found.star = Some(Box::new(value)),
                None if late => return self.fail("invalid syntax for function call expression"),
                None => found.positional.push(value),
            }
        }
        self.expect_operator(")")?;
        Ok((found, height))
    }

    /// Filters, tests and calls behind a value.
    pub(super) fn filtered(&mut self, mut value: Expr) -> Result<Expr> {
        loop {
            value = if self.is_operator("|") {
                self.filters(Some(value), false)?
            } else if self.is_name("is") {
                self.test(value)?
            } else if self.is_operator("(") {
                self.call(value)?
            } else {
                return Ok(value);
            };
        }
    }

    /// Filters of a value, or of a block's text; `inline` where the first has no bar before it.
    pub(super) fn filters(&mut self, mut value: Option<Expr>, inline: bool) -> Result<Expr> {
        let mut bar = !inline;
        loop {
            let line = self.line();
            if bar {
                self.expect_operator("|")?;
            }
            bar = true;
            let name = self.dotted()?;
            self.check_filter(&name, line);
            let (arguments, inside) = if self.is_operator("(") { self.arguments()? } else { (Arguments::default(), 0) };
            let height = value.as_ref().map_or(0, |value| value.height);
            let filter = self.node(Kind::Filter(value.map(Box::new), name, arguments), &[height, inside], line)?;
            if !self.is_operator("|") {
                return Ok(filter);
            }
            value = Some(filter);
        }
    }

    /// Names with dots between them; of many, only the first count, since nothing has so long a name.
    fn dotted(&mut self) -> Result<String> {
        let mut name = self.any_name()?;
        while self.skip_operator(".") {
            let part = self.any_name()?;
            if name.len() <= SAID {
                name.push('.');
                name.push_str(&part);
            }
        }
        Ok(name)
    }

    fn test(&mut self, value: Expr) -> Result<Expr> {
        let line = self.line();
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        self.check_test(&name, line);
        let (arguments, inside) = self.test_arguments()?;
        let parts = [value.height, inside];
        let test = self.node(Kind::Test(Box::new(value), name, arguments), &parts, line)?;
        if !negated {
            return Ok(test);
        }
        let parts = [test.height];
        self.node(Kind::Not(Box::new(test)), &parts, line)
    }

    /// In brackets, or one value without.
    fn test_arguments(&mut self) -> Result<(Arguments, u16)> {
        if self.is_operator("(") {
            return self.arguments();
        }
        let value_follows = match self.peek() {
            Word::Name(name) => !matches!(name.as_str(), "else" | "or" | "and"),
            Word::Text(_) | Word::Int(_) | Word::Float(_) => true,
            Word::Operator(operator) => matches!(*operator, "[" | "{"),
            _ => false,
        };
        if !value_follows {
            return Ok((Arguments::default(), 0));
        }
        if self.is_name("is") {
            return self.fail("You cannot chain multiple tests with is");
        }
        let value = self.nested(Self::primary)?;
        let value = self.postfix(value)?;
        let height = value.height;
        Ok((Arguments { positional: vec![value], ..Arguments::default() }, height))
    }
}
