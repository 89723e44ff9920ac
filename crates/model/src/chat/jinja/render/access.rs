//! Which attributes and items does a value have?
//!
//! As in Jinja2's sandbox, in which nothing can be changed: an attribute before an item of that name for `value.name`,
//! the other way round for `value['name']`.

use super::super::budget::{Failure, Result};
use super::super::sequence;
use super::super::strings;
use super::super::value::{List, Value, undefined_error};
use super::{Object, Renderer};

/// Attributes that would change a dict or a list.
const CHANGING: [&str; 12] = [
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "update",
    "__setitem__",
];

/// What looking for an attribute finds.
enum Found {
    Value(Value),
    /// It is there but must not be used.
    Unsafe,
    Nothing,
}

impl<'t> Renderer<'t> {
    /// `value.name`
    pub(in super::super) fn attribute(&mut self, value: &Value, name: &str) -> Result<Value> {
        match self.own_attribute(value, name)? {
            Found::Value(found) => Ok(found),
            Found::Unsafe => Ok(unsafe_attribute(value, name)),
            Found::Nothing => {
                let name = Value::text(name);
                let found = sequence::item(&self.budget, value, &name)?;
                Ok(found.unwrap_or_else(|| value.lacks(name)))
            }
        }
    }

    /// `value[start:stop:step]`: Jinja2 leaves it to Python, which refuses what has no slices.
    pub(super) fn slice(&mut self, value: &Value, bounds: &Value) -> Result<Value> {
        sequence::item(&self.budget, value, bounds)?.ok_or_else(|| not_sliced(value))
    }

    /// `value[index]`
    pub(in super::super) fn item(&mut self, value: &Value, index: &Value) -> Result<Value> {
        if let Some(found) = sequence::item(&self.budget, value, index)? {
            return Ok(found);
        }
        if let Some(name) = index.as_text() {
            return Ok(match self.own_attribute(value, name)? {
                Found::Value(found) => found,
                Found::Unsafe => unsafe_attribute(value, name),
                Found::Nothing => value.lacks(index.clone()),
            });
        }
        Ok(value.lacks(index.clone()))
    }

    /// Only an attribute, as the filter `attr` looks for it.
    pub(in super::super) fn only_attribute(&mut self, value: &Value, name: &str) -> Result<Value> {
        Ok(match self.own_attribute(value, name)? {
            Found::Value(found) => found,
            Found::Unsafe => unsafe_attribute(value, name),
            Found::Nothing => value.lacks(Value::text(name)),
        })
    }

    fn own_attribute(&mut self, value: &Value, name: &str) -> Result<Found> {
        if let Value::Undefined(missing) = value {
            return Err(undefined_error(missing));
        }
        if let Value::Object(number) = value {
            return self.object_attribute(*number, name);
        }
        // Every object of Python has these; the sandbox shows none of them.
        if matches!(name, "__class__" | "__doc__" | "__init__" | "__eq__" | "__hash__" | "__repr__" | "__str__")
            || name == "__len__" && sequence::length(&self.budget, value)?.is_some()
        {
            return Ok(Found::Unsafe);
        }
        let method = match value {
            Value::Text(_) | Value::Markup(_) => strings::has_method(name),
            Value::Dict(_) => {
                if matches!(name, "clear" | "pop" | "popitem" | "setdefault" | "update") {
                    return Ok(Found::Unsafe);
                }
                matches!(name, "copy" | "fromkeys" | "get" | "items" | "keys" | "values")
            }
            Value::List(_) => {
                if CHANGING.contains(&name) && !matches!(name, "popitem" | "setdefault" | "update") {
                    return Ok(Found::Unsafe);
                }
                matches!(name, "copy" | "count" | "index")
            }
            Value::Tuple(list) => return self.tuple_attribute(list, value, name),
            Value::Range(range) => match name {
                "start" => return Ok(Found::Value(Value::Int(range.start))),
                "stop" => return Ok(Found::Value(Value::Int(range.stop))),
                "step" => return Ok(Found::Value(Value::Int(range.step))),
                _ => matches!(name, "count" | "index"),
            },
            Value::Int(_) | Value::Bool(_) => match (name, value.as_int()) {
                ("real" | "numerator", Some(number)) => return Ok(Found::Value(Value::Int(number))),
                ("imag", _) => return Ok(Found::Value(Value::Int(0))),
                ("denominator", _) => return Ok(Found::Value(Value::Int(1))),
                _ => matches!(name, "bit_count" | "bit_length" | "conjugate"),
            },
            Value::Float(_) => match name {
                "real" => return Ok(Found::Value(value.clone())),
                "imag" => return Ok(Found::Value(Value::Float(0.0))),
                _ => matches!(name, "is_integer" | "conjugate"),
            },
            Value::Function("dict") => name == "fromkeys",
            _ => false,
        };
        if method { Value::method(&self.budget, value.clone(), name).map(Found::Value) } else { Ok(Found::Nothing) }
    }

    fn tuple_attribute(&self, list: &List, value: &Value, name: &str) -> Result<Found> {
        Ok(match (name, list.items.as_slice()) {
            ("grouper", [key, _]) if list.is_group => Found::Value(key.clone()),
            ("list", [_, members]) if list.is_group => Found::Value(members.clone()),
            ("count" | "index", _) => Found::Value(Value::method(&self.budget, value.clone(), name)?),
            _ => Found::Nothing,
        })
    }

    fn object_attribute(&mut self, number: usize, name: &str) -> Result<Found> {
        let of_loop = matches!(self.objects[number], Object::Loop(_));
        if of_loop {
            return Ok(self.loop_attribute(number, name)?.map_or(Found::Nothing, Found::Value));
        }
        let object = Value::Object(number);
        let found = match &self.objects[number] {
            Object::Namespace(names) => names.get_text(name).cloned(),
            Object::Cycler { items, at } => match name {
                "current" => items.get(*at).cloned(),
                "next" | "reset" => Some(Value::method(&self.budget, object, name)?),
                _ => None,
            },
            Object::Macro { node, .. } => match name {
                "name" => Some(node.name.as_deref().map_or(Value::None, Value::text)),
                "arguments" => {
                    let names = node.parameters.iter().map(|name| Value::text(name.as_str())).collect();
                    Some(Value::tuple(&self.budget, names)?)
                }
                "catch_kwargs" => Some(Value::Bool(node.takes.kwargs)),
                "catch_varargs" => Some(Value::Bool(node.takes.varargs)),
                "caller" => Some(Value::Bool(node.takes.caller)),
                _ => None,
            },
            _ => None,
        };
        Ok(found.map_or(Found::Nothing, Found::Value))
    }
}

fn not_sliced(value: &Value) -> Failure {
    Failure::new(match value {
        Value::Text(_) | Value::Markup(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            "slice indices must be integers or None or have an __index__ method".to_owned()
        }
        Value::Dict(_) => "unhashable type: 'slice'".to_owned(),
        other => format!("'{}' object is not subscriptable", other.type_name()),
    })
}

fn unsafe_attribute(value: &Value, name: &str) -> Value {
    Value::missing(format!("access to attribute '{name}' of '{}' object is unsafe.", value.type_name()))
}
