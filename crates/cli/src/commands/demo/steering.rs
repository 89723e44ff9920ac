//! The last step of the demo: one feature turned up, at three strengths.

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
const STRENGTHS: [f32; 3] = [0.5, 1.0, 2.0];
/// Tokens written.
const TOKENS: usize = 48;
/// Words of the text that make the prompt.
const PROMPT_WORDS: usize = 5;

/// One feature at several strengths.
#[derive(Serialize)]
pub(super) struct Steered {
    /// The feature.
    pub(super) feature: usize,
    /// Its label.
    pub(super) label: Option<String>,
    /// The text that is continued.
    pub(super) prompt: String,
    /// Strengths in multiples of the largest activation, with what came of each.
    pub(super) results: Vec<(f32, SteerResult)>,
}

/// Steers the one of `cards` that does most for the tokens it raises.
pub(super) fn steer(demo: &Demo<'_>, sae: &Sae, cards: &[FeatureCard]) -> anyhow::Result<Steered> {
    let prompt = match &demo.args.prompt {
        Some(prompt) => prompt.clone(),
        None => opening_words(&demo.args.text[0])?,
    };
    let card = choose(demo, sae, cards, &prompt)?;
    let edits = STRENGTHS.map(|times| vec![add(card, times)]);
    let results = sweep(demo.model, sae, &edits, &prompt, &options(TOKENS))?;
    let results = STRENGTHS.into_iter().zip(results).collect();
    Ok(Steered { feature: card.feature, label: card.label.clone(), prompt, results })
}

/// The feature that, added once at its largest activation, moves most probability to the tokens it raises, compared
/// with random directions of the same norm.
fn choose<'c>(demo: &Demo<'_>, sae: &Sae, cards: &'c [FeatureCard], prompt: &str) -> anyhow::Result<&'c FeatureCard> {
    let edits: Vec<_> = cards.iter().map(|card| vec![add(card, 1.0)]).collect();
    let results = sweep(demo.model, sae, &edits, prompt, &options(1))?;
    let gain = |result: &SteerResult| result.effect.raised - result.effect.control_raised;
    let ranked = cards.iter().zip(&results).max_by(|(_, a), (_, b)| gain(a).total_cmp(&gain(b)));
    let none =
        || Complaint::bad_input("no feature has a label that holds on held-out text; the text is too short for a demo");
    ranked.map(|(card, _)| card).ok_or_else(none)
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
