//! `/v1/completions`: prompts and what is written behind them.

use super::writing::{FinishReason, Usage};
use crate::limits::ALTERNATIVES;
use crate::problem::Problem;
use serde::{Deserialize, Serialize, Serializer};

/// What a request for completions has beside [`super::writing::WritingRequest`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct CompletionRequest {
    /// A text, a list of texts, a list of token ids, or a list of such lists.
    pub prompt: Option<Prompt>,
    /// Whether the prompt is part of the answer.
    pub echo: Option<bool>,
    /// The number of likeliest tokens that are named at each place, with their log-probabilities.
    pub logprobs: Option<u64>,
    /// Not offered: `n` alone.
    pub best_of: Option<u64>,
    /// Not offered: empty alone.
    pub suffix: Option<String>,
}

/// What is to be continued.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a text, a list of texts, a list of token ids, or a list of such lists")]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Texts; an empty list is one, too.
    Texts(Vec<String>),
    /// The tokens of a text.
    Tokens(Vec<u32>),
    /// The tokens of texts.
    Tokenised(Vec<Vec<u32>>),
}

/// One prompt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OnePrompt {
    Text(String),
    Tokens(Vec<u32>),
}

impl CompletionRequest {
    /// The prompts.
    pub(crate) fn prompts(&self) -> Result<Vec<OnePrompt>, Problem> {
        let prompts: Vec<OnePrompt> = match &self.prompt {
            None => Vec::new(),
            Some(Prompt::Text(text)) => vec![OnePrompt::Text(text.clone())],
            Some(Prompt::Texts(texts)) => texts.iter().cloned().map(OnePrompt::Text).collect(),
            Some(Prompt::Tokens(tokens)) => vec![OnePrompt::Tokens(tokens.clone())],
            Some(Prompt::Tokenised(all)) => all.iter().cloned().map(OnePrompt::Tokens).collect(),
        };
        match prompts.is_empty() {
            true => Err(Problem::field("prompt", "there is no prompt; give a text, token ids, or a list of either")),
            false => Ok(prompts),
        }
    }

    /// Refuses what is not offered.
    pub(crate) fn check(&self, n: usize) -> Result<(), Problem> {
        if self.best_of.is_some_and(|best_of| best_of != n as u64) {
            return Err(Problem::field("best_of", "best_of is not offered beside n; ask for n and choose by logprobs"));
        }
        if self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return Err(Problem::field("suffix", "suffix is not offered; texts are continued at their end"));
        }
        match self.logprobs {
            Some(n) if n > ALTERNATIVES as u64 => {
                Err(Problem::field("logprobs", format!("logprobs is {n}; expected at most {ALTERNATIVES}")))
            }
            _ => Ok(()),
        }
    }
}

/// An answer, or a piece of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    /// Of this answer.
    pub id: String,
    /// `text_completion`.
    pub object: &'static str,
    /// When it began, in seconds since 1970.
    pub created: u64,
    /// Name of the model.
    pub model: String,
    /// What the weights are.
    pub system_fingerprint: String,
    /// Prompt by prompt, for each its continuations; in a piece, what goes on.
    pub choices: Vec<CompletionChoice>,
    /// The number of tokens; in pieces, that of the last alone.
    pub usage: Option<Usage>,
    /// What was steered, as it was understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steering: Vec<String>,
}

/// A continuation, or a piece of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompletionChoice {
    /// Its number.
    pub index: usize,
    /// The text.
    pub text: String,
    /// How likely its tokens were.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why there is no more; none while there may be.
    pub finish_reason: Option<FinishReason>,
}

/// Texts of tokens with their log-probabilities, the likeliest first; a map, as OpenAI has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranked(pub Vec<(String, f32)>);

impl Serialize for Ranked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(text, logprob)| (text, logprob)))
    }
}

/// How likely tokens were, place by place.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Their log-probabilities; none of the first of a text.
    pub token_logprobs: Vec<Option<f32>>,
    /// Those of the likeliest tokens.
    pub top_logprobs: Vec<Option<Ranked>>,
    /// Where each begins, in characters of the whole text of the choice.
    pub text_offset: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeliest_tokens_come_in_their_order() {
        let top = Ranked(vec![("z".to_owned(), -0.5), ("a".to_owned(), -1.0)]);
        assert_eq!(serde_json::to_string(&top).expect("JSON"), r#"{"z":-0.5,"a":-1.0}"#);
    }
}
