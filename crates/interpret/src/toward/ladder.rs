//! A topic turned up, strength by strength, until continuations are about it.

use super::handle::{Handle, Part, Way};
use super::topic::Topic;
use super::trials::Trials;
use crate::error::InterpretError;
use crate::intervene::Scope;
use crate::steer::{Arm, SteerOptions, SteerResult, Study, steer};
use serde::{Serialize, Serializer};
use untangle_schema::{BosPolicy, Example, Label};

/// Strengths, in multiples of those at which the handle was found.
const TIMES: [f32; 6] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5];
/// So many stories are enough: what would bring more is not looked for.
pub(super) const ENOUGH: f64 = 0.8;
/// A topic is turned to where so much more of the texts are about it than by themselves.
const TURNED: f64 = 0.25;
/// Examples kept of the feature.
const EXAMPLES: usize = 3;
/// Raised tokens kept of it.
const RAISED: usize = 8;

/// A topic, strength by strength.
#[derive(Debug, Serialize)]
pub struct Toward {
    /// What is turned up.
    pub features: Vec<HandlePart>,
    /// Features that are taken out beside them.
    pub rivals: Vec<usize>,
    /// What shows that a text is about it.
    pub topic: Topic,
    /// Features that were tried.
    pub tried: usize,
    /// Beginnings that were continued.
    pub prompts: Vec<String>,
    /// Strength by strength; beyond what the handle was found at, no further than what is written is no text any more.
    pub ladder: Vec<Rung>,
    /// The rung that serves best.
    pub best: usize,
    /// That strength on more continuations, beside random directions and other features.
    pub study: Study,
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
    /// What is done to it.
    pub way: Way,
    /// By how much at the best rung, in multiples of its largest activation.
    #[serde(serialize_with = "written")]
    pub strength: f32,
    /// F1 of the label on held-out text, where it has one.
    pub f1: Option<f64>,
    /// Where it fires most.
    pub examples: Vec<Example>,
    /// Tokens that its direction raises most.
    pub raises: Vec<String>,
}

/// What came of one strength.
#[derive(Debug, Serialize)]
pub struct Rung {
    /// In multiples of the strengths at which the handle was found.
    #[serde(serialize_with = "written")]
    pub times: f32,
    /// Continuations with the features.
    pub steered: Arm,
    /// Share of continuations about the topic beyond the model's own; none where they are no text any more.
    pub gain: Option<f64>,
}

impl Toward {
    /// Whether the texts turned: what is written is text, and so much more of it is about the topic than by itself.
    pub fn turns(&self) -> bool {
        let Study { steered, baseline, .. } = &self.study;
        self.ladder[self.best].gain.is_some() && steered.appears.value() - baseline.appears.value() >= TURNED
    }

    /// The strength of a rung as a part of the best one's; where none is usable, of what the handle was found at.
    pub fn of_best(&self, rung: usize) -> f32 {
        let best = &self.ladder[self.best];
        self.ladder[rung].times / if best.gain.is_some() { best.times } else { 1.0 }
    }

    /// What is done, as interventions are written: `193:set=1x`.
    pub fn interventions(&self) -> Vec<String> {
        let part = |part: &HandlePart| {
            let way = match part.way {
                Way::Set => "set",
                Way::Add => "add",
            };
            format!("{}:{way}={}x", part.feature, short(part.strength))
        };
        let out = self.rivals.iter().map(|rival| format!("{rival}:ablate"));
        self.features.iter().map(part).chain(out).collect()
    }

    /// The same for people.
    pub fn in_words(&self) -> String {
        let part = |part: &HandlePart| {
            let size = format!("{} x its largest activation", short(part.strength));
            match part.way {
                Way::Set if part.strength == 1.0 => {
                    format!("feature {} is held at its largest activation", part.feature)
                }
                Way::Set => format!("feature {} is held at {size}", part.feature),
                Way::Add => format!("{size} is added to feature {}", part.feature),
            }
        };
        let parts: Vec<String> = self.features.iter().map(part).collect();
        let rivals = match self.rivals.len() {
            0 => String::new(),
            n => format!(" and {n} that compete with it are taken out"),
        };
        parts.join(", ") + &rivals
    }

    /// Perplexity of steered text behind a sentence that names the topic, as a multiple of the model's own there.
    pub fn perplexity_ratio(&self) -> Option<f64> {
        let Study { steered, baseline, .. } = &self.study;
        Some(steered.perplexity? / baseline.perplexity?)
    }

