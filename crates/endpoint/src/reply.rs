//! What does the body of an answer say?
//!
//! Only `choices[0].message.content` has to be there, or what stands for it; everything else is taken where it can be
//! understood. Reasoning is no part of an answer, whether it has a field of its own or stands in the text between tags.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tags between which models reason; small letters.
const REASONING: [&str; 4] = ["think", "thinking", "reasoning", "thought"];
/// What begins the answer itself in the form of gpt-oss, where a server passes it on as it is.
const FINAL: &str = "<|channel|>final<|message|>";
/// Signs of an answer that are told where it is none.
const TOLD: usize = 160;

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The text, without reasoning; may be empty.
    pub text: String,
    /// The tokens of the answer with what else was likely there, reasoning included; empty where the endpoint does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odds: Vec<Odds>,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub answer_tokens: u64,
    /// Whether the endpoint did not count them, so that they are estimated.
    #[serde(default)]
    pub estimated: bool,
    /// The limit of tokens, where the answer ended at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<u32>,
}

/// A token of an answer, and what was likely in its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Odds {
    /// The token.
    pub token: String,
    /// Tokens with the logarithms of their probabilities, its own among them where it is told.
    pub likely: Vec<(String, f64)>,
}

/// Reads the body of an answer.
pub(crate) fn understood(body: &[u8], prompt_estimate: u64, limit: u32) -> Result<Reply, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("{error}: {}", excerpt(body)))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        return Err(format!("it holds an error: {}", excerpt(error.to_string().as_bytes())));
    }
    let choice = value.get("choices").and_then(|choices| choices.get(0));
    let choice = choice.ok_or_else(|| format!("it has no choices: {}", excerpt(body)))?;
    let message = choice.get("message").filter(|message| message.is_object());
    let message = message.ok_or_else(|| format!("its choice has no message: {}", excerpt(body)))?;
    let content = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        // Some give a list of parts, of which those of text count.
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        Some(Value::Null) | None => String::new(),
        Some(_) => return Err(format!("its content is no text: {}", excerpt(body))),
    };
    let count = |name: &str| value.get("usage")?.get(name)?.as_u64();
    let (prompt, answer) = (count("prompt_tokens"), count("completion_tokens"));
    let cut = choice.get("finish_reason").and_then(Value::as_str) == Some("length");
    Ok(Reply {
        text: without_reasoning(&content),
        odds: odds_of(choice),
        prompt_tokens: prompt.unwrap_or(prompt_estimate),
        answer_tokens: answer.unwrap_or(content.len().div_ceil(4) as u64),
        estimated: prompt.is_none() || answer.is_none(),
        cut_at: cut.then_some(limit),
    })
}

/// The probabilities of an answer; empty where one of them cannot be understood.
fn odds_of(choice: &Value) -> Vec<Odds> {
    let log_p = |entry: &Value| {
        let (token, log_p) = (entry.get("token")?.as_str()?, entry.get("logprob")?.as_f64()?);
        // A logarithm of a probability is never above zero.
        Some((token.to_owned(), log_p.min(0.0)))
    };
    let of = |entry: &Value| {
        let (token, own) = log_p(entry)?;
        let others: Vec<(String, f64)> = match entry.get("top_logprobs") {
            Some(Value::Array(others)) => others.iter().filter_map(log_p).collect(),
            _ => Vec::new(),
        };
        let likely = if others.iter().any(|(other, _)| *other == token) {
            others
        } else {
            std::iter::once((token.clone(), own)).chain(others).collect()
        };
        Some(Odds { token, likely })
    };
    let entries = choice.get("logprobs").and_then(|odds| odds.get("content")).and_then(Value::as_array);
    entries.and_then(|entries| entries.iter().map(of).collect()).unwrap_or_default()
}

