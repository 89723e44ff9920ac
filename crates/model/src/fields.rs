//! How a field is read from a JSON file, so that every error names file, field, value and what is supported.

use crate::error::ModelError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The fields of a JSON object in a file.
#[derive(Debug)]
pub(crate) struct Fields {
    path: PathBuf,
    /// Names of the enclosing objects, each with a dot.
    prefix: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses `text`, the content of `path`.
    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, ModelError> {
        let map = serde_json::from_slice(text).map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), prefix: String::new(), map })
    }

    /// The value of `name`; none where it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether `name` is present, if only as null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// The error that `name` is not what is supported.
    pub(crate) fn refuse(&self, name: &str, supported: impl Into<String>) -> ModelError {
        let found = self.map.get(name).map_or("missing".to_owned(), |value| {
            let text = value.to_string();
            if text.chars().count() > 80 { text.chars().take(80).chain(['…']).collect() } else { text }
        });
        let field = format!("{}{name}", self.prefix);
        ModelError::Field { path: self.path.clone(), field, found, supported: supported.into() }
    }

    /// The object under `name`, none where it is absent or null.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields>, ModelError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                let prefix = format!("{}{name}.", self.prefix);
                Ok(Some(Fields { path: self.path.clone(), prefix, map: map.clone() }))
            }
            Some(_) => Err(self.refuse(name, "an object or null")),
        }
    }

    /// A count that may be absent or null.
    pub(crate) fn size_or_none(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let read = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        self.get(name).map(|value| read(value).ok_or_else(|| self.refuse(name, "a whole number"))).transpose()
    }

    /// A count that must be there.
    pub(crate) fn size(&self, name: &str) -> Result<usize, ModelError> {
        self.size_or_none(name)?.ok_or_else(|| self.refuse(name, "a whole number"))
    }

    /// A count with the family's default.
    pub(crate) fn size_or(&self, name: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.size_or_none(name)?.unwrap_or(default))
    }

    /// A number that must be there.
    pub(crate) fn number(&self, name: &str) -> Result<f64, ModelError> {
        self.get(name).and_then(Value::as_f64).ok_or_else(|| self.refuse(name, "a number"))
    }

    /// A number with the family's default.
    pub(crate) fn number_or(&self, name: &str, default: f64) -> Result<f64, ModelError> {
        if self.get(name).is_none() { Ok(default) } else { self.number(name) }
    }

    /// A truth value with the family's default.
    pub(crate) fn bool_or(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| self.refuse(name, "true or false"));
        self.get(name).map_or(Ok(default), read)
    }

    /// A string that may be absent or null.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ModelError> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| self.refuse(name, "a string"))).transpose()
    }

    /// An error unless `name` is absent, null or `expected`.
    pub(crate) fn only(&self, name: &str, expected: Value) -> Result<(), ModelError> {
        match self.get(name) {
            Some(value) if *value != expected => Err(self.refuse(name, expected.to_string())),
            _ => Ok(()),
        }
    }

    /// Token ids: a number, a list of numbers, or nothing.
    pub(crate) fn ids(&self, name: &str) -> Result<Vec<u32>, ModelError> {
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.refuse(name, "a token id, a list of token ids, or null"))
        };
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(id).collect(),
            Some(value) => Ok(vec![id(value)?]),
        }
    }
}