    /// Repeated 4-grams of steered text as a multiple of those of the model's own; none where its own has none.
    pub fn repetition_ratio(&self) -> Option<f64> {
        let Study { steered, baseline, .. } = &self.study;
        let (steered, own) = (steered.repetition?, baseline.repetition?);
        (own > 0.0).then_some(steered / own)
    }
}

/// Share of continuations about the topic beyond those that are so by themselves; none where they are no text any more: they
/// repeat themselves, or surprise the model much more than its own do.
pub(super) fn gain(steered: &Arm, baseline: &Arm) -> Option<f64> {
    steered.is_usable_beside(baseline).then(|| steered.appears.value() - baseline.appears.value())
}

/// What is told of a handle's features, with every strength so many times as large.
pub(super) fn parts(handle: &Handle<'_>, times: f32) -> Vec<HandlePart> {
    let of_part = |part: &Part<'_>| {
        let card = part.candidate.card.clone();
        HandlePart {
            feature: card.feature,
            label: card.label_text().map(str::to_owned),
            way: part.way,
            strength: times * part.strength,
            f1: card.label().and_then(Label::f1),
            examples: card.examples.into_iter().take(EXAMPLES).collect(),
            raises: card.top_logits.into_iter().take(RAISED).map(|effect| effect.token).collect(),
        }
    };
    handle.parts.iter().map(of_part).collect()
}

/// Turns the handle up, beyond what it was found at only until what is written is no text any more, and says which rung is best: the one that brings most texts, of
/// equals the one that names the topic most often.
pub(super) fn climb(trials: &Trials<'_>, handle: &Handle<'_>) -> Result<(Vec<Rung>, usize), InterpretError> {
    trials.about(handle.topic(), |studies| {
        let (mut ladder, mut best) = (Vec::<Rung>::new(), (0, f64::MIN, 0.0));
        for times in TIMES {
            let steered = studies.steered(&handle.steps(times), true)?;
            let gain = gain(&steered, studies.baseline());
            let names = steered.names.value();
            if let Some(gain) = gain.filter(|gain| (*gain, names) > (best.1, best.2)) {
                best = (ladder.len(), gain, names);
            }
            ladder.push(Rung { times, steered, gain });
            // Further up than the handle was found at, what is no text any more only gets worse; further down, half a topic can be
            // stranger than a whole one.
            if gain.is_none() && times >= 1.0 {
                break;
            }
        }
        Ok((ladder, best.0))
    })
}

/// A strength without its rounding: 0.09, not 0.089999996.
fn short(strength: f32) -> f64 {
    (f64::from(strength) * 1e6).round() / 1e6
}

fn written<S: Serializer>(strength: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(short(*strength))
}

/// `n` features of `d_sae`, spread over all of them, that the handle leaves alone.
pub(super) fn others(d_sae: usize, handle: &Handle<'_>, n: usize) -> Vec<usize> {
    let turned: Vec<usize> = handle.edits(1.0).into_iter().map(|edit| edit.feature).collect();
    let left: Vec<usize> = (0..d_sae).filter(|feature| !turned.contains(feature)).collect();
    let stride = (left.len() / n.max(1)).max(1);
    left.into_iter().step_by(stride).take(n).collect()
}

/// A story without and with the features, from the first seed that makes the latter alone be about the topic and name it; from
/// the first seed where none does.
pub(super) fn pair(trials: &Trials<'_>, handle: &Handle<'_>, times: f32) -> Result<(SteerResult, u64), InterpretError> {
    let (edits, prompt) = (handle.edits(times), &trials.prompts[0]);
    let mut first = None;
    for seed in (0..trials.continuations as u64).map(|number| trials.seed.wrapping_add(number)) {
        let options = SteerOptions { generate: trials.drawn_from(seed), scope: Scope::All, bos: BosPolicy::Auto };
        let pair = steer(trials.model, trials.sae, &edits, prompt, &options)?;
        // Decoding may give the prompt back in another spelling; then all of the text counts.
        let added = |text: &str| text.trim_start().strip_prefix(prompt.as_str()).unwrap_or(text).to_owned();
        let about = |text: &str| (trials.about)(handle.topic(), &added(text));
        let names = handle.topic().appears(&added(&pair.steered));
        if names && about(&pair.steered) && !about(&pair.baseline) {
            return Ok((pair, seed));
        }
        first.get_or_insert((pair, seed));
    }
    first.ok_or(InterpretError::NothingToTry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_are_written_without_their_rounding() {
        assert_eq!(short(0.09f32).to_string(), "0.09");
        assert_eq!(short(1.0).to_string(), "1");
    }
}
