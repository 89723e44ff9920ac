//! What is handed to a template beside the messages?
//!
//! Tools that the model may call, and documents that it may quote: lists of objects, as transformers'
//! `apply_chat_template(messages, tools=…, documents=…)` takes them. Data sets often hold such a list as a text of JSON,
//! which is read, as trainers read it.

use super::conversation::without_nulls;
use super::data::Data;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A list of objects beside a conversation; none where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside(pub(super) Data);

impl Default for Beside {
    fn default() -> Self {
        Beside(Data::None)
    }
}

impl Beside {
    /// The names under which data sets and templates have such lists.
    pub const NAMES: [&'static str; 2] = ["tools", "documents"];

    /// What a table's column holds, serialised; fields that are null count as absent, as in messages.
    ///
    /// # Errors
    /// Why it is no list of objects.
    pub fn of_table(value: &impl Serialize) -> Result<Self, String> {
        let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
        Self::of(Data::read(&text)?).map(|beside| Beside(without_nulls(beside.0)))
    }

    fn of(value: Data) -> Result<Self, String> {
        let value = match value {
            Data::Text(text) if text.trim().is_empty() => Data::None,
            Data::Text(text) => Data::read(&text).map_err(|problem| format!("a text that is no JSON ({problem})"))?,
            other => other,
        };
        let wrong = match &value {
            Data::None => None,
            Data::List(items) => {
                let item = items.iter().find(|item| !matches!(item, Data::Dict(_)));
                item.map(|item| format!("a list with {}", item.kind()))
            }
            other => Some(other.kind().to_owned()),
        };
        wrong.map_or(Ok(Beside(value)), |found| Err(format!("{found} where a list of objects was expected")))
    }
}

impl<'de> Deserialize<'de> for Beside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Data::read(text.get()).and_then(Self::of).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_objects_are_taken_as_they_are_or_as_texts() {
        let read = |json: &str| serde_json::from_str::<Beside>(json).map_err(|error| error.to_string());
        let tools = r#"[{"type": "function", "x": null}]"#;
        let text = serde_json::to_string(tools).expect("JSON");
        let Data::List(items) = read(tools).expect("tools").0 else { panic!("no list") };
        assert_eq!(items[0].field("x"), Some(&Data::None), "as it is");
        assert_eq!(read(tools), read(&text));
        for none in ["null", "\"\"", "\"null\""] {
            assert_eq!(read(none), Ok(Beside::default()), "{none}");
        }
        assert_eq!(read("[]").expect("none").0, Data::List(vec![]));
        for (wrong, why) in [
            ("[1]", "a list with a number"),
            ("{}", "an object where"),
            ("\"search\"", "no JSON"),
            ("\"{}\"", "an object where"),
        ] {
            let said = read(wrong).expect_err(wrong);
            assert!(said.contains(why), "{said}");
        }
        let of_table = Beside::of_table(&serde_json::json!([{"a": {"b": null, "c": 1}}])).expect("tools");
        assert_eq!(of_table, read(r#"[{"a": {"c": 1}}]"#).expect("tools"));
    }
}
