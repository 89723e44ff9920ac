//! Which values does a template compute with?
//!
//! Python's, as far as a sandbox shows them. Nothing that holds other values can be changed once it is made: objects
//! that can (namespaces, loops) stand in the renderer's list and are held by their number, so there are no cycles, and
//! what holds others knows how deep it nests, so that dropping it never overflows a stack.

use super::budget::{Budget, Failure, NESTING, Result};
use std::cell::Cell;
use std::collections::HashMap;
use std::mem::size_of;
use std::rc::Rc;
use std::sync::Arc;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Undefined(Rc<Missing>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    /// Text whose reserved characters are escaped for HTML.
    Markup(Arc<str>),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Range),
    /// What a generator yields; it can be passed through once.
    Generator(Rc<Generator>),
    /// A method of a value, by name.
    Method(Rc<(Value, String)>),
    Function(&'static str),
    /// Of the renderer's list.
    Object(usize),
    /// The bounds of a slice.
    Slice(Rc<[Value; 3]>),
}

/// What is missing.
#[derive(Debug)]
pub(super) enum Missing {
    /// A variable.
    Name(String),
    /// An attribute or item of what messages call so.
    Of(&'static str, Value),
    /// What this message says.
    Hint(String),
}

/// Values in order.
#[derive(Debug)]
pub(super) struct List {
    pub(super) items: Vec<Value>,
    pub(super) depth: u16,
    /// Whether it is a key and its members, as `groupby` gives them.
    pub(super) is_group: bool,
}

/// A view of a dict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

/// What is left of a generator.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) items: Rc<List>,
    pub(super) passed: Cell<usize>,
}

impl Generator {
    /// The next value, which is handed out once.
    pub(super) fn next(&self) -> Option<Value> {
        let found = self.items.items.get(self.passed.get()).cloned();
        self.passed.set(self.passed.get() + usize::from(found.is_some()));
        found
    }
}

/// Numbers at equal distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) start: i128,
    pub(super) stop: i128,
    pub(super) step: i128,
}

impl Range {
    pub(super) fn len(self) -> usize {
        let goes_on = if self.step > 0 { self.start < self.stop } else { self.stop < self.start };
        if !goes_on {
            return 0;
        }
        let span = self.start.abs_diff(self.stop);
        usize::try_from((span - 1) / self.step.unsigned_abs() + 1).unwrap_or(usize::MAX)
    }

    /// The number at an index below the length: a sum of 128 bits, whatever the product is.
    pub(super) fn get(self, index: usize) -> Value {
        Value::Int(self.start.wrapping_add(self.step.wrapping_mul(index as i128)))
    }

    /// Whether this number is one of them.
    pub(super) fn contains(self, number: i128) -> bool {
        let inside = if self.step > 0 {
            self.start <= number && number < self.stop
        } else {
            self.stop < number && number <= self.start
        };
        inside && self.start.abs_diff(number).is_multiple_of(self.step.unsigned_abs())
    }
}

/// What a value is as a key of a dict.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Undefined,
    None,
    Int(i128),
    Float(u64),
    Text(Arc<str>),
    Tuple(Vec<Key>),
    Object(usize),
}

/// Values by key, in the order of their first assignment.
#[derive(Debug, Default)]
pub(super) struct Dict {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
    pub(super) depth: u16,
}

impl Dict {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.index.get(key).map(|at| &self.entries[*at].1)
    }

    pub(super) fn get_text(&self, name: &str) -> Option<&Value> {
        self.get(&Key::Text(name.into()))
    }

    /// Assigns; takes the bytes of a new entry.
    pub(super) fn set(&mut self, budget: &Budget, key: Value, value: Value) -> Result<()> {
        self.depth = self.depth.max(deeper(key.depth().max(value.depth()))?);
        let name = key_of(budget, &key)?;
        match self.index.get(&name) {
            Some(at) => self.entries[*at].1 = value,
            None => {
                budget.claim(3 * size_of::<Value>() + size_of::<Key>())?;
                self.index.insert(name, self.entries.len());
                self.entries.push((key, value));
            }
        }
        Ok(())
    }
}

/// One level more.
fn deeper(depth: u16) -> Result<u16> {
    if depth >= NESTING {
        return Err(Failure::new(format!("lists or dicts nested more than {NESTING} deep")));
    }
    Ok(depth + 1)
}

/// The whole number that a float is; none where it is none, or has more than 128 bits.
pub(super) fn whole_of(number: f64) -> Option<i128> {
    // Both bounds are powers of two, which floats are exactly.
    let fits = (i128::MIN as f64..-(i128::MIN as f64)).contains(&number);
    (fits && number == number.trunc()).then_some(number as i128)
}

