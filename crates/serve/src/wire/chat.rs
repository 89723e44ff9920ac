//! `/v1/chat/completions`: conversations and the model's replies.

use super::writing::{FinishReason, Usage};
use crate::limits::ALTERNATIVES;
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use untangle_model::Conversation;

/// What a request for a reply has beside [`super::writing::WritingRequest`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ChatRequest {
    /// The conversation: objects with a `role` and whatever the model's template makes something of.
    pub messages: Option<Vec<Map<String, Value>>>,
    /// The newer name of `max_tokens`.
    pub max_completion_tokens: Option<u64>,
    /// Whether tokens come with their log-probabilities.
    pub logprobs: Option<bool>,
    /// The number of likeliest tokens that are named at each place.
    pub top_logprobs: Option<u64>,
    /// Not offered: empty alone.
    pub tools: Option<Vec<Value>>,
    /// Not offered: empty alone.
    pub functions: Option<Vec<Value>>,
    /// Not offered: `{"type": "text"}` alone.
    pub response_format: Option<Map<String, Value>>,
}

impl ChatRequest {
    /// Refuses what is not offered.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        for (name, list) in [("tools", &self.tools), ("functions", &self.functions)] {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                return Err(Problem::field(name, format!("{name} are not offered: replies are text")));
            }
        }
        let format = self.response_format.as_ref().and_then(|format| format.get("type"));
        if format.is_some_and(|kind| kind != "text") {
            return Err(Problem::field("response_format", "replies have no other format than {\"type\": \"text\"}"));
        }
        match self.top_logprobs {
            Some(n) if n > ALTERNATIVES as u64 => {
                Err(Problem::field("top_logprobs", format!("top_logprobs is {n}; expected at most {ALTERNATIVES}")))
            }
            Some(_) if self.logprobs != Some(true) => {
                Err(Problem::field("top_logprobs", "top_logprobs belongs to `logprobs: true`"))
            }
            _ => Ok(()),
        }
    }

    /// The number of likeliest tokens that are named at each place; none where nothing is scored.
    pub(crate) fn alternatives(&self) -> Option<usize> {
        (self.logprobs == Some(true)).then(|| self.top_logprobs.unwrap_or(0) as usize)
    }

    /// The conversation; contents that are lists of texts are these texts in one.
    pub(crate) fn conversation(&self) -> Result<Conversation, Problem> {
        let messages = self.messages.as_deref().unwrap_or_default();
        if messages.is_empty() {
            return Err(Problem::field(
                "messages",
                "there is no message; give a list of objects with role and content",
            ));
        }
        let whole = |(at, message): (usize, &Map<String, Value>)| {
            let mut message = message.clone();
            if let Some(Value::Array(parts)) = message.get("content") {
                let text = parts.iter().map(text_of).collect::<Option<String>>().ok_or_else(|| {
                    let message = "only parts with `\"type\": \"text\"` and a `text` are read";
                    Problem::field(format!("messages[{at}].content"), message)
                })?;
                message.insert("content".to_owned(), Value::String(text));
            }
            Ok(Value::Object(message))
        };
        let messages = messages.iter().enumerate().map(whole).collect::<Result<Vec<_>, Problem>>()?;
        let text = Value::Array(messages).to_string();
        serde_json::from_str(&text).map_err(|error| Problem::field("messages", error.to_string()))
    }
}

/// The text of a part of a message's content.
fn text_of(part: &Value) -> Option<&str> {
    if part.get("type")? == "text" { part.get("text")?.as_str() } else { None }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatCompletion {
    /// Of this answer.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// When it began, in seconds since 1970.
    pub created: u64,
    /// Name of the model.
    pub model: String,
    /// What the weights are.
    pub system_fingerprint: String,
    /// The replies.
    pub choices: Vec<ChatChoice>,
    /// The number of tokens.
    pub usage: Usage,
    /// What was steered, as it was understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steering: Vec<String>,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatChoice {
    /// Its number.
    pub index: usize,
    /// What the model says.
    pub message: Reply,
    /// How likely its tokens were.
    pub logprobs: Option<ChatLogprobs>,
    /// Why there is no more.
    pub finish_reason: FinishReason,
}

/// What the model says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: String,
    /// Nothing: the model's own words are its content.
    pub refusal: Option<String>,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatChunk {
    /// Of the answer.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// When it began, in seconds since 1970.
    pub created: u64,
    /// Name of the model.
    pub model: String,
    /// What the weights are.
    pub system_fingerprint: String,
    /// What goes on.
    pub choices: Vec<ChunkChoice>,
    /// The number of tokens, in the last piece.
    pub usage: Option<Usage>,
    /// What was steered, as it was understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steering: Vec<String>,
}

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChunkChoice {
    /// Its number.
    pub index: usize,
    /// What is added.
    pub delta: Delta,
    /// How likely its tokens were.
    pub logprobs: Option<ChatLogprobs>,
    /// Why there is no more; none while there may be.
    pub finish_reason: Option<FinishReason>,
}

/// What is added to a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// How likely tokens were.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChatLogprobs {
    /// Those of the text.
    pub content: Vec<TokenLogprob>,
    /// Nothing, as [`Reply::refusal`].
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// How likely a token was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
    /// The bytes of its text.
    pub bytes: Vec<u8>,
    /// The likeliest tokens there.
    pub top_logprobs: Vec<TopLogprob>,
}

/// One of the likeliest tokens at a place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
    /// The bytes of its text.
    pub bytes: Vec<u8>,
}
