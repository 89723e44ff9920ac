//! What is an expression's value?

use super::super::arguments::Given;
use super::super::budget::{Failure, Result};
use super::super::compare::holds;
use super::super::operators::{binary, signed};
use super::super::sequence::listed;
use super::super::text::shown;
use super::super::tree::{Arguments, Expr, Kind};
use super::super::value::{Dict, Value};
use super::super::{checks, filters};
use super::{Object, Renderer};
use std::mem::size_of;
use std::rc::Rc;

impl<'t> Renderer<'t> {
    pub(super) fn evaluate(&mut self, expression: &'t Expr) -> Result<Value> {
        self.budget.step(1)?;
        match &expression.kind {
            // What needs no level of its own.
            Kind::Text(text) => return Ok(Value::Text(text.clone())),
            Kind::Int(value) => return Ok(Value::Int(*value)),
            Kind::Float(value) => return Ok(Value::Float(*value)),
            Kind::Bool(value) => return Ok(Value::Bool(*value)),
            Kind::None => return Ok(Value::None),
            Kind::Name(name) => {
                let value = self.name(name)?;
                self.keep(&value);
                return Ok(value);
            }
            _ => {}
        }
        self.budget.enter()?;
        let value = self.compound(expression).map_err(|failure| failure.at(expression.line))?;
        self.budget.leave();
        Ok(value)
    }

