//! The last step of the demo: one feature turned up, strength by strength, until the story is about its topic.
//!
//! Every feature that may be about the topic is tried on a few stories at a few strengths; the one with the best climb,
//! that of which most stories come to be about the topic and stay readable, is then shown on more stories, beside a
//! random direction whose steps are as long.

use super::steps::Demo;
use crate::commands::topic::{BEGINNINGS, Candidate, Topic};
use crate::exit::Complaint;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use untangle_interpret::progress::Progress;
use untangle_interpret::steer::{Arm, Studies, Study, StudyPlan};
use untangle_interpret::{Edit, Operator, Scope, SteerOptions, SteerResult, steer as steer_text};
use untangle_model::{GenerateOptions, Sampling};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, Example, Unit};

/// Strengths in multiples of the feature's largest activation.
const STRENGTHS: [f32; 9] = [0.2, 0.4, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0];
/// Those at which features are tried.
const TRIED_STRENGTHS: [f32; 4] = [0.6, 0.8, 1.0, 1.5];
/// Tokens of a story.
pub(super) const TOKENS: usize = 60;
/// How a story is drawn.
pub(super) const TEMPERATURE: f64 = 0.8;
/// Stories for every strength.
const STORIES: usize = 20;
/// Continuations of a prompt, for every strength of a feature that is tried.
const TRIED_STORIES: usize = 6;
/// Prompts for trying.
const TRIED_PROMPTS: usize = 2;
/// The ladder ends where so many stories of those written are about the topic.
const ENOUGH: f64 = 0.8;
/// Repetition that any text may have; twice the model's own comes on top of it.
const REPEATED: f64 = 0.05;
/// Text whose perplexity, to the model that nobody steers, is so many times that of its own text is none any more.
const SURPRISING: f64 = 3.0;
/// Examples kept of the feature.
const EXAMPLES: usize = 3;
/// Raised tokens kept of it.
const RAISED: usize = 8;
/// Words of the text that make a prompt.
const PROMPT_WORDS: usize = 8;
/// One feature, strength by strength.
#[derive(Debug, Serialize)]
pub(super) struct Steered {
    /// The feature.
    pub(super) feature: usize,
    /// Its label.
    pub(super) label: Option<String>,
    /// Where it fires most.
    pub(super) examples: Vec<Example>,
    /// Tokens that its direction raises most.
    pub(super) raises: Vec<String>,
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
    /// The first prompt continued from one seed without and with the feature, the first pair of which the latter alone
    /// is about the topic.
    pub(super) pair: SteerResult,
    /// Its seed.
    pub(super) seed: u64,
}

/// What came of one strength.
#[derive(Debug, Serialize)]
pub(super) struct Rung {
    /// In multiples of the largest activation.
    pub(super) strength: f32,
    /// Stories with the feature and without, and with a random direction.
    #[serde(flatten)]
    pub(super) study: Study,
}

impl Rung {
    /// Share of stories about the topic beyond those that are anyhow; none where they are no stories any more.
    pub(super) fn gain(&self) -> Option<f64> {
        let (steered, baseline) = (&self.study.steered, &self.study.baseline);
        is_readable(steered, baseline).then(|| steered.appears.value() - baseline.appears.value())
    }
}

impl Steered {
    /// The best rung.
    pub(super) fn best(&self) -> &Rung {
        &self.ladder[self.best]
    }
}

/// Whether the stories are still ones to show beside the model's own: they neither repeat themselves nor surprise the
/// model much more.
fn is_readable(steered: &Arm, baseline: &Arm) -> bool {
    let surprising = steered.perplexity.zip(baseline.perplexity).is_some_and(|(is, was)| is > SURPRISING * was);
    steered.repetition <= 2.0 * baseline.repetition + REPEATED && !surprising
}

