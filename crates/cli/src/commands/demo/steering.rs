//! The last step of the demo: one feature turned up, at three strengths.

use super::choice::{is_readable, occurrences, repetition, words_of};
use super::steps::Demo;
use crate::exit::Complaint;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use untangle_interpret::{Edit, Operator, Scope, SteerOptions, SteerResult, sweep};
use untangle_model::{GenerateOptions, Sampling};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, FeatureCard};

/// Strengths in multiples of the feature's largest activation.
const STRENGTHS: [f32; 3] = [0.25, 0.5, 1.0];
/// Tokens written.
const TOKENS: usize = 60;
/// Features tried, those with the best labels first.
const TRIED: usize = 40;
/// Strength at which the feature is chosen.
pub(super) const CHOOSING: f32 = 0.5;
/// Tokens written to choose it.
pub(super) const TRIED_TOKENS: usize = 40;
/// Raised tokens that are named.
const RAISED: usize = 6;
/// Words of the text that make the prompt.
const PROMPT_WORDS: usize = 8;

/// One feature at several strengths.
#[derive(Serialize)]
pub(super) struct Steered {
    /// The feature.
    pub(super) feature: usize,
    /// Its label.
    pub(super) label: Option<String>,
    /// How it was chosen; none where its label is merely the best.
    pub(super) chosen: Option<Chosen>,
    /// Tokens that its direction raises most.
    pub(super) raises: Vec<String>,
    /// The text that is continued.
    pub(super) prompt: String,
    /// Strengths in multiples of the largest activation, with what came of each.
    pub(super) results: Vec<(f32, SteerResult)>,
}

/// How the feature was chosen.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Chosen {
    /// Features tried.
    pub(super) of: usize,
    /// How often its words stand in the greedy continuation with it, and without.
    pub(super) with: usize,
    /// The latter.
    pub(super) without: usize,
}

/// Steers the one of `cards` whose words appear most often when it is turned up.
pub(super) fn steer(demo: &Demo<'_>, sae: &Sae, cards: &[FeatureCard]) -> anyhow::Result<Steered> {
    let prompt = match &demo.args.prompt {
        Some(prompt) => prompt.clone(),
        None => opening_words(&demo.args.text[0])?,
    };
    let (card, chosen) = choose(demo, sae, cards, &prompt)?;
    let edits = STRENGTHS.map(|times| vec![add(card, times)]);
    let results = sweep(demo.model, sae, &edits, &prompt, &options(TOKENS))?;
    let results = STRENGTHS.into_iter().zip(results).collect();
    let raises = card.top_logits.iter().take(RAISED).map(|effect| effect.token.clone()).collect();
    Ok(Steered { feature: card.feature, label: card.label.clone(), chosen, raises, prompt, results })
}

/// The feature with the largest gain, see [`super::choice`]; of equals the one that moves most probability to the tokens
/// that it raises, beyond what random directions of its length do. Where no label is about words or no words are gained, the first card.
fn choose<'c>(
    demo: &Demo<'_>,
    sae: &Sae,
    cards: &'c [FeatureCard],
    prompt: &str,
) -> anyhow::Result<(&'c FeatureCard, Option<Chosen>)> {
    let wordy: Vec<_> = cards.iter().filter_map(|card| Some((card, words_of(card)?))).take(TRIED).collect();
    let edits: Vec<_> = wordy.iter().map(|(card, _)| vec![add(card, CHOOSING)]).collect();
    let results = sweep(demo.model, sae, &edits, prompt, &options(TRIED_TOKENS))?;
    let tokenizer = demo.model.tokenizer()?;
    let repeats = |text: &str| anyhow::Ok(repetition(&tokenizer.encode(continuation(text, prompt))?));
    let mut best = None::<(&FeatureCard, Chosen)>;
    let mut best_key = (0, f64::NEG_INFINITY);
    for ((card, words), result) in wordy.iter().zip(&results) {
        let count = |text| occurrences(continuation(text, prompt), words);
        let found = Chosen { of: wordy.len(), with: count(&result.steered), without: count(&result.baseline) };
        let moved = result.effect.raised - result.effect.control_raised.max(0.0);
        let key = (found.with.saturating_sub(found.without), moved);
        let is_better = key.0 > 0 && key > best_key;
        if is_better && is_readable(repeats(&result.steered)?, repeats(&result.baseline)?) {
            (best, best_key) = (Some((*card, found)), key);
        }
    }
    let none =
        || Complaint::bad_input("no feature has a label that holds on held-out text; the text is too short for a demo");
    match best {
        Some((card, chosen)) => Ok((card, Some(chosen))),
        None => Ok((cards.first().ok_or_else(none)?, None)),
    }
}

/// What the model added to the prompt. Decoding may give the prompt back in another spelling; then all of the text.
fn continuation<'t>(text: &'t str, prompt: &str) -> &'t str {
    text.trim_start().strip_prefix(prompt).unwrap_or(text)
}

fn add(card: &FeatureCard, times: f32) -> Edit {
    Edit { feature: card.feature, operator: Operator::Add(times * card.max_activation) }
}

/// The likeliest continuation, so that the only difference between two texts is the feature.
fn options(tokens: usize) -> SteerOptions {
    let generate = GenerateOptions { max_new_tokens: tokens, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: true };
    SteerOptions { generate, scope: Scope::All, bos: BosPolicy::Auto }
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
