//! What does calling a value give?

use super::super::arguments::{Given, int, text as text_of};
use super::super::budget::{Failure, Result};
use super::super::compare::equal;
use super::super::operators::escaped;
use super::super::sequence::{items, listed};
use super::super::strings;
use super::super::text::shown;
use super::super::tree::MacroNode;
use super::super::value::{Dict, Missing, Range, Value, View, key_of, undefined_error};
use super::{Flow, Object, Renderer};
use crate::chat::date;
use std::collections::HashMap;
use std::rc::Rc;

/// Jinja2's sandbox allows no longer ones.
const LONGEST_RANGE: usize = 100_000;

/// That a namespace may have an attribute of this name.
pub(super) fn check_attribute(name: &str) -> Result<()> {
    if name.starts_with('_') {
        return Err(Failure::new(format!(
            "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{name}'. \
             Please rename the attribute."
        )));
    }
    Ok(())
}

impl<'t> Renderer<'t> {
    /// `callee(…)`
    pub(super) fn call(&mut self, callee: &Value, given: Given) -> Result<Value> {
        self.budget.step(1)?;
        match callee {
            Value::Undefined(missing) => Err(undefined_error(missing)),
            Value::Function(name) => self.function(name, given),
            Value::Method(method) => self.method(&method.0, &method.1, &given),
            Value::Object(number) => self.call_object(*number, given),
            other => Err(Failure::new(format!("'{}' object is not callable", other.type_name()))),
        }
    }

    fn call_object(&mut self, number: usize, given: Given) -> Result<Value> {
        match &mut self.objects[number] {
            Object::Macro { node, scope } => {
                let (node, scope) = (*node, *scope);
                self.call_macro(node, scope, given)
            }
            Object::Loop(_) => {
                let [iterable] = given.bind("loop", ["iterable"], 1)?;
                self.loop_again(number, &iterable.unwrap_or(Value::None))
            }
            Object::Joiner { separator, used } => {
                given.none("joiner")?;
                Ok(if std::mem::replace(used, true) { separator.clone() } else { Value::text("") })
            }
            Object::Namespace(_) => Err(Failure::new("'Namespace' object is not callable")),
            Object::Cycler { .. } => Err(Failure::new("'Cycler' object is not callable")),
        }
    }

    fn function(&mut self, name: &str, given: Given) -> Result<Value> {
        match name {
            "range" => range(&given),
            "dict" | "namespace" => {
                let dict = self.dict(name, given)?;
                if name == "dict" {
                    return Ok(Value::Dict(Rc::new(dict)));
                }
                for (key, _) in dict.entries() {
                    check_attribute(key.as_text().map_or("", |name| name))?;
                }
                self.new_object(Object::Namespace(dict))
            }
            "cycler" if given.positional.is_empty() => Err(Failure::new("at least one item has to be provided")),
            "cycler" => self.new_object(Object::Cycler { items: given.positional, at: 0 }),
            "joiner" => {
                let [separator] = given.bind(name, ["sep"], 0)?;
                let separator = separator.unwrap_or_else(|| Value::text(", "));
                self.new_object(Object::Joiner { separator, used: false })
            }
            "raise_exception" => {
                let [message] = given.bind(name, ["message"], 1)?;
                let message = shown(&self.budget, &message.unwrap_or(Value::None))?;
                Err(Failure::raised(message.as_ref().to_owned()))
            }
            "strftime_now" => {
                let [format] = given.bind(name, ["format"], 1)?;
                let format = format.unwrap_or(Value::None);
                let format = text_of(&format, "strftime() argument 1")?;
                Value::new_text(&self.budget, date::strftime(format).map_err(Failure::new)?)
            }
            _ => Err(Failure::new(format!("the function '{name}' is not supported"))),
        }
    }

    /// `dict(…)`: a dict or pairs, and names.
    fn dict(&mut self, name: &str, given: Given) -> Result<Dict> {
        let mut dict = Dict::default();
        let budget = self.budget.clone();
        match given.positional.as_slice() {
            [] => {}
            [Value::Dict(from)] => {
                for (key, value) in from.entries() {
                    dict.set(&budget, key.clone(), value.clone())?;
                }
            }
            [pairs] => {
                for pair in listed(&budget, pairs)? {
                    let [key, value] = listed(&budget, &pair)?.try_into().map_err(|found: Vec<Value>| {
                        let length = found.len();
                        Failure::new(format!("dictionary update sequence element has length {length}; 2 is required"))
                    })?;
                    dict.set(&budget, key, value)?;
                }
            }
            more => return Err(Failure::new(format!("{name} expected at most 1 argument, got {}", more.len()))),
        }
        for (key, value) in given.named {
            dict.set(&budget, Value::text(key), value)?;
        }
        Ok(dict)
    }

