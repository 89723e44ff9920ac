//! The last step of the demo: a topic turned up, strength by strength, until the story is about it.
//!
//! A dictionary may hold a topic in several features, so what is turned up is a [`Handle`] of a few, found by trying
//! (`handle.rs`). It is then shown on stories that it was not chosen on, beside random directions whose steps are as
//! long.

use super::handle::{Handle, find, most_tries};
use super::steps::Demo;
use crate::commands::topic::{BEGINNINGS, Candidate, Topic};
use crate::exit::Complaint;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use untangle_interpret::progress::Progress;
use untangle_interpret::steer::{Arm, Studies, Study, StudyPlan};
use untangle_interpret::{Scope, SteerOptions, SteerResult, steer as steer_text};
use untangle_model::{GenerateOptions, Sampling};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, Example, Unit};

/// Strengths of the handle; 1 is the one at which it was found.
const STRENGTHS: [f32; 6] = [0.25, 0.5, 0.75, 0.9, 1.0, 1.1];
/// Tokens of a story.
pub(super) const TOKENS: usize = 60;
/// How a story is drawn.
pub(super) const TEMPERATURE: f64 = 0.8;
/// Stories for every strength.
const STORIES: usize = 40;
/// Stories to choose by: with a third of them, luck chose.
const TRIED_STORIES: usize = 64;
/// First seed of the stories that the handle is shown on; those that it is chosen on begin at 0.
const FRESH: u64 = 1_000_000;
/// Random directions, each with as many stories.
const DIRECTIONS: u64 = 2;
/// The ladder ends where so many stories of those written are about the topic.
const ENOUGH: f64 = 0.8;
/// Repetition that any text may have; twice the model's own comes on top of it.
const REPEATED: f64 = 0.02;
/// Text whose perplexity, to the model that nobody steers, is so many times that of its own text is none any more.
const SURPRISING: f64 = 2.0;
/// Examples kept of the feature.
const EXAMPLES: usize = 3;
/// Raised tokens kept of it.
const RAISED: usize = 8;
/// Words of the text that make a prompt.
const PROMPT_WORDS: usize = 8;

/// A topic, strength by strength.
#[derive(Debug, Serialize)]
pub(super) struct Steered {
    /// What is turned up.
    pub(super) features: Vec<Turned>,
    /// What shows that a story is about it.
    pub(super) topic: Topic,
    /// Features that were tried.
    pub(super) tried: usize,
    /// Beginnings that were continued.
    pub(super) prompts: Vec<String>,
    /// The last rung is the one at which the ladder ended.
    pub(super) ladder: Vec<Rung>,
    /// The rung that serves best: the last one where the ladder reached its end.
    pub(super) best: usize,
    /// The first prompt continued from one seed without and with the features, the first pair of which the latter alone
    /// is about the topic.
    pub(super) pair: SteerResult,
    /// Its seed.
    pub(super) seed: u64,
}

/// One of the features turned up together.
#[derive(Debug, Serialize)]
pub(super) struct Turned {
    /// The feature.
    pub(super) feature: usize,
    /// Its label.
    pub(super) label: Option<String>,
    /// What is added of it at the best rung, in multiples of its largest activation.
    pub(super) strength: f32,
    /// Where it fires most.
    pub(super) examples: Vec<Example>,
    /// Tokens that its direction raises most.
    pub(super) raises: Vec<String>,
}

/// What came of one strength.
#[derive(Debug, Serialize)]
pub(super) struct Rung {
    /// In multiples of the handle.
    pub(super) strength: f32,
    /// Stories with the features and without, and with random directions.
    #[serde(flatten)]
    pub(super) study: Study,
}

impl Rung {
    /// See [`gain`].
    pub(super) fn gain(&self) -> Option<f64> {
        gain(&self.study.steered, &self.study.baseline)
    }
}

impl Steered {
    /// The best rung.
    pub(super) fn best(&self) -> &Rung {
        &self.ladder[self.best]
    }
}

/// Share of stories about the topic beyond those that are anyhow; none where they are no stories any more: they repeat
/// themselves, or surprise the model much more than its own.
pub(super) fn gain(steered: &Arm, baseline: &Arm) -> Option<f64> {
    let surprising = steered.perplexity.zip(baseline.perplexity).is_some_and(|(is, was)| is > SURPRISING * was);
    let repeats = steered.repetition > 2.0 * baseline.repetition + REPEATED;
    (!repeats && !surprising).then(|| steered.appears.value() - baseline.appears.value())
}

