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
use untangle_sources::models::warn_of_end;

/// Tokens behind the first whose time is taken: twice, because every token looks back at those before it, so that the time of all of
/// them has a part that grows as their number and one that grows as its square.
const TIMED: [usize; 2] = [8, 40];
/// By so much a time that was extrapolated may be too short (chosen).
const SLOWER: f64 = 1.5;
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
    warn_of_end(&model, &prompts, options.generate.max_new_tokens, options.bos, &context.surroundings())?;
    context.progress.note("timing the first tokens; nothing is written");
    let work = Work { model: &model, dictionaries: &dictionaries, sets: &sets, prompts: &prompts };
    let time = time(&work, planned.written, &options, context)?;
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

/// Of the first prompts, scaled to all of them; so many `tokens` are written at most.
fn time(work: &Work<'_>, tokens: usize, options: &TextOptions, context: &Context) -> anyhow::Result<Time> {
    let timed = (TIMED_TEXTS / (1 + work.sets.len())).clamp(1, work.prompts.len());
    let scale = work.prompts.len() as f64 / timed as f64;
    let work = Work { prompts: &work.prompts[..timed], ..*work };
    // The first pass warms up. What else the machine does only adds, so that the shorter of two times is the truer one.
    let shorter = |tokens| {
        let (one, other) = (work.seconds(tokens, options, context)?, work.seconds(tokens, options, context)?);
        anyhow::Ok(one.min(other))
    };
    work.seconds(1, options, context)?;
    let first = shorter(1)?;
    let behind = |more: usize| Ok::<_, anyhow::Error>((shorter(1 + more)? - first).max(0.0));
    let left = tokens.saturating_sub(1);
    let of_tokens = match TIMED.iter().all(|more| left > *more) {
        true => extrapolated(TIMED.map(|more| more as f64), [behind(TIMED[0])?, behind(TIMED[1])?], left as f64),
        false if left > 0 => behind(left)?,
        false => 0.0,
    };
    let (least, of_tokens) = (scale * first, scale * of_tokens);
    let parts = format!(
        "{} for prompts and effects, then {:.1} ms for a token of each text; less where texts end early",
        seconds(least),
        1e3 * of_tokens / left.max(1) as f64,
    );
    let expected = least + of_tokens;
    Ok(Time { expected, least, most: SLOWER * expected, parts })
}

/// The value at `n` of the a x + b x^2 that has `values` at `places`, neither part of which is negative.
fn extrapolated(places: [f64; 2], values: [f64; 2], n: f64) -> f64 {
    let ([p, q], [v, w]) = (places, values);
    let of_one = w / q;
    let square = ((w / q - v / p) / (q - p)).clamp(0.0, of_one / q);
    (of_one - square * q) * n + square * n * n
}

#[cfg(test)]
mod tests {
    use super::extrapolated;

    #[test]
    fn a_line_and_a_square_are_told_apart() {
        let f = |x: f64| 3.0 * x + 0.5 * x * x;
        assert!((extrapolated([8.0, 40.0], [f(8.0), f(40.0)], 240.0) - f(240.0)).abs() < 1e-6);
        // Where the first few took longest, what they all took goes on.
        assert_eq!(extrapolated([8.0, 40.0], [8.0, 20.0], 100.0), 50.0);
        assert_eq!(extrapolated([8.0, 40.0], [0.0, 0.0], 100.0), 0.0);
    }
}
