//! What does a statement do?

use super::super::budget::{Failure, Result};
use super::super::sequence::items;
use super::super::text::shown;
use super::super::tree::{Expr, Kind, Statement, Target};
use super::super::value::Value;
use super::{Flow, Object, Renderer};

impl<'t> Renderer<'t> {
    /// Carries out statements; their text goes to `out`.
    pub(super) fn execute(&mut self, body: &'t [Statement], out: &mut String) -> Result<Flow> {
        self.budget.enter()?;
        let mut flow = Flow::On;
        for statement in body {
            self.budget.step(1)?;
            flow = self.statement(statement, out)?;
            if flow != Flow::On {
                break;
            }
        }
        self.budget.leave();
        Ok(flow)
    }

    fn statement(&mut self, statement: &'t Statement, out: &mut String) -> Result<Flow> {
        match statement {
            Statement::Data(text) => self.emit(text, out)?,
            Statement::Print(expression) => {
                let value = self.evaluate(expression)?;
                let text = shown(&self.budget, &value).map_err(|failure| failure.at(expression.line))?;
                self.emit(&text, out)?;
            }
            Statement::For(node) => return self.for_loop(node, out),
            Statement::If(branches, otherwise) => {
                for (test, body) in branches {
                    if self.evaluate(test)?.is_true() {
                        return self.execute(body, out);
                    }
                }
                return self.execute(otherwise, out);
            }
            Statement::Set(target, expression) => {
                let value = self.evaluate(expression)?;
                self.assign(target, value).map_err(|failure| failure.at(expression.line))?;
            }
            Statement::SetBlock(target, filter, body) => {
                let (flow, text) = self.captured(body)?;
                if flow != Flow::On {
                    return Ok(flow);
                }
                let value = self.through(filter.as_ref(), text)?;
                self.assign(target, value)?;
            }
            Statement::With(values, body) => return self.with(values, body, out),
            Statement::Macro(node) => {
                let value = self.new_macro(node)?;
                if let Some(name) = &node.name {
                    self.assign_name(name, value)?;
                }
            }
            Statement::Call(call, node) => {
                let caller = self.new_macro(node)?;
                let Kind::Call(callee, arguments) = &call.kind else { return Ok(Flow::On) };
                let callee = self.evaluate(callee)?;
                let mut given = self.given_to(arguments)?;
                given.named.push(("caller".to_owned(), caller));
                let value = self.call(&callee, given).map_err(|failure| failure.at(call.line))?;
                let text = shown(&self.budget, &value)?;
                self.emit(&text, out)?;
            }
            Statement::Filter(filter, body) => {
                let (flow, text) = self.captured(body)?;
                if flow != Flow::On {
                    return Ok(flow);
                }
                let value = self.through(Some(filter), text)?;
                let text = shown(&self.budget, &value)?;
                self.emit(&text, out)?;
            }
            Statement::Scope(body) => return self.scoped(self.current, |renderer| renderer.execute(body, out)),
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn emit(&self, text: &str, out: &mut String) -> Result<()> {
        self.budget.claim(text.len())?;
        out.push_str(text);
        Ok(())
    }

    /// The text of a block, in a scope of its own.
    fn captured(&mut self, body: &'t [Statement]) -> Result<(Flow, String)> {
        let mut text = String::new();
        let flow = self.scoped(self.current, |renderer| renderer.execute(body, &mut text))?;
        Ok((flow, text))
    }

    /// A block's text behind its filters.
    fn through(&mut self, filter: Option<&'t Expr>, text: String) -> Result<Value> {
        let Some(filter) = filter else { return Ok(Value::text(text)) };
        self.filtered.push(Value::text(text));
        let value = self.evaluate(filter);
        self.filtered.pop();
        value
    }

    fn with(&mut self, values: &'t [(Target, Expr)], body: &'t [Statement], out: &mut String) -> Result<Flow> {
        let outer = self.current;
        self.scoped(outer, |renderer| {
            let inner = renderer.current;
            for (target, expression) in values {
                // Values see the names around the block, not each other.
                renderer.current = outer;
                let value = renderer.evaluate(expression);
                renderer.current = inner;
                renderer.assign(target, value?)?;
            }
            renderer.execute(body, out)
        })
    }

    pub(super) fn assign(&mut self, target: &'t Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => self.assign_name(name, value),
            Target::Tuple(targets) => {
                let budget = self.budget.clone();
                let values = match items(&budget, &value) {
                    Ok(values) => values,
                    Err(failure) if failure.message.ends_with("is not iterable") => {
                        return Err(Failure::new(format!("cannot unpack non-iterable {} object", value.type_name())));
                    }
                    Err(failure) => return Err(failure),
                };
                let (wanted, found) = (targets.len(), values.len());
                if found > wanted {
                    return Err(Failure::new(format!("too many values to unpack (expected {wanted})")));
                }
                if found < wanted {
                    return Err(Failure::new(format!("not enough values to unpack (expected {wanted}, got {found})")));
                }
                for (index, target) in targets.iter().enumerate() {
                    self.assign(target, values.get(index))?;
                }
                Ok(())
            }
            Target::Attribute(name, attribute) => {
                let Value::Object(number) = self.name(name)? else {
                    return Err(Failure::new("cannot assign attribute on non-namespace object"));
                };
                let budget = self.budget.clone();
                match &mut self.objects[number] {
                    Object::Namespace(names) => {
                        super::call::check_attribute(attribute)?;
                        names.set(&budget, Value::text(attribute.as_str()), value)
                    }
                    _ => Err(Failure::new("cannot assign attribute on non-namespace object")),
                }
            }
        }
    }
}