    fn call_macro(&mut self, node: &'t MacroNode, scope: usize, mut given: Given) -> Result<Value> {
        let name = node.name.as_deref().map_or("None".to_owned(), |name| format!("'{name}'"));
        let extra = given.positional.split_off(node.parameters.len().min(given.positional.len()));
        if !extra.is_empty() && !node.takes.varargs {
            let most = node.parameters.len();
            return Err(Failure::new(format!("macro {name} takes not more than {most} argument(s)")));
        }
        let mut values: Vec<Option<Value>> = given.positional.into_iter().map(Some).collect();
        let open: HashMap<&str, usize> =
            node.parameters.iter().enumerate().skip(values.len()).map(|(at, name)| (name.as_str(), at)).collect();
        values.resize(node.parameters.len(), None);
        let mut named = Vec::new();
        for (name, value) in given.named {
            match open.get(name.as_str()) {
                Some(at) if values[*at].is_none() => values[*at] = Some(value),
                _ => named.push((name, value)),
            }
        }
        let explicit = node.parameters.iter().any(|name| name == "caller");
        let caller = match named.iter().position(|(name, _)| name == "caller") {
            Some(at) if node.takes.caller && !explicit => Some(named.remove(at).1),
            _ => None,
        };
        if let Some((unknown, _)) = named.first()
            && !node.takes.kwargs
        {
            return Err(Failure::new(format!("macro {name} takes no keyword argument '{unknown}'")));
        }
        self.scoped(scope, |renderer| {
            if node.takes.caller && !explicit {
                let caller = caller.unwrap_or_else(|| Value::missing("No caller defined"));
                renderer.assign_name("caller", caller)?;
            }
            if node.takes.kwargs {
                let kwargs = renderer.dict("kwargs", Given { positional: Vec::new(), named })?;
                renderer.assign_name("kwargs", Value::Dict(Rc::new(kwargs)))?;
            }
            if node.takes.varargs {
                let varargs = Value::tuple(&renderer.budget, extra)?;
                renderer.assign_name("varargs", varargs)?;
            }
            renderer.bind_parameters(node, values)?;
            let mut out = String::new();
            let flow = renderer.execute(&node.body, &mut out)?;
            debug_assert!(flow == Flow::On, "the parser lets no macro break a loop around it");
            Ok(Value::text(out))
        })
    }

    /// Parameters get their values; defaults see those before them.
    fn bind_parameters(&mut self, node: &'t MacroNode, values: Vec<Option<Value>>) -> Result<()> {
        let without_default = node.parameters.len() - node.defaults.len();
        let mut late = Vec::new();
        for (index, (parameter, value)) in node.parameters.iter().zip(values).enumerate() {
            if value.is_none() {
                late.push((index, parameter));
            }
            // A default that names its own or a later parameter finds that, not a variable around the macro.
            let missing = || Value::Undefined(Rc::new(Missing::Name(parameter.clone())));
            self.assign_name(parameter, value.unwrap_or_else(missing))?;
        }
        for (index, parameter) in late {
            let value = match index.checked_sub(without_default) {
                Some(at) => self.evaluate(&node.defaults[at])?,
                None => Value::missing(format!("parameter '{parameter}' was not provided")),
            };
            self.assign_name(parameter, value)?;
        }
        Ok(())
    }

    fn method(&mut self, value: &Value, name: &str, given: &Given) -> Result<Value> {
        let budget = self.budget.clone();
        match value {
            Value::Text(text) => self.text_method(text, name, given),
            Value::Markup(text) => self.markup_method(text, name, given),
            Value::Dict(dict) => self.dict_method(dict, name, given),
            Value::List(_) | Value::Tuple(_) | Value::Range(_) => self.sequence_method(value, name, given),
            Value::Object(number) => self.object_method(*number, name, given),
            Value::Function(_) => {
                let [keys, default] = given.bind(name, ["/iterable", "/value"], 1)?;
                let mut dict = Dict::default();
                for key in listed(&budget, &keys.unwrap_or(Value::None))? {
                    dict.set(&budget, key, default.clone().unwrap_or(Value::None))?;
                }
                Ok(Value::Dict(Rc::new(dict)))
            }
            _ => {
                given.none(name)?;
                match (value, name) {
                    (Value::Float(number), "is_integer") => Ok(Value::Bool(*number == number.trunc())),
                    (_, "bit_count") => Ok(Value::Int(value.as_int().unwrap_or(0).unsigned_abs().count_ones().into())),
                    (_, "bit_length") => {
                        let bits = 128 - value.as_int().unwrap_or(0).unsigned_abs().leading_zeros();
                        Ok(Value::Int(i128::from(bits)))
                    }
                    _ => Ok(value.clone()),
                }
            }
        }
    }

