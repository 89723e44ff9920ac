//! How does a loop pass through its elements?
//!
//! As Jinja2's `LoopContext`: an element is looked at when its turn comes, or when `last`, `nextitem` or `length` ask.

use super::super::budget::{Failure, Result};
use super::super::compare::equal;
use super::super::sequence::items;
use super::super::tree::ForNode;
use super::super::value::Value;
use super::{Flow, LoopState, Object, Renderer, Source};
use std::collections::VecDeque;
use std::mem::size_of;

impl<'t> Renderer<'t> {
    pub(super) fn for_loop(&mut self, node: &'t ForNode, out: &mut String) -> Result<Flow> {
        let iterable = self.evaluate(&node.iterable)?;
        self.loop_over(node, &iterable, self.current, 0, out).map_err(|failure| failure.at(node.iterable.line))
    }

    pub(super) fn loop_over(
        &mut self,
        node: &'t ForNode,
        iterable: &Value,
        scope: usize,
        depth: i128,
        out: &mut String,
    ) -> Result<Flow> {
        let source = match iterable {
            Value::Generator(generator) => Source::Generator(generator.clone()),
            other => Source::Items(items(&self.budget, other)?),
        };
        let length = match &source {
            Source::Items(items) if node.test.is_none() => Some(items.len()),
            _ => None,
        };
        let state = LoopState {
            node,
            scope,
            source,
            passed: 0,
            ahead: VecDeque::new(),
            length,
            index: 0,
            current: None,
            before: None,
            changed: None,
            depth,
            kept: false,
        };
        let held = self.scopes.len();
        let Value::Object(number) = self.new_object(Object::Loop(Box::new(state)))? else { return Ok(Flow::On) };
        let flow = self.iterations(node, number, scope, out)?;
        // A loop that is over and that neither a value nor a macro can name any more leaves its place to the next one.
        let kept = self.state(number)?.kept || self.scopes.len() > held;
        if number + 1 == self.objects.len() && !kept {
            self.objects.pop();
        }
        Ok(flow)
    }

    fn iterations(&mut self, node: &'t ForNode, number: usize, scope: usize, out: &mut String) -> Result<Flow> {
        let mut any = false;
        while let Some(item) = self.advance(number)? {
            let flow = self.scoped(scope, |renderer| {
                renderer.assign_name("loop", Value::Object(number))?;
                renderer.assign(&node.target, item)?;
                renderer.execute(&node.body, out)
            })?;
            // As in Jinja2, only an iteration that comes to the end of its body counts.
            any |= flow == Flow::On;
            if flow == Flow::Break {
                break;
            }
        }
        if any {
            return Ok(Flow::On);
        }
        self.scoped(scope, |renderer| renderer.execute(&node.otherwise, out))
    }

