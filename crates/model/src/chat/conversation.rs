//! What is a conversation?
//!
//! A list of messages, each an object with at least a `role`. What else a message has is the template's business:
//! usually a `content`, sometimes calls of tools.
//!
//! Tables cannot tell a field that is null from one that is not there, and lines of JSON write now this, now that. So that
//! the same conversation gives the same text from wherever it comes, every message has a `content`, if only a null, and
//! no other null is kept in it, at whatever depth. Elements of lists stay.

use minijinja::value::{Value, ValueKind};
use serde::{Deserialize, Deserializer, Serialize};

/// The messages of a conversation, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation(Value);

impl Conversation {
    /// A conversation that consists of one turn of the user.
    pub fn of_user(text: &str) -> Self {
        Self::of_turns([("user", text)])
    }

    /// A conversation of these roles and contents.
    pub fn of_turns<'a>(turns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let message = |(role, content)| Value::from_iter([("role", role), ("content", content)]);
        Conversation(turns.into_iter().map(message).collect())
    }

    /// The conversation that a serialised list of messages is.
    ///
    /// # Errors
    /// Why it is none: a message has no `role`.
    pub fn of(messages: &impl Serialize) -> Result<Self, String> {
        Self::new(Value::from_serialize(messages))
    }

    fn new(value: Value) -> Result<Self, String> {
        match fault(&value) {
            None => Ok(Conversation(value.try_iter().map_or_else(|_| value.clone(), |all| all.map(message).collect()))),
            Some(fault) => Err(fault),
        }
    }

    pub(super) fn messages(&self) -> &Value {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

const CONTENT: &str = "content";

/// A message without nulls, but with its content.
fn message(value: Value) -> Value {
    let content = value.get_attr(CONTENT).is_ok_and(|content| !content.is_undefined());
    let end = (!content).then(|| (Value::from(CONTENT), Value::from(())));
    fields(&value, |name| name.as_str() == Some(CONTENT)).chain(end).collect()
}

/// The fields of an object that are not null, or that `keep` names.
fn fields(object: &Value, keep: impl Fn(&Value) -> bool) -> impl Iterator<Item = (Value, Value)> {
    let names: Vec<Value> = object.try_iter().into_iter().flatten().collect();
    names.into_iter().filter_map(move |name| {
        let value = object.get_item(&name).ok()?;
        (!value.is_none() || keep(&name)).then(|| (name, without_nulls(value)))
    })
}

fn without_nulls(value: Value) -> Value {
    match value.kind() {
        ValueKind::Map => fields(&value, |_| false).collect(),
        ValueKind::Seq => value.try_iter().into_iter().flatten().map(without_nulls).collect(),
        _ => value,
    }
}

/// Why a value is no conversation.
fn fault(value: &Value) -> Option<String> {
    if value.kind() != ValueKind::Seq {
        return Some(format!("{} where a list of messages was expected", value.kind()));
    }
    let messages = value.try_iter().ok()?;
    for (index, message) in messages.enumerate() {
        let role = message.get_attr("role").ok().filter(|role| role.kind() == ValueKind::String);
        if message.kind() != ValueKind::Map || role.is_none() {
            return Some(format!("message {index} is no object with a `role`"));
        }
    }
    None
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
            [("\"x\"", "string where"), ("{}", "map where"), ("[1]", "message 0"), ("[{}]", "message 0")]
        {
            let said = read(wrong).expect_err(wrong).to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_field_that_is_null_is_like_one_that_is_absent() {
        let read = |json: &str| serde_json::from_str::<Conversation>(json).expect("a conversation");
        let found = read(r#"[{"role": "a", "name": null, "calls": [{"x": null, "y": [null, 1]}], "content": null}]"#);
        assert_eq!(found, read(r#"[{"role": "a", "calls": [{"y": [null, 1]}]}]"#));
        assert_eq!(
            found,
            Conversation::of(&serde_json::json!([{"role": "a", "calls": [{"y": [null, 1]}]}])).expect("one")
        );
        let names: Vec<String> = found
            .0
            .get_item_by_index(0)
            .expect("a message")
            .try_iter()
            .expect("fields")
            .map(|n| n.to_string())
            .collect();
        assert_eq!(names, ["role", "calls", "content"]);
    }
}
