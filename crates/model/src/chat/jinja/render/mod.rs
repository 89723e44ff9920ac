//! How is a template rendered?
//!
//! Its statements are carried out over scopes, as Jinja2's compiled Python would be. Scopes and what can change stand
//! in lists of the renderer, so that values only hold numbers of them.

mod access;
mod call;
mod evaluate;
mod execute;
mod loops;

use super::budget::{Budget, Result};
use super::sequence::Items;
use super::tree::{ForNode, MacroNode, Statement};
use super::value::{Dict, Generator, Missing, Value};
use std::collections::HashMap;
use std::mem::size_of;
use std::rc::Rc;

/// What templates can call without having been given it.
const FUNCTIONS: [&str; 8] =
    ["cycler", "dict", "joiner", "lipsum", "namespace", "raise_exception", "range", "strftime_now"];

/// Measured: looking for a name in this many scopes takes as long as a step.
const SCOPES_PER_STEP: u64 = 8;

/// What a rendering knows.
pub(super) struct Renderer<'t> {
    pub(super) budget: Rc<Budget<'t>>,
    given: HashMap<String, Value>,
    scopes: Vec<Scope<'t>>,
    /// The scope that names are looked up in first.
    current: usize,
    /// Scopes before this one are held by macros.
    pinned: usize,
    objects: Vec<Object<'t>>,
    /// Texts of blocks whose filters are being applied.
    filtered: Vec<Value>,
}

/// Names that were assigned in a part of the template.
struct Scope<'t> {
    names: HashMap<&'t str, Value>,
    parent: Option<usize>,
}

/// What can change.
enum Object<'t> {
    Namespace(Dict),
    Loop(Box<LoopState<'t>>),
    Cycler { items: Vec<Value>, at: usize },
    Joiner { separator: Value, used: bool },
    Macro { node: &'t MacroNode, scope: usize },
}

/// What a loop takes its elements from.
enum Source {
    Items(Items),
    /// What the loop does not come to is left to others.
    Generator(Rc<Generator>),
}

/// Where a loop stands.
struct LoopState<'t> {
    node: &'t ForNode,
    /// The scope that the loop stands in.
    scope: usize,
    source: Source,
    /// Elements of the source that were looked at.
    passed: usize,
    /// Elements that were looked at before their turn.
    ahead: std::collections::VecDeque<Value>,
    /// The number of elements, where it is known.
    length: Option<usize>,
    index: usize,
    current: Option<Value>,
    before: Option<Value>,
    changed: Option<Vec<Value>>,
    depth: i128,
    /// Whether a value that is this loop was made.
    kept: bool,
}

/// How statements ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// The text of a template.
pub(super) fn render<'t>(
    body: &'t [Statement],
    given: HashMap<String, Value>,
    budget: Rc<Budget<'t>>,
) -> Result<String> {
    let mut renderer = Renderer {
        budget,
        given,
        scopes: vec![Scope { names: HashMap::new(), parent: None }],
        current: 0,
        pinned: 0,
        objects: Vec::new(),
        filtered: Vec::new(),
    };
    let mut out = String::new();
    renderer.execute(body, &mut out)?;
    Ok(out)
}

impl<'t> Renderer<'t> {
    /// Runs `work` in a scope of its own that lies in `parent`.
    fn scoped<T>(&mut self, parent: usize, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.budget.step(1)?;
        let outer = self.current;
        self.current = self.scopes.len();
        self.scopes.push(Scope { names: HashMap::new(), parent: Some(parent) });
        let result = work(self);
        if self.scopes.len() - 1 == self.current && self.scopes.len() > self.pinned {
            self.scopes.pop();
        }
        self.current = outer;
        result
    }

    fn assign_name(&mut self, name: &'t str, value: Value) -> Result<()> {
        let names = &mut self.scopes[self.current].names;
        if names.insert(name, value).is_none() {
            self.budget.claim(size_of::<(&str, Value)>())?;
        }
        Ok(())
    }

    fn name(&self, name: &str) -> Result<Value> {
        let (mut scope, mut passed) = (Some(self.current), 0);
        while let Some(at) = scope {
            if let Some(value) = self.scopes[at].names.get(name) {
                return Ok(value.clone());
            }
            scope = self.scopes[at].parent;
            passed += 1;
        }
        self.budget.step(passed / SCOPES_PER_STEP)?;
        if let Some(value) = self.given.get(name) {
            return Ok(value.clone());
        }
        Ok(match FUNCTIONS.iter().find(|known| **known == name) {
            Some(function) => Value::Function(function),
            None => Value::Undefined(Rc::new(Missing::Name(name.to_owned()))),
        })
    }

    fn new_object(&mut self, object: Object<'t>) -> Result<Value> {
        self.budget.claim(size_of::<Object<'_>>() + size_of::<Scope<'_>>())?;
        self.objects.push(object);
        Ok(Value::Object(self.objects.len() - 1))
    }

    /// A macro that sees the names of the present scope.
    fn new_macro(&mut self, node: &'t MacroNode) -> Result<Value> {
        self.pinned = self.scopes.len();
        self.new_object(Object::Macro { node, scope: self.current })
    }
}
