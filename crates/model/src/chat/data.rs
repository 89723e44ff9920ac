//! What do conversations consist of?
//!
//! JSON, with the fields of objects in their order.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::sync::Arc;

/// A value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    List(Vec<Data>),
    /// The last of several fields of one name counts, in the place of the first, as in Python.
    Dict(Vec<(Arc<str>, Data)>),
}

impl Data {
    pub(super) fn text(text: &str) -> Self {
        Data::Text(text.into())
    }

    /// The field of a dict.
    pub(super) fn field(&self, name: &str) -> Option<&Data> {
        match self {
            Data::Dict(fields) => fields.iter().find(|(known, _)| **known == *name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Data::None => "null",
            Data::Bool(_) => "a truth value",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Dict(_) => "an object",
        }
    }

    /// Adds its number of values and bytes.
    pub(super) fn measure(&self, values: &mut u64, bytes: &mut u64) {
        *values += 1;
        match self {
            Data::Text(text) => *bytes += text.len() as u64,
            Data::List(items) => items.iter().for_each(|item| item.measure(values, bytes)),
            Data::Dict(fields) => {
                for (name, value) in fields {
                    *bytes += name.len() as u64;
                    value.measure(values, bytes);
                }
            }
            _ => {}
        }
    }
}

/// Puts a field into an object.
fn put(fields: &mut Vec<(Arc<str>, Data)>, name: Arc<str>, value: Data) {
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, slot)) => *slot = value,
        None => fields.push((name, value)),
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Data, E> {
        Ok(Data::None)
    }

    fn visit_none<E: Error>(self) -> Result<Data, E> {
        Ok(Data::None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Int(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Data, E> {
        Ok(Data::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Data, E> {
        Ok(Data::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Data::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Data, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value()?;
            put(&mut fields, name.into(), value);
        }
        Ok(Data::Dict(fields))
    }
}
