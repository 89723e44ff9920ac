//! In which fields do two settings differ? Asked before an unfinished output is continued and before shards are joined.

use serde_json::Value;
use std::fmt;

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Path of the field, `model.weights_sha256`.
    pub field: String,
    /// The value that is there already; none where the field is absent.
    pub found: Option<Value>,
    /// The value that is asked for; none where the field is absent.
    pub asked: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| value.as_ref().map_or("absent".to_owned(), shortened);
        write!(f, "{}: {} there, {} asked for", self.field, show(&self.found), show(&self.asked))
    }
}

/// A value in at most a few dozen characters.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 40;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// The leaves in which `asked` differs from what was `found`, in the order of their names.
///
/// ```
/// use serde_json::json;
/// let found = json!({"context": 128, "model": {"name": "a"}});
/// let asked = json!({"context": 64, "model": {"name": "a"}});
/// let differences = untangle_store::differences(&found, &asked);
/// assert_eq!(differences.len(), 1);
/// assert_eq!(differences[0].to_string(), "context: 128 there, 64 asked for");
/// ```
pub fn differences(found: &Value, asked: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    collect("", Some(found), Some(asked), &mut all);
    all
}

fn collect(field: &str, found: Option<&Value>, asked: Option<&Value>, all: &mut Vec<Difference>) {
    let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    match (found, asked) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))).collect();
            names.sort();
            names.into_iter().for_each(|name| collect(&below(name), a.get(name), b.get(name), all));
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| collect(&below(&i.to_string()), Some(a), Some(b), all));
        }
        (a, b) if a != b => {
            all.push(Difference { field: field.to_owned(), found: a.cloned(), asked: b.cloned() });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_absent_and_listed_fields_are_named() {
        let found = json!({"a": {"b": 1, "c": [1, 2]}, "only_here": true, "list": [1]});
        let asked = json!({"a": {"b": 1, "c": [1, 3]}, "only_there": 2, "list": [1, 2]});
        let fields: Vec<String> = differences(&found, &asked).into_iter().map(|d| d.field).collect();
        assert_eq!(fields, ["a.c.1", "list", "only_here", "only_there"]);
    }

    #[test]
    fn equal_settings_do_not_differ() {
        let value = json!({"a": {"b": [1, {"c": null}]}});
        assert!(differences(&value, &value).is_empty());
    }
}
