//! In which form is an endpoint asked, and what is left out where it refuses something?
//!
//! Endpoints agree on messages and on nothing else: some models have no system role, some take no temperature, some give no
//! probabilities, and what limits an answer has two names. What is refused is told apart by the words of the refusal, left
//! out, and remembered for all that follows.

use crate::options::EndpointOptions;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Likeliest tokens that endpoints tell at every place where they tell any at all: some tell no more.
const FEW: u32 = 5;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What there is to do.
    pub system: String,
    /// What it is to be done to.
    pub user: String,
    /// How many of the likeliest tokens in every place of the answer are of use with their probabilities; 0 for none.
    pub odds: u32,
}

impl Request {
    /// Names the request among all that any model is asked: SHA-256, hexadecimal.
    pub(crate) fn key(&self, url: &str, model: &str) -> String {
        let whole = json!([url, model, self.system, self.user, self.odds]).to_string();
        Sha256::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// About how many tokens the prompt has: four bytes each.
    pub(crate) fn tokens(&self) -> u64 {
        (self.system.len() + self.user.len()).div_ceil(4) as u64
    }
}

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// What there is to do stands before the rest in the user's message.
    folded: bool,
    /// Of the likeliest tokens, no more than [`FEW`] are told.
    few_odds: bool,
    without_odds: bool,
    without_temperature: bool,
    /// The limit is called `max_completion_tokens`.
    newer_limit: bool,
}

impl Manner {
    /// The body of a request.
    pub(crate) fn body(self, options: &EndpointOptions, request: &Request) -> String {
        let message = |role: &str, content: &str| json!({ "role": role, "content": content });
        let messages = match self.folded {
            true => vec![message("user", &format!("{}\n\n{}", request.system, request.user))],
            false => vec![message("system", &request.system), message("user", &request.user)],
        };
        let limit = if self.newer_limit { "max_completion_tokens" } else { "max_tokens" };
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        put("model", json!(options.model));
        put("messages", Value::Array(messages));
        put(limit, json!(options.answer_tokens));
        if !self.without_temperature {
            put("temperature", json!(0));
        }
        if request.odds > 0 && !self.without_odds {
            put("logprobs", json!(true));
            put("top_logprobs", json!(if self.few_odds { request.odds.min(FEW) } else { request.odds }));
        }
        Value::Object(body).to_string()
    }

    /// How to ask again after a refusal in these words of a request for so many likeliest tokens; none where there is nothing left to
    /// leave out.
    pub(crate) fn conceding(self, status: u16, said: &str, odds: u32) -> Option<Self> {
        let said = said.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let is_client = matches!(status, 400 | 422);
        let role = ["system role", "system message", "system prompt", "roles must alternate", "developer instruction"];
        let of_role = has(&role) || is_client && has(&["system", "role"]);
        if !is_client && !matches!(status, 404 | 415 | 500 | 501) {
            return None;
        }
        match () {
            () if !self.newer_limit && has(&["max_completion_tokens"]) => Some(Manner { newer_limit: true, ..self }),
            () if !self.without_temperature && has(&["temperature"]) => {
                Some(Manner { without_temperature: true, ..self })
            }
            () if !(self.few_odds || self.without_odds) && odds > FEW && has(&["logprob"]) => {
                Some(Manner { few_odds: true, ..self })
            }
            () if !self.without_odds && has(&["logprob"]) => Some(Manner { without_odds: true, ..self }),
            () if !self.folded && of_role => Some(Manner { folded: true, ..self }),
            // Which of them it was is not said: all that can be left out is.
            () if is_client && !(self.folded && self.without_odds && self.without_temperature) => {
                Some(Manner { folded: true, without_odds: true, without_temperature: true, ..self })
            }
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(manner: Manner) -> Value {
        let request = Request { system: "S".to_owned(), user: "U".to_owned(), odds: 20 };
        serde_json::from_str(&manner.body(&EndpointOptions::new("http://h", "m"), &request)).expect("JSON")
    }

    #[test]
    fn what_is_refused_by_name_is_left_out_and_nothing_else() {
        let plain = Manner::default();
        let all = asked(plain);
        assert_eq!((all["temperature"].as_i64(), all["logprobs"].as_bool()), (Some(0), Some(true)));
        assert_eq!(all["messages"][0], json!({ "role": "system", "content": "S" }));
        let role = plain.conceding(400, "System role not supported", 5).expect("another way");
        assert_eq!(asked(role)["messages"], json!([{ "role": "user", "content": "S\n\nU" }]));
        assert_eq!(asked(role)["logprobs"], json!(true));
        let odds = plain.conceding(400, "this model has no logprobs", 5).expect("another way");
        assert!(
            asked(odds).get("logprobs").is_none() && asked(odds)["messages"].as_array().expect("a list").len() == 2
        );
        let few = plain.conceding(400, "top_logprobs must be at most 5", 20).expect("fewer");
        assert_eq!((&asked(plain)["top_logprobs"], &asked(few)["top_logprobs"]), (&json!(20), &json!(5)));
        let none = few.conceding(400, "this model has no logprobs", 20).expect("another way");
        assert!(asked(none).get("logprobs").is_none());
        let limit = plain.conceding(400, "use 'max_completion_tokens' instead of max_tokens", 5).expect("another way");
        assert!(asked(limit).get("max_tokens").is_none() && asked(limit)["max_completion_tokens"] == json!(2048));
        let warm = plain.conceding(400, "temperature: only 1", 5).expect("another way");
        assert!(asked(warm).get("temperature").is_none());
        let template = plain.conceding(500, "jinja: System role not supported", 5).expect("another way");
        assert_eq!(template, role);
    }

    #[test]
    fn concessions_end() {
        let mut manner = Manner::default();
        let mut steps = 0;
        while let Some(next) = manner.conceding(400, "system temperature logprobs max_completion_tokens", 20) {
            (manner, steps) = (next, steps + 1);
        }
        assert_eq!(steps, 5);
        let plain = Manner::default().conceding(400, "bad request", 5).expect("the plainest");
        assert_eq!(plain.conceding(400, "bad request", 5), None);
        assert_eq!(Manner::default().conceding(500, "internal error in the system", 5), None);
        assert_eq!(Manner::default().conceding(429, "system role", 5), None);
    }
}
