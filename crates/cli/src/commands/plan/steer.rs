//! What steering would take: the memory of keys and values, and a few tokens of the texts.

use super::resources::{Flops, Parts, Resources, Time, own_memory, seconds, weights};
use crate::commands::steer::{Loaded, SteerArgs, options, prompts};
use crate::context::Context;
use crate::exit::Complaint;
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Instant;
use untangle_interpret::steer::{PlannedTexts, TextOptions, plan_texts, steer_texts};
use untangle_interpret::{Dictionary, Step};
use untangle_model::LanguageModel;
use untangle_schema::Observer;

/// Tokens behind the first whose time is taken.
const TIMED: usize = 8;
/// Texts whose time is taken at most: as many as are written in one batch.
const TIMED_TEXTS: usize = 64;

pub(super) fn run(args: &SteerArgs, context: &Context) -> anyhow::Result<()> {
    if args.is_search() {
        return Err(Complaint::usage(
            "what --toward takes depends on what it finds; plan with --feature what it is to write",
        ));
    }
    let Loaded { asked, interventions, model, .. } = args.load(context)?;
    let dictionaries = interventions.dictionaries();
    let sets = interventions.sets(&asked.sweep, &model, &dictionaries)?;
    let (prompts, options) = (prompts(args, &model, context)?, options(args));
    let planned = plan_texts(&model, sets.len(), &prompts, &options)?;
    context.progress.note("timing the first tokens; nothing is written");
    let time =
        time(&Work { model: &model, dictionaries: &dictionaries, sets: &sets, prompts: &prompts }, &options, context)?;
    let resources = Resources {
        memory: Parts::together(vec![
            ("model, dictionaries and passes", own_memory()),
            ("keys and values", planned.keys_and_values),
        ]),
        disk: Parts::together(Vec::new()),
        flops: Some(Flops::of_passes(weights(&model), planned.tokens)),
        time: Some(time),
        plans: json!(planned),
    };
    resources.show(&heading(&planned, prompts.len(), sets.len()), context)
}

/// `2 prompts, each by itself and steered in 3 ways: 8 texts, 8 at a time, 700 tokens`.
fn heading(planned: &PlannedTexts, prompts: usize, sets: usize) -> String {
    let each = if prompts == 1 { "1 prompt,".to_owned() } else { format!("{prompts} prompts, each") };
    let ways = if sets == 1 { String::new() } else { format!(" in {sets} ways") };
    let PlannedTexts { texts, together, tokens, .. } = planned;
    format!("{each} by itself and steered{ways}: {texts} texts, {together} at a time, {tokens} tokens")
}

/// What is to be written.
#[derive(Clone, Copy)]
struct Work<'a> {
    model: &'a LanguageModel,
    dictionaries: &'a [Dictionary<'a>],
    sets: &'a [Vec<Step>],
    prompts: &'a [String],
}

impl Work<'_> {
    /// Seconds in which so many tokens are written behind each prompt, and the steps' effects measured.
    fn seconds(&self, tokens: usize, options: &TextOptions, context: &Context) -> anyhow::Result<f64> {
        let mut options = options.clone();
        options.generate.max_new_tokens = tokens;
        options.generate.stop_at_eos = false;
        let began = Instant::now();
        let mut told = |_: usize, _: Option<usize>, _: &str| match context.progress.interrupted() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        steer_texts(self.model, self.dictionaries, self.sets, self.prompts, &options, &mut told)?;
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Of the first prompts, scaled to all of them.
fn time(work: &Work<'_>, options: &TextOptions, context: &Context) -> anyhow::Result<Time> {
    let timed = (TIMED_TEXTS / (1 + work.sets.len())).clamp(1, work.prompts.len());
    let scale = work.prompts.len() as f64 / timed as f64;
    let work = Work { prompts: &work.prompts[..timed], ..*work };
    let tokens = options.generate.max_new_tokens;
    let more = TIMED.min(tokens.saturating_sub(1));
    // The first pass warms up.
    work.seconds(1, options, context)?;
    let first = work.seconds(1, options, context)?;
    let per_token = match more {
        0 => 0.0,
        more => (work.seconds(1 + more, options, context)? - first).max(0.0) / more as f64,
    };
    let (least, of_tokens) = (scale * first, scale * per_token * tokens.saturating_sub(1) as f64);
    let parts = format!(
        "{} for prompts and effects, then {:.1} ms for a token of each text; less where texts end early",
        seconds(least),
        scale * per_token * 1e3,
    );
    Ok(Time { expected: least + of_tokens, least, most: least + of_tokens, parts })
}