    fn text_method(&mut self, text: &str, name: &str, given: &Given) -> Result<Value> {
        let budget = self.budget.clone();
        let renderer = std::cell::RefCell::new(self);
        let lookup = |is_attribute: bool, value: &Value, name: &str| {
            let mut renderer = renderer.borrow_mut();
            match name.parse() {
                Ok(index) if !is_attribute => renderer.item(value, &Value::Int(index)),
                _ if is_attribute => renderer.attribute(value, name),
                _ => renderer.item(value, &Value::text(name)),
            }
        };
        strings::call(&budget, text, name, given, &lookup)
    }

    /// A method of text that is marked safe: what is put into it is escaped, and what it gives is marked safe.
    fn markup_method(&mut self, text: &str, name: &str, given: &Given) -> Result<Value> {
        let budget = self.budget.clone();
        let safe = |value: Value| escaped(&budget, &value).map(|text| Value::Markup(text.into()));
        let mut given = given.clone();
        match name {
            "replace" => {
                for new in given.positional.iter_mut().skip(1).take(1) {
                    *new = safe(new.clone())?;
                }
            }
            "join" => {
                for values in &mut given.positional {
                    let found = listed(&budget, values)?.into_iter().map(safe).collect::<Result<_>>()?;
                    *values = Value::list(&budget, found)?;
                }
            }
            // Their own rules of escaping hold for each field.
            "format" | "format_map" => {
                return Err(Failure::new(format!("the method '{name}' of text that is marked safe is not supported")));
            }
            _ => {}
        }
        let marked = |value: &Value| value.clone().marked_as(&Value::Markup("".into()));
        Ok(match self.text_method(text, name, &given)? {
            Value::List(parts) => Value::list(&budget, parts.items.iter().map(marked).collect())?,
            Value::Tuple(parts) => Value::tuple(&budget, parts.items.iter().map(marked).collect())?,
            found => marked(&found),
        })
    }

    fn dict_method(&mut self, dict: &Rc<Dict>, name: &str, given: &Given) -> Result<Value> {
        let view = match name {
            "get" => {
                let [key, default] = given.bind(name, ["/key", "/default"], 1)?;
                let found = dict.get(&key_of(&self.budget, &key.unwrap_or(Value::None))?).cloned();
                return Ok(found.or(default).unwrap_or(Value::None));
            }
            "keys" => View::Keys,
            "values" => View::Values,
            "items" => View::Items,
            "copy" => {
                given.none(name)?;
                return Ok(Value::Dict(dict.clone()));
            }
            _ => return Err(Failure::new(format!("the method '{name}' of dicts is not supported"))),
        };
        given.none(name)?;
        Ok(Value::View(view, dict.clone()))
    }

    fn sequence_method(&mut self, value: &Value, name: &str, given: &Given) -> Result<Value> {
        if name == "copy" {
            given.none(name)?;
            return Ok(value.clone());
        }
        let [sought, start, stop] = given.bind(name, ["/value", "/start", "/stop"], 1)?;
        let sought = sought.unwrap_or(Value::None);
        let found = items(&self.budget, value)?;
        let length = found.len() as i128;
        let bound = |at: i128| if at < 0 { (at + length).max(0) } else { at.min(length) } as usize;
        let (start, stop) = (bound(int(start.as_ref(), 0)?), bound(int(stop.as_ref(), length)?));
        let mut count = 0;
        for index in start..stop {
            if equal(&self.budget, &found.get(index), &sought)? {
                if name == "index" {
                    return Ok(Value::Int(index as i128));
                }
                count += 1;
            }
        }
        if name == "count" { Ok(Value::Int(count)) } else { Err(Failure::new("value is not in list")) }
    }

    fn object_method(&mut self, number: usize, name: &str, given: &Given) -> Result<Value> {
        match name {
            "changed" => self.loop_changed(number, given.positional.clone()).map(Value::Bool),
            "cycle" => {
                if given.positional.is_empty() {
                    return Err(Failure::new("no items for cycling given"));
                }
                let position = self.loop_position(number)?;
                Ok(given.positional[position % given.positional.len()].clone())
            }
            _ => {
                given.none(name)?;
                let Object::Cycler { items, at } = &mut self.objects[number] else {
                    return Err(Failure::new(format!("no method '{name}'")));
                };
                let current = items[*at].clone();
                *at = if name == "next" { (*at + 1) % items.len() } else { 0 };
                Ok(if name == "next" { current } else { Value::None })
            }
        }
    }
}

fn range(given: &Given) -> Result<Value> {
    let [first, second, step] = given.bind("range", ["/start", "/stop", "/step"], 1)?;
    let (start, stop) = match &second {
        None => (0, int(first.as_ref(), 0)?),
        Some(_) => (int(first.as_ref(), 0)?, int(second.as_ref(), 0)?),
    };
    let step = int(step.as_ref(), 1)?;
    if step == 0 {
        return Err(Failure::new("range() arg 3 must not be zero"));
    }
    let range = Range { start, stop, step };
    if range.len() > LONGEST_RANGE {
        return Err(Failure::new(format!(
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({LONGEST_RANGE})."
        )));
    }
    Ok(Value::Range(range))
}
