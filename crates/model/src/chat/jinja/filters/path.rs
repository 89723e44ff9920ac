//! What of each value does a filter look at?

use super::super::budget::{Budget, Result};
use super::super::render::Renderer;
use super::super::value::Value;
use std::mem::size_of;

/// Where a value is looked up in each: `a.b.0`.
pub(super) struct Path(Vec<Value>);

impl Path {
    pub(super) fn new(budget: &Budget, attribute: Option<&Value>) -> Result<Self> {
        let part = |part: &str| match part.parse::<i128>() {
            Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(index),
            _ => Value::text(part),
        };
        Ok(Path(match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Text(path) | Value::Markup(path)) => {
                budget.claim_product(path.matches('.').count() + 1, 2 * size_of::<Value>())?;
                path.split('.').map(part).collect()
            }
            Some(other) => vec![other.clone()],
        }))
    }

    /// The value itself.
    pub(super) fn whole() -> Self {
        Path(Vec::new())
    }

    /// Whether it is the value itself that is found.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, renderer: &mut Renderer<'_>, value: &Value, default: Option<&Value>) -> Result<Value> {
        renderer.budget.step(1 + self.0.len() as u64)?;
        let mut found = value.clone();
        for part in &self.0 {
            found = renderer.item(&found, part)?;
            if let Some(default) = default
                && found.is_undefined()
            {
                found = default.clone();
            }
        }
        Ok(found)
    }
}

/// What values are compared by where their case does not count.
pub(super) fn folded(budget: &Budget, value: Value, case_sensitive: bool) -> Result<Value> {
    match &value {
        Value::Text(text) | Value::Markup(text) if !case_sensitive => Value::new_text(budget, text.to_lowercase()),
        _ => Ok(value),
    }
}
