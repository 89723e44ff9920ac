//! How texts are to be written: the fields that requests for completions and for replies share.

use crate::limits::{CHOICES, STOPS};
use crate::problem::Problem;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use untangle_model::{GenerateOptions, Sampling};

/// What both kinds of request have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct WritingRequest {
    /// Name of the model, or of one of its steered variants; the plain model where it is left out.
    pub model: Option<String>,
    /// Tokens that are written at most.
    pub max_tokens: Option<u64>,
    /// Logits are divided by it; 0 always takes the likeliest token. 1 where it is left out.
    pub temperature: Option<f64>,
    /// Only the likeliest tokens whose probabilities sum to it are considered.
    pub top_p: Option<f64>,
    /// Only so many of the likeliest tokens are considered.
    pub top_k: Option<u64>,
    /// Only tokens at least this many times as likely as the likeliest are considered.
    pub min_p: Option<f64>,
    /// Tokens of the text so far are made less likely by this factor.
    pub repetition_penalty: Option<f64>,
    /// Seed of the choice; the n-th continuation of a prompt has the n-th seed from here on. Drawn where it is left out.
    pub seed: Option<Seed>,
    /// Continuations of every prompt.
    pub n: Option<u64>,
    /// Words before which a text ends.
    pub stop: Option<Stop>,
    /// Whether the answer comes piece by piece.
    pub stream: Option<bool>,
    /// What comes with the pieces.
    pub stream_options: Option<StreamOptions>,
    /// What is steered, see [`super::steering`].
    pub steering: Option<Value>,
    /// Not offered: 0 alone.
    pub frequency_penalty: Option<f64>,
    /// Not offered: 0 alone.
    pub presence_penalty: Option<f64>,
    /// Not offered: empty alone.
    pub logit_bias: Option<BTreeMap<String, f64>>,
}

/// A seed: a whole number of 64 bits, negative ones as their two's complement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Seed(pub u64);

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let seed = number.as_u64().or_else(|| number.as_i64().map(|seed| seed as u64));
        seed.map(Seed).ok_or_else(|| D::Error::custom(format!("{number} is no seed; give a whole number of 64 bits")))
    }
}

/// Words that end a text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What comes with the pieces of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct StreamOptions {
    /// Whether the number of tokens comes last.
    pub include_usage: Option<bool>,
}

impl TryFrom<Map<String, Value>> for StreamOptions {
    type Error = &'static str;

    fn try_from(fields: Map<String, Value>) -> Result<Self, Self::Error> {
        match fields.get("include_usage") {
            None | Some(Value::Null) => Ok(StreamOptions { include_usage: None }),
            Some(Value::Bool(include)) => Ok(StreamOptions { include_usage: Some(*include) }),
            Some(_) => Err("include_usage is true or false"),
        }
    }
}

/// The number of tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompts, each counted once.
    pub prompt_tokens: usize,
    /// Of all continuations.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
}

impl Usage {
    /// The sum of both.
    pub(crate) fn new(prompt_tokens: usize, completion_tokens: usize) -> Self {
        Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or words came that do.
    Stop,
    /// It has as many tokens as were asked for, or as the context has room for.
    Length,
}

impl WritingRequest {
    /// Refuses what would be passed over in silence although it was to change the text.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let penalties = [("frequency_penalty", self.frequency_penalty), ("presence_penalty", self.presence_penalty)];
        if let Some((name, _)) = penalties.iter().find(|(_, value)| value.is_some_and(|value| value != 0.0)) {
            return Err(Problem::field(*name, format!("{name} is not offered; repetition_penalty is")));
        }
        if self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()) {
            let message = "logit_bias is not offered; steer along a token's direction (`{\"token\": …, \"in\": …}`)";
            return Err(Problem::field("logit_bias", message));
        }
        match self.stream_options {
            Some(_) if !self.streams() => {
                Err(Problem::field("stream_options", "stream_options belong to `stream: true`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the answer comes piece by piece.
    pub(crate) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    /// Whether the number of tokens comes last.
    pub(crate) fn streams_usage(&self) -> bool {
        self.stream_options.is_some_and(|options| options.include_usage == Some(true))
    }

    /// Continuations of every prompt.
    pub(crate) fn choices(&self) -> Result<usize, Problem> {
        match self.n.unwrap_or(1) {
            n if (1..=CHOICES as u64).contains(&n) => Ok(n as usize),
            n => Err(Problem::field("n", format!("n is {n}; expected 1 to {CHOICES}"))),
        }
    }

    /// Words before which a text ends.
    pub(crate) fn stops(&self) -> Result<Vec<String>, Problem> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Several(stops)) => stops.clone(),
        };
        match () {
            () if stops.len() > STOPS => Err(Problem::field(
                "stop",
                format!("there are {} texts in stop; expected at most {STOPS}", stops.len()),
            )),
            () if stops.iter().any(String::is_empty) => {
                Err(Problem::field("stop", "a text in stop is empty; leave it out"))
            }
            () => Ok(stops),
        }
    }

    /// How tokens are drawn, `max_new_tokens` of them; `drawn` is the seed where none is given.
    pub(crate) fn options(&self, max_new_tokens: usize, drawn: u64) -> Result<GenerateOptions, Problem> {
        let plain = Sampling::default();
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(plain.temperature),
            top_k: self.top_k.map(|k| usize::try_from(k).unwrap_or(usize::MAX)),
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty.unwrap_or(plain.repetition_penalty),
        };
        if let Some((name, found, expected)) = sampling.problem() {
            return Err(Problem::field(name, format!("{name} is {found}; expected {expected}")));
        }
        let seed = self.seed.map_or(drawn, |seed| seed.0);
        Ok(GenerateOptions { max_new_tokens, sampling, seed, stop_at_eos: true })
    }
}
