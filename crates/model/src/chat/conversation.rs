//! What is a conversation?
//!
//! A list of messages, each an object with at least a `role`. What else a message has is the template's business:
//! usually a `content`, sometimes calls of tools.

use minijinja::value::{Value, ValueKind};
use serde::{Deserialize, Deserializer};

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

    /// A conversation of messages that have these fields, of which those without text are null.
    ///
    /// # Errors
    /// Why it is none: a message has no `role`.
    pub fn of_messages<'a>(messages: impl IntoIterator<Item = Vec<(&'a str, Option<String>)>>) -> Result<Self, String> {
        let value = messages.into_iter().map(Value::from_iter::<Vec<(&str, Option<String>)>>).collect();
        match fault(&value) {
            None => Ok(Conversation(value)),
            Some(fault) => Err(fault),
        }
    }

    pub(super) fn messages(&self) -> &Value {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match fault(&value) {
            None => Ok(Conversation(value)),
            Some(fault) => Err(serde::de::Error::custom(fault)),
        }
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
}