/// What a value is as a key.
pub(super) fn key_of(budget: &Budget, value: &Value) -> Result<Key> {
    budget.claim(size_of::<Key>())?;
    Ok(match value {
        Value::Undefined(_) => Key::Undefined,
        Value::None => Key::None,
        Value::Bool(value) => Key::Int(i128::from(*value)),
        Value::Int(value) => Key::Int(*value),
        Value::Float(value) => whole_of(*value).map_or(Key::Float(value.to_bits()), Key::Int),
        Value::Text(text) | Value::Markup(text) => {
            budget.read(text.len())?;
            Key::Text(text.clone())
        }
        Value::Tuple(list) => Key::Tuple(list.items.iter().map(|item| key_of(budget, item)).collect::<Result<_>>()?),
        Value::Object(number) => Key::Object(*number),
        other => return Err(Failure::new(format!("unhashable type: '{}'", other.type_name()))),
    })
}

impl Value {
    pub(super) fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// A text that was made just now; takes its bytes.
    pub(super) fn new_text(budget: &Budget, text: String) -> Result<Self> {
        budget.claim(text.len())?;
        Ok(Value::Text(text.into()))
    }

    fn items(budget: &Budget, items: Vec<Value>) -> Result<Rc<List>> {
        budget.claim((1 + items.len()) * size_of::<Value>())?;
        let depth = deeper(items.iter().map(Value::depth).max().unwrap_or(0))?;
        Ok(Rc::new(List { items, depth, is_group: false }))
    }

    pub(super) fn list(budget: &Budget, items: Vec<Value>) -> Result<Self> {
        Ok(Value::List(Self::items(budget, items)?))
    }

    pub(super) fn tuple(budget: &Budget, items: Vec<Value>) -> Result<Self> {
        Ok(Value::Tuple(Self::items(budget, items)?))
    }

    /// A key and its members.
    pub(super) fn group(budget: &Budget, key: Value, members: Vec<Value>) -> Result<Self> {
        let members = Self::list(budget, members)?;
        let list = Self::items(budget, vec![key, members])?;
        Ok(Value::Tuple(Rc::new(List { items: list.items.clone(), depth: list.depth, is_group: true })))
    }

    pub(super) fn generator(budget: &Budget, items: Vec<Value>) -> Result<Self> {
        let items = Self::items(budget, items)?;
        Ok(Value::Generator(Rc::new(Generator { items, passed: Cell::new(0) })))
    }

    pub(super) fn method(budget: &Budget, value: Value, name: &str) -> Result<Self> {
        deeper(value.depth())?;
        budget.claim(size_of::<Value>() + name.len())?;
        Ok(Value::Method(Rc::new((value, name.to_owned()))))
    }

    /// Of texts, as safe as the text is that they were made of.
    pub(super) fn marked_as(self, origin: &Value) -> Self {
        match (self, origin) {
            (Value::Text(text), Value::Markup(_)) => Value::Markup(text),
            (value, _) => value,
        }
    }

    /// Why nothing is here.
    pub(super) fn missing(hint: impl Into<String>) -> Self {
        Value::Undefined(Rc::new(Missing::Hint(hint.into())))
    }

    /// A value that lacks this attribute or item.
    pub(super) fn lacks(&self, name: Value) -> Self {
        let name = if name.depth() > 0 { Value::text("…") } else { name };
        Value::Undefined(Rc::new(Missing::Of(self.type_name(), name)))
    }

    /// How deep it nests; 0 of what holds nothing.
    fn depth(&self) -> u16 {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) | Value::View(_, dict) => dict.depth + 1,
            Value::Generator(generator) => generator.items.depth,
            Value::Method(method) => method.0.depth() + 1,
            Value::Slice(bounds) => bounds.iter().map(Value::depth).max().unwrap_or(0) + 1,
            _ => 0,
        }
    }

    /// Python's name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::Markup(_) => "Markup",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(View::Keys, _) => "dict_keys",
            Value::View(View::Values, _) => "dict_values",
            Value::View(View::Items, _) => "dict_items",
            Value::Range(_) => "range",
            Value::Generator(_) => "generator",
            Value::Method(_) => "builtin_function_or_method",
            Value::Function(_) => "function",
            Value::Object(_) => "object",
            Value::Slice(_) => "slice",
        }
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// Of a text of either kind.
    pub(super) fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Value::Text(text) | Value::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// Of a whole number, which truth values are as well.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// Of any number.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            other => other.as_int().map(|value| value as f64),
        }
    }

    /// Whether a condition holds.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) | Value::Markup(text) => !text.is_empty(),
            Value::List(list) | Value::Tuple(list) => !list.items.is_empty(),
            Value::Dict(dict) | Value::View(_, dict) => dict.len() > 0,
            Value::Range(range) => range.len() > 0,
            _ => true,
        }
    }
}

/// The error of using what is missing.
pub(super) fn undefined_error(missing: &Missing) -> Failure {
    Failure::new(match missing {
        Missing::Name(name) => format!("'{name}' is undefined"),
        Missing::Hint(hint) => hint.clone(),
        Missing::Of(owner, name) => {
            let owner = if *owner == "NoneType" { "None".to_owned() } else { format!("{owner} object") };
            match name {
                Value::Text(name) => format!("'{owner}' has no attribute '{name}'"),
                Value::Int(index) => format!("{owner} has no element {index}"),
                other => format!("{owner} has no element of type {}", other.type_name()),
            }
        }
    })
}
