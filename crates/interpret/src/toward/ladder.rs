//! A topic turned up, strength by strength, until continuations are about it.

use super::candidates::Candidate;
use super::handle::Handle;
use super::topic::Topic;
use super::trials::Trials;
use crate::error::InterpretError;
use crate::intervene::Scope;
use crate::steer::{Arm, SteerOptions, SteerResult, Study, steer};
use serde::Serialize;
use untangle_schema::{BosPolicy, Example};

/// Strengths of the handle; 1 is the one at which it was found.
const STRENGTHS: [f32; 6] = [0.25, 0.5, 0.75, 0.9, 1.0, 1.1];
/// The ladder ends where so many continuations of those written are about the topic.
const ENOUGH: f64 = 0.8;
/// Repetition that any text may have; twice the model's own comes on top of it.
const REPEATED: f64 = 0.02;
/// Text whose perplexity, to the model that nobody steers, is so many times that of its own text is none any more.
const SURPRISING: f64 = 2.0;
/// Examples kept of the feature.
const EXAMPLES: usize = 3;
/// Raised tokens kept of it.
const RAISED: usize = 8;

/// A topic, strength by strength.
#[derive(Debug, Serialize)]
pub struct Toward {
    /// What is turned up.
    pub features: Vec<HandlePart>,
    /// What shows that a text is about it.
    pub topic: Topic,
    /// Features that were tried.
    pub tried: usize,
    /// Beginnings that were continued.
    pub prompts: Vec<String>,
    /// The last rung is the one at which the ladder ended.
    pub ladder: Vec<Rung>,
    /// The rung that serves best: the last one where the ladder reached its end.
    pub best: usize,
    /// The first prompt continued from one seed without and with the features, the first pair of which the latter alone
    /// is about the topic.
    pub pair: SteerResult,
    /// Its seed.
    pub seed: u64,
}

/// One of the features turned up together.
#[derive(Debug, Serialize)]
pub struct HandlePart {
    /// The feature.
    pub feature: usize,
    /// Its label.
    pub label: Option<String>,
    /// What is added of it at the best rung, in multiples of its largest activation.
    pub strength: f32,
    /// Where it fires most.
    pub examples: Vec<Example>,
    /// Tokens that its direction raises most.
    pub raises: Vec<String>,
}

/// What came of one strength.
#[derive(Debug, Serialize)]
pub struct Rung {
    /// In multiples of the handle.
    pub strength: f32,
    /// Continuations with the features and without, and with random directions.
    #[serde(flatten)]
    pub study: Study,
}

impl Rung {
    /// Share of continuations about the topic beyond the baseline's; none where they are no text any more.
    pub fn gain(&self) -> Option<f64> {
        gain(&self.study.steered, &self.study.baseline)
    }
}

impl Toward {
    /// The best rung.
    pub fn best(&self) -> &Rung {
        &self.ladder[self.best]
    }
}

/// Share of continuations about the topic beyond those that are so by themselves; none where they are no text any more: they
/// repeat themselves, or surprise the model much more than its own do.
pub(super) fn gain(steered: &Arm, baseline: &Arm) -> Option<f64> {
    let surprising = steered.perplexity.zip(baseline.perplexity).is_some_and(|(is, was)| is > SURPRISING * was);
    let repeats = steered.repetition > 2.0 * baseline.repetition + REPEATED;
    (!repeats && !surprising).then(|| steered.appears.value() - baseline.appears.value())
}

/// What is told of a handle's features at a strength.
pub(super) fn parts(handle: &Handle<'_>, strength: f32) -> Vec<HandlePart> {
    let of_part = |(candidate, share): &(&Candidate, f32)| {
        let card = candidate.card.clone();
        HandlePart {
            feature: card.feature,
            label: card.label_text().map(str::to_owned),
            strength: strength * share,
            examples: card.examples.into_iter().take(EXAMPLES).collect(),
            raises: card.top_logits.into_iter().take(RAISED).map(|effect| effect.token).collect(),
        }
    };
    handle.parts.iter().map(of_part).collect()
}

/// Turns the handle up as far as it takes, and says which rung is best.
pub(super) fn climb(trials: &Trials<'_>, handle: &Handle<'_>) -> Result<(Vec<Rung>, usize), InterpretError> {
    trials.about(handle.topic(), |studies| {
        let (mut ladder, mut best) = (Vec::new(), (0, None));
        for strength in STRENGTHS {
            let rung = Rung { strength, study: studies.study(&handle.steps(strength), &[])? };
            let (gain, share) = (rung.gain(), rung.study.steered.appears.value());
            ladder.push(rung);
            if gain > best.1 {
                best = (ladder.len() - 1, gain);
            }
            // Further up, what is no story any more only gets worse.
            if gain.is_none() || share >= ENOUGH {
                break;
            }
        }
        Ok((ladder, best.0))
    })
}

/// A story without and with the features, from the first seed that makes the latter alone be about the topic; from the
/// first seed where none does.
pub(super) fn pair(
    trials: &Trials<'_>,
    handle: &Handle<'_>,
    strength: f32,
) -> Result<(SteerResult, u64), InterpretError> {
    let (edits, prompt) = (handle.edits(strength), &trials.prompts[0]);
    let mut first = None;
    for seed in trials.seed..trials.seed + trials.continuations as u64 {
        let options = SteerOptions { generate: trials.drawn_from(seed), scope: Scope::All, bos: BosPolicy::Auto };
        let pair = steer(trials.model, trials.sae, &edits, prompt, &options)?;
        // Decoding may give the prompt back in another spelling; then all of the text counts.
        let added = |text: &str| text.trim_start().strip_prefix(prompt.as_str()).unwrap_or(text).to_owned();
        let about = |text: &str| handle.topic().appears(&added(text));
        if about(&pair.steered) && !about(&pair.baseline) {
            return Ok((pair, seed));
        }
        first.get_or_insert((pair, seed));
    }
    first.ok_or(InterpretError::NothingToTry)
}