/// Steers with the one of `candidates` that makes most stories be about its topic.
pub(super) fn steer(demo: &Demo<'_>, sae: &Sae, candidates: &[Candidate]) -> anyhow::Result<Steered> {
    let prompts = prompts(demo)?;
    let climber = Climber { demo, sae };
    let tried: Vec<String> = prompts.iter().take(TRIED_PROMPTS).cloned().collect();
    let mut chosen = None::<(&Candidate, f64)>;
    let mut progress = Progress::start(&demo.context.progress, "steer", Unit::Steps, candidates.len() as u64 + 1);
    for candidate in candidates {
        let (ladder, best) = climber.climb(candidate, &TRIED_STRENGTHS, &tried, TRIED_STORIES, 0)?;
        let gain = ladder[best].gain().unwrap_or(f64::NEG_INFINITY);
        if chosen.is_none_or(|(_, most)| gain > most) {
            chosen = Some((candidate, gain));
        }
        progress.advance(1)?;
    }
    let none =
        || Complaint::bad_input("no feature has a label that holds on held-out text; the text is too short for a demo");
    let (chosen, _) = chosen.ok_or_else(none)?;
    let (ladder, best) = climber.climb(chosen, &STRENGTHS, &prompts, STORIES / prompts.len(), 1)?;
    let (pair, seed) = climber.pair(chosen, ladder[best].strength, &prompts[0])?;
    progress.advance(1)?;
    progress.finish();
    let Candidate { card, topic } = chosen.clone();
    Ok(Steered {
        feature: card.feature,
        label: card.label,
        examples: card.examples.into_iter().take(EXAMPLES).collect(),
        raises: card.top_logits.into_iter().take(RAISED).map(|effect| effect.token).collect(),
        topic,
        tried: candidates.len(),
        prompts,
        ladder,
        best,
        pair,
        seed,
    })
}

struct Climber<'a> {
    demo: &'a Demo<'a>,
    sae: &'a Sae,
}

impl Climber<'_> {
    /// Goes up `strengths` as far as it takes, `stories` continuations of every prompt at each, and says which rung
    /// is best.
    fn climb(
        &self,
        candidate: &Candidate,
        strengths: &[f32],
        prompts: &[String],
        stories: usize,
        directions: u64,
    ) -> anyhow::Result<(Vec<Rung>, usize)> {
        let plan = StudyPlan {
            prompts: prompts.to_vec(),
            naming: candidate.topic.text(),
            continuations: stories,
            generate: story(0),
            directions,
        };
        let appears = |text: &str| candidate.topic.appears(text);
        let studies = Studies::new(self.demo.model, self.sae, &plan, &appears)?;
        let (mut ladder, mut best) = (Vec::new(), (0, None));
        for &strength in strengths {
            let operator = Operator::Add(strength * candidate.card.max_activation);
            let study = studies.study(&[Edit { feature: candidate.card.feature, operator }], &[])?;
            let rung = Rung { strength, study };
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
    }

    /// A story without and with the feature, from the first seed that makes the latter alone be about the topic; from
    /// the first seed where none does.
    fn pair(&self, candidate: &Candidate, strength: f32, prompt: &str) -> anyhow::Result<(SteerResult, u64)> {
        let operator = Operator::Add(strength * candidate.card.max_activation);
        let edits = [Edit { feature: candidate.card.feature, operator }];
        let mut first = None;
        for seed in 0..STORIES as u64 {
            let options = SteerOptions { generate: story(seed), scope: Scope::All, bos: BosPolicy::Auto };
            let pair = steer_text(self.demo.model, self.sae, &edits, prompt, &options)?;
            // Decoding may give the prompt back in another spelling; then all of the text counts.
            let about = |text: &str| candidate.topic.appears(text.trim_start().strip_prefix(prompt).unwrap_or(text));
            if about(&pair.steered) && !about(&pair.baseline) {
                return Ok((pair, seed));
            }
            first.get_or_insert((pair, seed));
        }
        first.ok_or_else(|| Complaint::bad_input("no story was written"))
    }
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
