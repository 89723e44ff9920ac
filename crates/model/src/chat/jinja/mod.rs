//! How is a template read and rendered as Python's Jinja2 would?
//!
//! An interpreter of the language as transformers sets it up: blocks take their lines' white space, nothing is escaped,
//! nothing that is given can be changed. It is our own because what templates rely on are Python's values: how they are
//! written, compared and asked, in every operator; and because each operator takes from a budget (`budget.rs`).

mod arguments;
mod budget;
mod checks;
mod compare;
mod filters;
mod json;
mod lexer;
mod literal;
mod operators;
mod parser;
mod percent;
mod render;
mod sequence;
mod spec;
mod strings;
mod text;
mod tree;
mod unicode;
mod value;

use super::data::Data;
use budget::Budget;
pub(super) use budget::{Cause, Failure};
use std::collections::HashMap;
use std::mem::size_of;
use std::rc::Rc;
use std::thread;
use untangle_schema::Observer;
use value::{Dict, Value};

/// Chosen: bytes of a template. Real ones have up to 20 KiB.
const LONGEST: usize = 1 << 20;
/// Chosen: what the levels that a template may nest take, with room for builds that are not optimised.
const STACK: usize = 128 << 20;

/// A template.
#[derive(Debug)]
pub(super) struct Template {
    body: Vec<tree::Statement>,
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(source: &str) -> Result<Self, Failure> {
        if source.len() > LONGEST {
            let found = source.len();
            return Err(Failure::new(format!("{found} bytes, where at most {LONGEST} are read")));
        }
        on_own_stack(|| parser::parse(source)).map(|body| Template { body })
    }

    /// The text that it makes of what it is given, unless the observer asks to stop.
    pub(super) fn render(&self, given: &[(&str, &Data)], observer: &dyn Observer) -> Result<String, Failure> {
        let (mut values, mut bytes) = (0, 0);
        for (_, data) in given {
            data.measure(&mut values, &mut bytes);
        }
        on_own_stack(|| {
            let budget = Rc::new(Budget::for_input(values, bytes, observer));
            // Also before what takes few steps, since a file may have millions of that.
            budget.look()?;
            let value = |(name, data): &(&str, &Data)| Ok(((*name).to_owned(), value_of(&budget, data)?));
            let given: HashMap<_, _> = given.iter().map(value).collect::<Result<_, Failure>>()?;
            render::render(&self.body, given, budget)
        })
    }
}

/// Runs on a thread whose stack is large enough for what is allowed to nest, whatever the caller's is.
fn on_own_stack<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("template".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure { cause: Cause::System(error.kind()), ..Failure::new(error.to_string()) }),
        }
    })
}

fn value_of(budget: &Budget, data: &Data) -> Result<Value, Failure> {
    Ok(match data {
        Data::None => Value::None,
        Data::Bool(value) => Value::Bool(*value),
        Data::Int(value) => Value::Int(*value),
        Data::Float(value) => Value::Float(*value),
        Data::Text(text) => Value::Text(text.clone()),
        Data::List(items) => {
            let items = items.iter().map(|item| value_of(budget, item)).collect::<Result<_, _>>()?;
            Value::list(budget, items)?
        }
        Data::Dict(entries) => {
            let mut dict = Dict::default();
            budget.claim(size_of::<Dict>())?;
            for (key, value) in entries {
                dict.set(budget, Value::Text(key.clone()), value_of(budget, value)?)?;
            }
            Value::Dict(Rc::new(dict))
        }
    })
}
