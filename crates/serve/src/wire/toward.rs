//! `/api/v1/toward`: which feature makes the model write about something?
//!
//! The answer is a stream of events: the candidates, then each as it was tried, the model itself first; the best one last.

use crate::limits::CHOICES;
use crate::problem::Problem;
use crate::wire::writing::Seed;
use serde::{Deserialize, Serialize};
use untangle_model::Sampling;
use untangle_schema::Share;

/// Texts of each candidate, tokens of each text and temperature where none are said (chosen: some seconds on a small model).
const TEXTS: u64 = 16;
const TOKENS: u64 = 40;
const TEMPERATURE: f64 = 0.8;
/// Tokens of a text at most (chosen).
const LONGEST: u64 = 400;

/// Whether a text is about something.
pub type IsAbout = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Knows more of a model's world than the words that name things in it.
pub trait Subjects: std::fmt::Debug + Send + Sync {
    /// What is called so: which texts are about it, in words that complete "texts", and whether one is.
    fn of(&self, words: &str) -> (String, IsAbout);
}

/// Asks for a feature that makes the model write about something.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TowardRequest {
    /// Name of the dictionary; the first where it is left out.
    pub dictionary: Option<String>,
    /// What to write about. A text is about it when it has all of these words, or as the model's world says.
    pub concept: Option<String>,
    /// What is continued.
    pub prompt: Option<String>,
    /// Texts that are written with every candidate.
    pub texts: Option<u64>,
    /// Tokens of each.
    pub max_tokens: Option<u64>,
    /// How freely they are drawn.
    pub temperature: Option<f64>,
    /// Seed of the first text.
    pub seed: Option<Seed>,
}

/// Features that may be about it, before any is tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidates {
    /// `candidates`.
    pub stage: &'static str,
    /// What the features may be about.
    pub topic: String,
    /// Which texts count as about it: what completes "texts".
    pub sign: String,
    /// The features, those found first coming first.
    pub candidates: Vec<CandidateInfo>,
}

/// A feature that may be about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CandidateInfo {
    /// Its number.
    pub feature: usize,
    /// Its label.
    pub label: Option<String>,
    /// The token of the topic that it raises most.
    pub raises: Option<String>,
    /// Part of the tokens on which it fires.
    pub density: f64,
}

/// What came of trying one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// `tried`; `best` of what served best.
    pub stage: &'static str,
    /// The feature; null of the model itself.
    pub feature: Option<usize>,
    /// What was done.
    pub steering: Vec<String>,
    /// Texts that were about it.
    pub hits: u64,
    /// Texts.
    pub trials: u64,
    /// Wilson's interval of 95 % of their share.
    pub interval: [f64; 2],
    /// Part of the runs of four words that were there before in the same text: text that goes round in circles has much.
    pub repetition: f64,
    /// One of the texts, one about it where there is one.
    pub sample: String,
}

impl Tried {
    /// What came of these texts, each with whether it is about it.
    pub(crate) fn of(feature: Option<usize>, steering: Vec<String>, texts: &[(String, bool)], repetition: f64) -> Self {
        let share = Share::of(texts.iter().map(|(_, about)| *about));
        let (low, high) = share.interval();
        let sample = texts.iter().find(|(_, about)| *about).or(texts.first()).map(|(text, _)| text.clone());
        Tried {
            stage: "tried",
            feature,
            steering,
            hits: share.hits,
            trials: share.trials,
            interval: [low, high],
            repetition,
            sample: sample.unwrap_or_default(),
        }
    }
}

impl TowardRequest {
    /// A field that is a text with something in it.
    fn text<'a>(name: &'static str, field: Option<&'a String>) -> Result<&'a str, Problem> {
        let text = field.map(String::as_str).filter(|text| text.chars().any(char::is_alphanumeric));
        text.ok_or_else(|| Problem::field(name, format!("{name} says nothing; give a word at least")))
    }

    fn number(name: &'static str, asked: Option<u64>, usual: u64, most: u64) -> Result<usize, Problem> {
        match asked.unwrap_or(usual) {
            n if (1..=most).contains(&n) => Ok(n as usize),
            n => Err(Problem::field(name, format!("{name} is {n}; expected 1 to {most}"))),
        }
    }

    /// What to write about.
    pub(crate) fn concept(&self) -> Result<&str, Problem> {
        Self::text("concept", self.concept.as_ref())
    }

    /// What is continued.
    pub(crate) fn prompt(&self) -> Result<&str, Problem> {
        Self::text("prompt", self.prompt.as_ref())
    }

    /// Texts of every candidate.
    pub(crate) fn texts(&self) -> Result<usize, Problem> {
        Self::number("texts", self.texts, TEXTS, CHOICES as u64)
    }

    /// Tokens of a text.
    pub(crate) fn max_tokens(&self) -> Result<usize, Problem> {
        Self::number("max_tokens", self.max_tokens, TOKENS, LONGEST)
    }

    /// How texts are drawn.
    pub(crate) fn sampling(&self) -> Result<Sampling, Problem> {
        let sampling = Sampling::at(self.temperature.unwrap_or(TEMPERATURE));
        match sampling.problem() {
            Some((name, found, expected)) => {
                Err(Problem::field(name, format!("{name} is {found}; expected {expected}")))
            }
            None => Ok(sampling),
        }
    }
}