    fn compound(&mut self, expression: &'t Expr) -> Result<Value> {
        match &expression.kind {
            Kind::Attribute(value, name) => {
                let value = self.owner(value)?;
                self.attribute(&value, name)
            }
            Kind::Item(value, index) => {
                // Of what is written down Jinja2 takes slices itself, and makes undefined what has none.
                let by_python = matches!(index.kind, Kind::Slice(_)) && !(is_literal(value) && is_literal(index));
                let value = self.owner(value)?;
                let index = self.evaluate(index)?;
                if by_python { self.slice(&value, &index) } else { self.item(&value, &index) }
            }
            Kind::Call(callee, arguments) => {
                let callee = self.evaluate(callee)?;
                let given = self.given_to(arguments)?;
                self.call(&callee, given)
            }
            Kind::Filter(value, name, arguments) => {
                let value = match value {
                    Some(value) => self.evaluate(value)?,
                    None => self.filtered.last().cloned().unwrap_or(Value::None),
                };
                let given = self.given_to(arguments)?;
                filters::apply(self, name, &value, &given)
            }
            Kind::Test(value, name, arguments) => {
                let value = self.evaluate(value)?;
                let given = self.given_to(arguments)?;
                self.check(name, &value, &given).map(Value::Bool)
            }
            Kind::Not(value) => Ok(Value::Bool(!self.evaluate(value)?.is_true())),
            Kind::Sign(sign, value) => signed(*sign, &self.evaluate(value)?),
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                binary(&self.budget, operator, &left, &right)
            }
            Kind::And(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() { self.evaluate(right) } else { Ok(left) }
            }
            Kind::Or(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() { Ok(left) } else { self.evaluate(right) }
            }
            Kind::Compare(first, others) => self.comparison(first, others),
            Kind::Choice(value, test, other) => {
                if self.evaluate(test)?.is_true() {
                    return self.evaluate(value);
                }
                match other {
                    Some(other) => self.evaluate(other),
                    None => Ok(Value::missing(format!(
                        "the inline if-expression on line {} evaluated to false and no else section was defined.",
                        expression.line
                    ))),
                }
            }
            _ => self.made(expression),
        }
    }

    /// `value is name(…)`
    pub(in super::super) fn check(&self, name: &str, value: &Value, given: &Given) -> Result<bool> {
        if let (Value::Object(number), "callable") = (value, name) {
            return Ok(matches!(self.objects[*number], Object::Macro { .. } | Object::Loop(_) | Object::Joiner { .. }));
        }
        checks::check(&self.budget, name, value, given)
    }

    /// Expressions that make texts and collections.
    fn made(&mut self, expression: &'t Expr) -> Result<Value> {
        match &expression.kind {
            Kind::Concat(values) => {
                let mut out = String::new();
                for value in values {
                    let value = self.evaluate(value)?;
                    let part = shown(&self.budget, &value)?;
                    self.budget.claim(part.len())?;
                    out.push_str(&part);
                }
                Ok(Value::text(out))
            }
            Kind::List(items) => {
                let items = self.evaluated(items)?;
                Value::list(&self.budget, items)
            }
            Kind::Tuple(items) => {
                let items = self.evaluated(items)?;
                Value::tuple(&self.budget, items)
            }
            Kind::Dict(pairs) => {
                let mut dict = Dict::default();
                for (key, value) in pairs {
                    let (key, value) = (self.evaluate(key)?, self.evaluate(value)?);
                    dict.set(&self.budget, key, value)?;
                }
                Ok(Value::Dict(Rc::new(dict)))
            }
            Kind::Slice(bounds) => {
                let mut values = [Value::None, Value::None, Value::None];
                for (slot, bound) in values.iter_mut().zip(bounds.iter()) {
                    if let Some(bound) = bound {
                        *slot = self.evaluate(bound)?;
                    }
                }
                Ok(Value::Slice(Rc::new(values)))
            }
            _ => Err(Failure::new("an expression without a value")),
        }
    }

    /// What an attribute or item is taken of: a loop that is only asked does not outlast itself.
    fn owner(&mut self, expression: &'t Expr) -> Result<Value> {
        match &expression.kind {
            Kind::Name(name) => {
                self.budget.step(1)?;
                self.name(name)
            }
            _ => self.evaluate(expression),
        }
    }

    fn evaluated(&mut self, expressions: &'t [Expr]) -> Result<Vec<Value>> {
        self.budget.claim_product(expressions.len(), size_of::<Value>())?;
        expressions.iter().map(|expression| self.evaluate(expression)).collect()
    }

    fn comparison(&mut self, first: &'t Expr, others: &'t [(&'static str, Expr)]) -> Result<Value> {
        let mut left = self.evaluate(first)?;
        for (operator, right) in others {
            let right = self.evaluate(right)?;
            if !holds(&self.budget, operator, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// What a function is handed.
    pub(super) fn given_to(&mut self, arguments: &'t Arguments) -> Result<Given> {
        let mut given = Given { positional: self.evaluated(&arguments.positional)?, named: Vec::new() };
        for (name, value) in &arguments.named {
            let value = self.evaluate(value)?;
            given.named.push((name.clone(), value));
        }
        if let Some(star) = &arguments.star {
            let values = self.evaluate(star)?;
            given.positional.extend(listed(&self.budget, &values)?);
        }
        if let Some(stars) = &arguments.stars {
            let Value::Dict(dict) = self.evaluate(stars)? else {
                return Err(Failure::new("argument after ** must be a mapping"));
            };
            self.budget.claim_product(dict.len(), 2 * size_of::<Value>())?;
            for (key, value) in dict.entries() {
                let Some(name) = key.as_text() else { return Err(Failure::new("keywords must be strings")) };
                if given.named.iter().any(|(known, _)| **known == **name) {
                    return Err(Failure::new(format!("got multiple values for keyword argument '{name}'")));
                }
                self.budget.step(given.named.len() as u64)?;
                given.named.push((name.as_ref().to_owned(), value.clone()));
            }
        }
        Ok(given)
    }
}

/// Whether a value stands in the template as it is.
fn is_literal(expression: &Expr) -> bool {
    match &expression.kind {
        Kind::Text(_) | Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) | Kind::None => true,
        Kind::List(items) | Kind::Tuple(items) => items.iter().all(is_literal),
        Kind::Dict(pairs) => pairs.iter().all(|(key, value)| is_literal(key) && is_literal(value)),
        Kind::Slice(bounds) => bounds.iter().flatten().all(is_literal),
        _ => false,
    }
}