    fn state(&mut self, number: usize) -> Result<&mut LoopState<'t>> {
        match &mut self.objects[number] {
            Object::Loop(state) => Ok(state),
            _ => Err(Failure::new("no loop")),
        }
    }

    /// Remembers that a value may outlast its loop.
    pub(super) fn keep(&mut self, value: &Value) {
        if let Value::Object(number) = value
            && let Object::Loop(state) = &mut self.objects[*number]
        {
            state.kept = true;
        }
    }

    /// The next element of the source that passes the loop's test.
    fn pull(&mut self, number: usize) -> Result<Option<Value>> {
        loop {
            self.budget.step(1)?;
            let state = self.state(number)?;
            let next = match &state.source {
                Source::Generator(generator) => generator.next(),
                Source::Items(items) => (state.passed < items.len()).then(|| items.get(state.passed)),
            };
            let Some(item) = next else { return Ok(None) };
            state.passed += 1;
            let (node, scope) = (state.node, state.scope);
            let Some(test) = &node.test else { return Ok(Some(item)) };
            let tried = item.clone();
            let passes = self.scoped(scope, |renderer| {
                renderer.assign(&node.target, tried)?;
                renderer.evaluate(test)
            })?;
            if passes.is_true() {
                return Ok(Some(item));
            }
        }
    }

    /// Goes on to the next element.
    fn advance(&mut self, number: usize) -> Result<Option<Value>> {
        let ahead = self.state(number)?.ahead.pop_front();
        let next = match ahead {
            Some(item) => Some(item),
            None => self.pull(number)?,
        };
        let Some(item) = next else { return Ok(None) };
        let state = self.state(number)?;
        state.index += 1;
        state.before = state.current.replace(item.clone());
        Ok(Some(item))
    }

    /// The element after this one.
    fn peek(&mut self, number: usize) -> Result<Option<Value>> {
        if self.state(number)?.ahead.is_empty()
            && let Some(item) = self.pull(number)?
        {
            self.state(number)?.ahead.push_back(item);
        }
        Ok(self.state(number)?.ahead.front().cloned())
    }

    fn length(&mut self, number: usize) -> Result<usize> {
        if let Some(length) = self.state(number)?.length {
            return Ok(length);
        }
        while let Some(item) = self.pull(number)? {
            self.budget.claim(size_of::<Value>())?;
            self.state(number)?.ahead.push_back(item);
        }
        let state = self.state(number)?;
        let length = state.index + state.ahead.len();
        state.length = Some(length);
        Ok(length)
    }

    /// `loop.name`
    pub(super) fn loop_attribute(&mut self, number: usize, name: &str) -> Result<Option<Value>> {
        let index = self.state(number)?.index as i128;
        let depth = self.state(number)?.depth;
        Ok(Some(match name {
            "index" => Value::Int(index),
            "index0" => Value::Int(index - 1),
            "first" => Value::Bool(index == 1),
            "last" => Value::Bool(self.peek(number)?.is_none()),
            "length" => Value::Int(self.length(number)? as i128),
            "revindex" => Value::Int(self.length(number)? as i128 - index + 1),
            "revindex0" => Value::Int(self.length(number)? as i128 - index),
            "depth" => Value::Int(depth + 1),
            "depth0" => Value::Int(depth),
            "previtem" => match self.state(number)?.before.clone() {
                Some(item) if index > 1 => item,
                _ => Value::missing("there is no previous item"),
            },
            "nextitem" => self.peek(number)?.unwrap_or_else(|| Value::missing("there is no next item")),
            "cycle" | "changed" => {
                self.keep(&Value::Object(number));
                Value::method(&self.budget, Value::Object(number), name)?
            }
            _ => return Ok(None),
        }))
    }

    /// `loop.changed(…)`
    pub(super) fn loop_changed(&mut self, number: usize, values: Vec<Value>) -> Result<bool> {
        let budget = self.budget.clone();
        budget.claim_product(values.len(), size_of::<Value>())?;
        let state = self.state(number)?;
        if let Some(last) = &state.changed
            && last.len() == values.len()
        {
            let mut same = true;
            for (left, right) in last.iter().zip(&values) {
                same = same && equal(&budget, left, right)?;
            }
            if same {
                return Ok(false);
            }
        }
        state.changed = Some(values);
        Ok(true)
    }

    /// The position of a loop, counted from zero.
    pub(super) fn loop_position(&mut self, number: usize) -> Result<usize> {
        Ok(self.state(number)?.index.saturating_sub(1))
    }

    /// `loop(iterable)` of a recursive loop.
    pub(super) fn loop_again(&mut self, number: usize, iterable: &Value) -> Result<Value> {
        let state = self.state(number)?;
        let (node, scope, depth) = (state.node, state.scope, state.depth + 1);
        if !node.recursive {
            return Err(Failure::new("The loop must have the 'recursive' marker to be called recursively."));
        }
        let mut out = String::new();
        self.budget.enter()?;
        self.loop_over(node, iterable, scope, depth, &mut out)?;
        self.budget.leave();
        Ok(Value::text(out))
    }
}
