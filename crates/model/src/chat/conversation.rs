//! What is a conversation?
//!
//! A list of messages, each an object with at least a `role`. What else a message has is the template's business:
//! usually a `content`, sometimes calls of tools.

use super::beside::Beside;
use super::data::{self, Data};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The names under which messages have what was thought, the first that one counts.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The messages of a conversation, in order, and what is handed to the template beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    messages: Data,
    /// In the order of [`Beside::NAMES`].
    beside: [Beside; 2],
}

impl Conversation {
    fn of_messages(messages: Data) -> Self {
        Conversation { messages, beside: Default::default() }
    }

    /// The same with these lists beside it, in the order of [`Beside::NAMES`].
    pub fn with(self, beside: [Beside; 2]) -> Self {
        Conversation { beside, ..self }
    }

    /// What stands beside the messages, by name.
    pub(super) fn beside(&self) -> impl Iterator<Item = (&'static str, &Data)> {
        Beside::NAMES.into_iter().zip(&self.beside).map(|(name, beside)| (name, &beside.0))
    }

    /// A conversation that consists of one turn of the user.
    pub fn of_user(text: &str) -> Self {
        Self::of_turns([("user", text)])
    }

    /// A conversation of these roles and contents.
    pub fn of_turns<'a>(turns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let message = |(role, content): (&str, &str)| {
            Data::Dict(vec![("role".into(), Data::text(role)), ("content".into(), Data::text(content))])
        };
        Self::of_messages(Data::List(turns.into_iter().map(message).collect()))
    }

    /// The conversation that a table's list of messages is, serialised. A table cannot tell a field that is null from one
    /// that is not there, since all its rows have the same fields; so nulls count as absent, at whatever depth, and the same
    /// conversation gives the same text from a table as from a line of JSON. Elements of lists stay.
    ///
    /// # Errors
    /// Why it is none: a message has no `role`.
    pub fn of_table(messages: &impl Serialize) -> Result<Self, String> {
        // By way of text, which keeps the order of fields.
        let text = serde_json::to_string(messages).map_err(|error| error.to_string())?;
        let value = Data::read(&text)?;
        match fault(&value) {
            None => Ok(Self::of_messages(without_nulls(value))),
            Some(fault) => Err(fault),
        }
    }

    /// The JSON number by which a conversation holds a float that is not finite, which JSON has no number for and Python
    /// writes as `NaN` or `Infinity`.
    pub fn json_of_not_finite(number: f64) -> &'static str {
        data::json_of_not_finite(number)
    }

    /// Whether it has no message.
    pub fn is_empty(&self) -> bool {
        matches!(&self.messages, Data::List(messages) if messages.is_empty())
    }

    /// The messages as transformers hands them to a template: without fields that are null, and with what was thought
    /// under the names that templates know.
    pub(super) fn messages(&self) -> Data {
        let Data::List(messages) = &self.messages else { return self.messages.clone() };
        Data::List(messages.iter().map(normalized).collect())
    }
}

/// A value whose objects have no fields that are null.
pub(super) fn without_nulls(value: Data) -> Data {
    match value {
        Data::Dict(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| *value != Data::None);
            Data::Dict(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Data::List(items) => Data::List(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn normalized(message: &Data) -> Data {
    let Data::Dict(fields) = message else { return message.clone() };
    let mut kept: Vec<_> = fields.iter().filter(|(_, value)| *value != Data::None).cloned().collect();
    let thought = REASONING.iter().find_map(|name| message.field(name).filter(|value| **value != Data::None));
    if let Some(thought) = thought {
        if !kept.iter().any(|(name, _)| **name == *"thinking") {
            kept.insert(0, ("thinking".into(), thought.clone()));
        }
        match kept.iter_mut().find(|(name, _)| **name == *"reasoning_content") {
            Some((_, value)) => *value = thought.clone(),
            None => kept.push(("reasoning_content".into(), thought.clone())),
        }
        // The copy stands first where Python's union of dicts puts it.
        if let Some(at) = kept.iter().position(|(name, _)| **name == *"thinking") {
            let thinking = kept.remove(at);
            kept.insert(0, thinking);
        }
    }
    Data::Dict(kept)
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As it is written, since the numbers of the library have fewer digits than those of Python.
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let value = Data::read(text.get()).map_err(serde::de::Error::custom)?;
        match fault(&value) {
            None => Ok(Self::of_messages(value)),
            Some(fault) => Err(serde::de::Error::custom(fault)),
        }
    }
}

/// Why a value is no conversation.
fn fault(value: &Data) -> Option<String> {
    let Data::List(messages) = value else {
        return Some(format!("{} where a list of messages was expected", value.kind()));
    };
    let none = |message: &Data| !matches!(message.field("role"), Some(Data::Text(_)));
    let index = messages.iter().position(none)?;
    Some(format!("message {index} is no object with a `role`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_messages_with_a_role_are_conversations() {
        let read = |json: &str| serde_json::from_str::<Conversation>(json);
        let found = read(r#"[{"role": "user", "content": "Hi"}]"#).expect("a conversation");
        assert_eq!(found, Conversation::of_user("Hi"));
        assert!(read("[]").is_ok());
        for (wrong, why) in
            [("\"x\"", "string where"), ("{}", "object where"), ("[1]", "message 0"), ("[{}]", "message 0")]
        {
            let said = read(wrong).expect_err(wrong).to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn nulls_of_a_table_are_absent_at_every_depth() {
        #[derive(Serialize)]
        struct Message {
            role: &'static str,
            name: Option<u8>,
            calls: Vec<serde_json::Value>,
        }
        let calls = vec![serde_json::json!({"x": null, "y": [null, 1]})];
        let table = [Message { role: "a", name: None, calls }];
        let expected = r#"[{"role": "a", "calls": [{"y": [null, 1]}]}]"#;
        let found = Conversation::of_table(&table).expect("a conversation");
        assert_eq!(found, serde_json::from_str(expected).expect("a conversation"));
        assert!(Conversation::of_table(&serde_json::json!([{"name": "x"}])).is_err());
    }

    #[test]
    fn templates_get_messages_without_nulls_and_thoughts_under_all_names() {
        let read = |json: &str| serde_json::from_str::<Conversation>(json).expect("a conversation").messages();
        let found = read(r#"[{"role": "assistant", "content": null, "reasoning": "Hm.", "x": {"y": null}}]"#);
        let expected = Data::read(
            r#"[{"thinking": "Hm.", "role": "assistant", "reasoning": "Hm.", "x": {"y": null},
                 "reasoning_content": "Hm."}]"#,
        )
        .expect("JSON");
        assert_eq!(found, expected);
    }
}