/// A text without what a model thought before it answered.
pub fn without_reasoning(text: &str) -> String {
    let mut text = text.rsplit(FINAL).next().unwrap_or(text).to_owned();
    for tag in REASONING {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        loop {
            // Of the same length as the text, so that places are the same.
            let small = text.to_ascii_lowercase();
            let (begin, end) = (small.find(&open), small.find(&close));
            text = match (begin, end) {
                (None, None) => break,
                // The template may have opened it already.
                (None, Some(end)) => text[end + close.len()..].to_owned(),
                (Some(begin), Some(end)) if end < begin => text[end + close.len()..].to_owned(),
                (Some(begin), Some(end)) => format!("{}{}", &text[..begin], &text[end + close.len()..]),
                // It never came to an answer.
                (Some(begin), None) => text[..begin].to_owned(),
            };
        }
    }
    text.trim().to_owned()
}

/// The beginning of what came, on one line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * TOLD)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(TOLD).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    if short.is_empty() { "nothing".to_owned() } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Reply, String> {
        understood(value.to_string().as_bytes(), 7, 50)
    }

    #[test]
    fn reasoning_is_no_part_of_the_answer() {
        for (text, answer) in [
            ("<think>a cat?</think>\n dogs ", "dogs"),
            ("<Think>x</Think>a<think>y</think>b", "ab"),
            ("was thinking</think>dogs", "dogs"),
            ("<think>and so on", ""),
            ("<|channel|>analysis<|message|>hm<|channel|>final<|message|>dogs", "dogs"),
            ("1 < 2 and <b>", "1 < 2 and <b>"),
        ] {
            assert_eq!(without_reasoning(text), answer, "{text}");
        }
        let field = json!({ "choices": [{ "message": { "content": null, "reasoning_content": "a cat?" } }] });
        assert_eq!(read(field).expect("an answer").text, "");
        let within = json!({ "choices": [{ "message": { "content": "<think>a cat?</think>dogs" } }] });
        assert_eq!(read(within).expect("an answer").text, "dogs");
    }

    #[test]
    fn an_answer_is_taken_in_all_its_forms() {
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "image" }, { "text": "b" }]);
        let plain =
            json!({ "choices": [{ "message": { "content": parts }, "finish_reason": "length", "logprobs": null }] });
        let reply = read(plain).expect("an answer");
        assert_eq!(
            (reply.text.as_str(), reply.cut_at, reply.estimated, reply.prompt_tokens),
            ("ab", Some(50), true, 7)
        );
        let odds = json!({ "content": [{ "token": "1", "logprob": 0.5, "top_logprobs": [{ "token": "0", "logprob": -2.0 }] }] });
        let counted = json!({ "choices": [{ "message": { "content": "1" }, "logprobs": odds }],
            "usage": { "prompt_tokens": 5, "completion_tokens": 2 } });
        let reply = read(counted).expect("an answer");
        assert_eq!(reply.odds[0].likely, [("1".to_owned(), 0.0), ("0".to_owned(), -2.0)]);
        assert_eq!((reply.prompt_tokens, reply.answer_tokens, reply.estimated), (5, 2, false));
        let broken =
            json!({ "choices": [{ "message": { "content": "1" }, "logprobs": { "content": [{ "token": 3 }] } }] });
        assert!(read(broken).expect("an answer").odds.is_empty());
    }

    #[test]
    fn what_is_no_answer_is_quoted() {
        for (body, told) in [
            ("<html>hello</html>", "<html>hello</html>"),
            ("", "nothing"),
            (r#"{"choices":[{"message":{"content":"a"#, "EOF"),
            (r#"{"choices":[]}"#, "no choices"),
            (r#"{"choices":{"0":1}}"#, "no choices"),
            (r#"{"choices":[{"text":"a"}]}"#, "no message"),
            (r#"{"choices":[{"message":{"content":5}}]}"#, "no text"),
            (r#"{"error":{"message":"overloaded"}}"#, "overloaded"),
            ("[1,2]", "no choices"),
        ] {
            let error = understood(body.as_bytes(), 0, 0).expect_err(body);
            assert!(error.contains(told), "{error}");
        }
        let deep = "[".repeat(1 << 20);
        assert!(understood(deep.as_bytes(), 0, 0).expect_err("too deep").len() < 1000);
    }
}
