//! How is an expression read?
//!
//! In Jinja2's order: choice, `or`, `and`, `not`, comparisons, `+ -`, `~`, `* / // %`, `**`, signs, and what follows a
//! value (`postfix.rs`). Loops, not recursion, read chains, and a node knows how deep it nests, so no source overflows a stack.

use super::super::budget::Result;
use super::super::lexer::Word;
use super::super::tree::{Expr, Kind};
use super::{HEIGHT, Parser};

const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];
const SUMS: [&str; 2] = ["+", "-"];
const PRODUCTS: [&str; 4] = ["*", "//", "/", "%"];

impl Parser {
    /// A node of these parts.
    pub(super) fn node(&self, kind: Kind, parts: &[u16], line: u32) -> Result<Expr> {
        let height = 1 + parts.iter().copied().max().unwrap_or(0);
        if height > HEIGHT {
            return self.fail(format!("an expression of more than {HEIGHT} levels or terms"));
        }
        Ok(Expr { kind, line, height })
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.nested(Self::choice)
    }

    fn choice(&mut self) -> Result<Expr> {
        let line = self.line();
        let known = self.unknown.len();
        let mut value = self.or()?;
        while self.skip_name("if") {
            // Jinja2 finds names in what is chosen from only when they are reached.
            self.unknown.truncate(known);
            self.soft += 1;
            let test = self.or()?;
            let other = if self.skip_name("else") { Some(self.expression()?) } else { None };
            self.soft -= 1;
            let parts = [value.height, test.height, other.as_ref().map_or(0, |other| other.height)];
            value = self.node(Kind::Choice(Box::new(value), Box::new(test), other.map(Box::new)), &parts, line)?;
        }
        Ok(value)
    }

    fn or(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            let parts = [left.height, right.height];
            left = self.node(Kind::Or(Box::new(left), Box::new(right)), &parts, line)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            let parts = [left.height, right.height];
            left = self.node(Kind::And(Box::new(left), Box::new(right)), &parts, line)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.skip_name("not") {
            let value = self.nested(Self::not)?;
            let parts = [value.height];
            return self.node(Kind::Not(Box::new(value)), &parts, line);
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let (mut others, mut parts) = (Vec::new(), vec![first.height]);
        loop {
            let second_is_in = matches!(self.peek_second(), Word::Name(name) if name == "in");
            let operator = if let Some(operator) = COMPARISONS.iter().find(|operator| self.is_operator(operator)) {
                operator
            } else if self.is_name("in") {
                "in"
            } else if self.is_name("not") && second_is_in {
                self.next();
                "not in"
            } else {
                break;
            };
            self.next();
            let value = self.sum()?;
            parts.push(value.height);
            others.push((operator, value));
        }
        if others.is_empty() { Ok(first) } else { self.node(Kind::Compare(Box::new(first), others), &parts, line) }
    }

    /// Values with these operators between them, from the left.
    fn chain(&mut self, operators: &[&'static str], read: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let line = self.line();
        let mut left = read(self)?;
        while let Some(operator) = operators.iter().copied().find(|operator| self.is_operator(operator)) {
            self.next();
            let right = read(self)?;
            let parts = [left.height, right.height];
            left = self.node(Kind::Binary(operator, Box::new(left), Box::new(right)), &parts, line)?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr> {
        self.chain(&SUMS, Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let line = self.line();
        let first = self.product()?;
        if !self.is_operator("~") {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.skip_operator("~") {
            values.push(self.product()?);
        }
        let parts: Vec<_> = values.iter().map(|value| value.height).collect();
        self.node(Kind::Concat(values), &parts, line)
    }

    fn product(&mut self) -> Result<Expr> {
        self.chain(&PRODUCTS, Self::power)
    }

    fn power(&mut self) -> Result<Expr> {
        self.chain(&["**"], |parser| parser.unary(true))
    }

    fn unary(&mut self, filtered: bool) -> Result<Expr> {
        let line = self.line();
        let sign = if self.is_operator("-") { Some('-') } else { self.is_operator("+").then_some('+') };
        let value = match sign {
            Some(sign) => {
                self.next();
                let value = self.nested(|parser| parser.unary(false))?;
                let parts = [value.height];
                self.node(Kind::Sign(sign, Box::new(value)), &parts, line)?
            }
            None => self.primary()?,
        };
        let value = self.postfix(value)?;
        if filtered { self.filtered(value) } else { Ok(value) }
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        let line = self.line();
        let kind = match self.peek().clone() {
            Word::Name(name) => self.named(name),
            Word::Text(first) => {
                self.next();
                let mut parts = vec![first];
                while let Word::Text(more) = self.peek() {
                    parts.push(more.clone());
                    self.next();
                }
                if parts.len() == 1 { Kind::Text(parts.remove(0)) } else { Kind::Text(parts.concat().into()) }
            }
            Word::Int(value) => {
                self.next();
                Kind::Int(value)
            }
            Word::Float(value) => {
                self.next();
                Kind::Float(value)
            }
            Word::Operator("(") => {
                self.next();
                let inside = self.nested(|parser| parser.tuple_in(true, &[], true))?;
                self.expect_operator(")")?;
                return Ok(inside);
            }
            Word::Operator("[") => {
                self.next();
                let items = self.items("]")?;
                let parts: Vec<_> = items.iter().map(|item| item.height).collect();
                return self.node(Kind::List(items), &parts, line);
            }
            Word::Operator("{") => return self.dict(line),
            _ => return self.fail(format!("unexpected {}", self.found())),
        };
        self.node(kind, &[], line)
    }

    fn named(&mut self, name: String) -> Kind {
        self.next();
        match name.as_str() {
            "true" | "True" => return Kind::Bool(true),
            "false" | "False" => return Kind::Bool(false),
            "none" | "None" => return Kind::None,
            "varargs" => self.takes.varargs = true,
            "kwargs" => self.takes.kwargs = true,
            "caller" => self.takes.caller = true,
            _ => {}
        }
        Kind::Name(name)
    }

    fn items(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.is_operator(end) {
            if !items.is_empty() {
                self.expect_operator(",")?;
                if self.is_operator(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        self.expect_operator(end)?;
        Ok(items)
    }

    fn dict(&mut self, line: u32) -> Result<Expr> {
        self.next();
        let (mut pairs, mut parts) = (Vec::new(), Vec::new());
        while !self.is_operator("}") {
            if !pairs.is_empty() {
                self.expect_operator(",")?;
                if self.is_operator("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_operator(":")?;
            let value = self.expression()?;
            parts.extend([key.height, value.height]);
            pairs.push((key, value));
        }
        self.expect_operator("}")?;
        self.node(Kind::Dict(pairs), &parts, line)
    }

    /// An expression, or several with commas; `choices` says whether `if` may follow a value.
    pub(super) fn tuple(&mut self, choices: bool, ends: &[&str]) -> Result<Expr> {
        self.tuple_in(choices, ends, false)
    }

    fn tuple_in(&mut self, choices: bool, ends: &[&str], bracketed: bool) -> Result<Expr> {
        let line = self.line();
        let (mut values, mut is_tuple) = (Vec::new(), false);
        loop {
            let over = matches!(self.peek(), Word::VariableEnd | Word::BlockEnd | Word::Operator(")"));
            if over || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            values.push(if choices { self.expression()? } else { self.nested(Self::or)? });
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(value) = values.pop() {
                return Ok(value);
            }
            if !bracketed {
                return self.fail(format!("Expected an expression, got {}", self.found()));
            }
        }
        let parts: Vec<_> = values.iter().map(|value| value.height).collect();
        self.node(Kind::Tuple(values), &parts, line)
    }
}
