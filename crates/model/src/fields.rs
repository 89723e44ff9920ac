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
        if untangle_schema::git_lfs::is_pointer(text) {
            return Err(ModelError::Pointer { path: path.to_owned() });
        }
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

    /// The entries of the object under `name`; none where there is no object.
    pub(crate) fn entries(&self, name: &str) -> Option<&Map<String, Value>> {
        self.get(name)?.as_object()
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

    /// A count from 1 to `max` that may be absent or null.
    pub(crate) fn size_or_none(&self, name: &str, max: usize) -> Result<Option<usize>, ModelError> {
        let read = |value: &Value| {
            let size = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=max).contains(n));
            size.ok_or_else(|| self.refuse(name, format!("a whole number from 1 to {max}")))
        };
        self.get(name).map(read).transpose()
    }

    /// A count from 1 to `max` that must be there.
    pub(crate) fn size(&self, name: &str, max: usize) -> Result<usize, ModelError> {
        let missing = || self.refuse(name, format!("a whole number from 1 to {max}"));
        self.size_or_none(name, max)?.ok_or_else(missing)
    }

    /// A count from 1 to `max` with the family's default.
    pub(crate) fn size_or(&self, name: &str, max: usize, default: usize) -> Result<usize, ModelError> {
        Ok(self.size_or_none(name, max)?.unwrap_or(default))
    }

    /// A positive number that must be there.
    pub(crate) fn positive(&self, name: &str) -> Result<f64, ModelError> {
        let number = self.get(name).and_then(Value::as_f64).filter(|number| number.is_finite() && *number > 0.0);
        number.ok_or_else(|| self.refuse(name, "a positive number"))
    }

    /// A positive number with the family's default.
    pub(crate) fn positive_or(&self, name: &str, default: f64) -> Result<f64, ModelError> {
        if self.get(name).is_none() { Ok(default) } else { self.positive(name) }
    }

    /// A positive number that null switches off; `default` where the field is absent.
    pub(crate) fn positive_or_null(&self, name: &str, default: Option<f64>) -> Result<Option<f64>, ModelError> {
        match self.map.get(name) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(_) => self.positive(name).map(Some),
        }
    }

    /// A list of `n` positive numbers.
    pub(crate) fn positives(&self, name: &str, n: usize) -> Result<Vec<f64>, ModelError> {
        let read = |list: &Vec<Value>| -> Option<Vec<f64>> {
            let number = |value: &Value| value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
            (list.len() == n).then(|| list.iter().map(number).collect())?
        };
        let list = self.get(name).and_then(Value::as_array).and_then(read);
        list.ok_or_else(|| self.refuse(name, format!("a list of {n} positive numbers")))
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