/// Finds the handle among `candidates` that makes most stories be about its topic, and turns it up.
pub(super) fn steer(demo: &Demo<'_>, sae: &Sae, candidates: &[Candidate]) -> anyhow::Result<Steered> {
    let prompts = prompts(demo)?;
    let mut progress = Progress::start(&demo.context.progress, "steer", Unit::Steps, most_tries(candidates) + 1);
    let trials = Trials { demo, sae, prompts: &prompts, stories: TRIED_STORIES, seed: 0, directions: 0 };
    let none =
        || Complaint::bad_input("no feature has a label that holds on held-out text; the text is too short for a demo");
    let handle = find(&trials, candidates, &mut |tries| Ok(progress.advance(tries)?))?.ok_or_else(none)?;
    let trials = Trials { stories: STORIES, seed: FRESH, directions: DIRECTIONS, ..trials };
    let (ladder, best) = climb(&trials, &handle)?;
    let (pair, seed) = pair(&trials, &handle, ladder[best].strength)?;
    progress.advance(1)?;
    progress.finish();
    Ok(Steered {
        features: turned(&handle, ladder[best].strength),
        topic: handle.topic().clone(),
        tried: candidates.len(),
        ladder,
        best,
        pair,
        seed,
        prompts,
    })
}

fn turned(handle: &Handle<'_>, strength: f32) -> Vec<Turned> {
    let of_part = |(candidate, share): &(&Candidate, f32)| {
        let card = candidate.card.clone();
        Turned {
            feature: card.feature,
            label: card.label,
            strength: strength * share,
            examples: card.examples.into_iter().take(EXAMPLES).collect(),
            raises: card.top_logits.into_iter().take(RAISED).map(|effect| effect.token).collect(),
        }
    };
    handle.parts.iter().map(of_part).collect()
}

/// Stories to count in.
#[derive(Clone, Copy)]
pub(super) struct Trials<'a> {
    demo: &'a Demo<'a>,
    sae: &'a Sae,
    prompts: &'a [String],
    /// Stories in all, dealt to the prompts.
    stories: usize,
    /// First seed.
    seed: u64,
    /// Random directions.
    directions: u64,
}

impl Trials<'_> {
    /// Calls `with` with what counts the stories about `topic`.
    pub(super) fn about<T>(
        &self,
        topic: &Topic,
        with: impl FnOnce(&Studies<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let plan = StudyPlan {
            prompts: self.prompts.to_vec(),
            naming: topic.sentence(Some(&topic.text())),
            continuations: (self.stories / self.prompts.len()).max(1),
            generate: story(self.seed),
            directions: self.directions,
        };
        let appears = |text: &str| topic.appears(text);
        with(&Studies::new(self.demo.model, self.sae, &plan, &appears, &|_| Ok(()))?)
    }
}

/// Turns the handle up as far as it takes, and says which rung is best.
fn climb(trials: &Trials<'_>, handle: &Handle<'_>) -> anyhow::Result<(Vec<Rung>, usize)> {
    trials.about(handle.topic(), |studies| {
        let (mut ladder, mut best) = (Vec::new(), (0, None));
        for strength in STRENGTHS {
            let rung = Rung { strength, study: studies.study(&handle.edits(strength), &[])? };
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
fn pair(trials: &Trials<'_>, handle: &Handle<'_>, strength: f32) -> anyhow::Result<(SteerResult, u64)> {
    let (edits, prompt) = (handle.edits(strength), &trials.prompts[0]);
    let mut first = None;
    for seed in trials.seed..trials.seed + trials.stories as u64 {
        let options = SteerOptions { generate: story(seed), scope: Scope::All, bos: BosPolicy::Auto };
        let pair = steer_text(trials.demo.model, trials.sae, &edits, prompt, &options)?;
        // Decoding may give the prompt back in another spelling; then all of the text counts.
        let added = |text: &str| text.trim_start().strip_prefix(prompt.as_str()).unwrap_or(text).to_owned();
        let about = |text: &str| handle.topic().appears(&added(text));
        if about(&pair.steered) && !about(&pair.baseline) {
            return Ok((pair, seed));
        }
        first.get_or_insert((pair, seed));
    }
    first.ok_or_else(|| Complaint::bad_input("no story was written"))
}

/// How a story is drawn.
fn story(seed: u64) -> GenerateOptions {
    let sampling = Sampling { temperature: TEMPERATURE, top_k: None, top_p: None };
    GenerateOptions { max_new_tokens: TOKENS, sampling, seed, stop_at_eos: true }
}

/// What is continued.
fn prompts(demo: &Demo<'_>) -> anyhow::Result<Vec<String>> {
    Ok(match &demo.args.prompt {
        Some(prompt) => vec![prompt.clone()],
        None if demo.args.is_of_the_world() => BEGINNINGS.map(str::to_owned).to_vec(),
        None => vec![opening_words(&demo.args.text[0])?],
    })
}

/// The first words of the text's first line that has some.
fn opening_words(text: &Path) -> anyhow::Result<String> {
    let failed = |error| Complaint::io(format!("{}: {error}", text.display()));
    for line in BufReader::new(File::open(text).map_err(failed)?).lines() {
        let line = line.map_err(failed)?;
        let words: Vec<_> = line.split_whitespace().take(PROMPT_WORDS).collect();
        if !words.is_empty() {
            return Ok(words.join(" "));
        }
    }
    Err(Complaint::bad_input(format!("{}: has no words to make a prompt of; pass --prompt", text.display())))
}
