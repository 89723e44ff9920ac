//! Prompts continued as the model would, and with steps taken.

use super::dictionary::Dictionary;
use super::edit::Edit;
use super::effect::{Effect, EffectMeter};
use super::steering::Steering;
use super::step::{Change, Step, norm};
use super::tokens::Tokens;
use crate::error::InterpretError;
use crate::intervene::{Scope, special_tokens};
use crate::logits::TokenLens;
use serde::Serialize;
use std::cell::OnceCell;
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_model::{
    GenerateOptions, KvCache, LanguageModel, Recorder, StopReason, TextRequest, Written, generate_texts,
};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, HookPoint};

/// How a prompt is steered with edits of one dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteerOptions {
    /// How the text is continued; baseline and steered text draw from the same seed.
    pub generate: GenerateOptions,
    /// Which tokens are steered.
    pub scope: Scope,
    /// Whether a beginning-of-sequence token comes first.
    pub bos: BosPolicy,
}

/// How prompts are continued.
#[derive(Clone, Debug, PartialEq)]
pub struct TextOptions {
    /// How tokens are drawn; baseline and steered texts draw from the same seed.
    pub generate: GenerateOptions,
    /// Where one of these comes, a text ends before it.
    pub stop: Vec<String>,
    /// Whether a beginning-of-sequence token comes first.
    pub bos: BosPolicy,
}

/// Raised tokens that are followed per feature or direction.
const RAISED: usize = 10;
/// Texts that are written in one batch at most (chosen: more gain little on a CPU, and their keys and values take memory).
const BATCH: usize = 64;

/// Baseline and steered text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteerResult {
    /// The prompt and the model's own continuation.
    pub baseline: String,
    /// The prompt and the steered continuation.
    pub steered: String,
    /// What the steps do to the next-token distribution, see [`super::effect`].
    pub effect: Effect,
}

/// What [`steer_texts`] would write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTexts {
    /// Texts in all: of every prompt the model's own, and one for each set of steps.
    pub texts: usize,
    /// Texts that are written at a time, at most.
    pub together: usize,
    /// Tokens that are written behind the prompt which has most room for them.
    pub written: usize,
    /// Tokens of prompts and of what is written, of all texts.
    pub tokens: u64,
    /// Bytes of the keys and values of the texts that are written at a time, at most.
    pub keys_and_values: u64,
}

/// Is told the prompt, the set of steps, none of the baseline, and what has been written behind it; a break ends that text.
pub type Told<'a> = dyn FnMut(usize, Option<usize>, &str) -> ControlFlow<()> + 'a;

/// Continues `prompt` as it is and with `edits`, where `sae` writes, and measures their effect on the prompt.
///
/// # Errors
/// When the dictionary does not belong to the model, a feature does not exist or is edited twice, or the prompt does not fit.
pub fn steer(
    model: &LanguageModel,
    sae: &Sae,
    edits: &[Edit],
    prompt: &str,
    options: &SteerOptions,
) -> Result<SteerResult, InterpretError> {
    Ok(sweep(model, sae, &[edits.to_vec()], prompt, options)?.remove(0)) // one result per entry
}

/// [`steer`] for each of several sets of edits, with one baseline: a sweep over strengths is one set per strength.
///
/// # Errors
/// As [`steer`].
pub fn sweep(
    model: &LanguageModel,
    sae: &Sae,
    edits: &[Vec<Edit>],
    prompt: &str,
    options: &SteerOptions,
) -> Result<Vec<SteerResult>, InterpretError> {
    let at = |edit: &Edit| Step::from(*edit).at(Tokens::of(options.scope));
    let sets: Vec<Vec<Step>> = edits.iter().map(|edits| edits.iter().map(at).collect()).collect();
    let texts = TextOptions { generate: options.generate, stop: Vec::new(), bos: options.bos };
    let (dictionaries, prompts) = ([Dictionary::only(sae)], [prompt.to_owned()]);
    let results = steer_texts(model, &dictionaries, &sets, &prompts, &texts, &mut |_, _, _| ControlFlow::Continue(()))?;
    Ok(results.into_iter().flatten().collect())
}

/// Continues every prompt as it is and with each of `sets`, all in batches in which every text has its own steps, and measures
/// what each set does on each prompt; results prompt by prompt, in the order of the sets.
///
/// # Errors
/// When a dictionary does not belong to the model, steps cannot be taken, or a prompt does not fit.
pub fn steer_texts(
    model: &LanguageModel,
    dictionaries: &[Dictionary<'_>],
    sets: &[Vec<Step>],
    prompts: &[String],
    options: &TextOptions,
    told: &mut Told<'_>,
) -> Result<Vec<Vec<SteerResult>>, InterpretError> {
    dictionaries.iter().try_for_each(|dictionary| dictionary.writes(model).map(drop))?;
    let tokenizer = model.tokenizer()?;
    let encode = |prompt: &String| Ok(tokenizer.encode_with_bos(prompt, options.bos)?);
    let tokens: Vec<Vec<u32>> = prompts.iter().map(encode).collect::<Result<_, InterpretError>>()?;
    let texts = write(model, dictionaries, sets, &tokens, options, told)?;
    let lens = TokenLens::new(model);
    let mut results = Vec::with_capacity(prompts.len());
    for ((given, prompt), texts) in prompts.iter().zip(&tokens).zip(texts.chunks_exact(1 + sets.len())) {
        let seed = options.generate.seed;
        let everywhere = OnceCell::new();
        let as_meant = OnceCell::new();
        let meter = |steps: &[Step]| match steps.windows(2).all(|pair| pair[0].tokens.are_those_of(&pair[1].tokens)) {
            true => known(&everywhere, || EffectMeter::new(model, dictionaries, prompt, seed)),
            false => known(&as_meant, || EffectMeter::of_text(model, dictionaries, prompt, &texts[0].tokens, seed)),
        };
        let own = tokenizer.decode(prompt)?;
        let whole = |written: &Written| -> Result<String, InterpretError> {
            if written.stop == StopReason::StopString {
                // Tokens that end a text may have begun before the words that do.
                return Ok(format!("{given}{}", written.text));
            }
            // Decoded together, so that the space before the first new word stays; special tokens of the prompt are part of what
            // was given, and of no decoded text.
            let all = tokenizer.decode(&[&prompt[..], &written.tokens].concat())?;
            Ok(all.strip_prefix(&own).map_or(all.clone(), |added| format!("{given}{added}")))
        };
        let (baseline, steered) = (whole(&texts[0])?, &texts[1..]);
        let of_set = |(steps, written): (&Vec<Step>, &Written)| {
            let effect = meter(steps)?.measure(steps, &raised(&lens, steps, dictionaries, model)?)?;
            Ok(SteerResult { baseline: baseline.clone(), steered: whole(written)?, effect })
        };
        results.push(sets.iter().zip(steered).map(of_set).collect::<Result<Vec<_>, InterpretError>>()?);
    }
    Ok(results)
}

/// What is in a cell, made where it is not there yet.
fn known<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, InterpretError>) -> Result<&T, InterpretError> {
    match cell.get() {
        Some(known) => Ok(known),
        None => {
            let made = make()?;
            Ok(cell.get_or_init(|| made))
        }
    }
}

/// What [`steer_texts`] would write with so many sets of steps, where no text ends before it must.
///
/// # Errors
/// When a prompt cannot be encoded.
pub fn plan_texts(
    model: &LanguageModel,
    sets: usize,
    prompts: &[String],
    options: &TextOptions,
) -> Result<PlannedTexts, InterpretError> {
    let tokenizer = model.tokenizer()?;
    let encode = |prompt: &String| Ok(tokenizer.encode_with_bos(prompt, options.bos)?);
    let prompts: Vec<Vec<u32>> = prompts.iter().map(encode).collect::<Result<_, InterpretError>>()?;
    let rows = rows(prompts.len(), sets);
    let len = |row: &Row| prompts[row.0].len().saturating_add(options.generate.max_new_tokens);
    let len = |row: &Row| len(row).min(model.max_context());
    let room = |prompt: &Vec<u32>| (model.max_context() + 1).saturating_sub(prompt.len());
    let written = prompts.iter().map(room).max().unwrap_or(0).min(options.generate.max_new_tokens);
    let mut planned = PlannedTexts { texts: rows.len(), together: 0, written, tokens: 0, keys_and_values: 0 };
    for batch in batches(model, &rows, &prompts) {
        let columns = batch.iter().map(len).max().unwrap_or(0);
        let bytes = KvCache::bytes_for(model.config(), model.kind(), batch.len(), columns);
        planned.together = planned.together.max(batch.len());
        planned.tokens += batch.iter().map(|row| len(row) as u64).sum::<u64>();
        planned.keys_and_values = planned.keys_and_values.max(bytes);
    }
    Ok(planned)
}

/// Those of some steps, as they are written, that no token of any prompt or of what follows can be among.
///
/// # Errors
/// When a prompt cannot be encoded.
pub fn steps_without_tokens(
    model: &LanguageModel,
    steps: &[Step],
    prompts: &[String],
    options: &TextOptions,
) -> Result<Vec<String>, InterpretError> {
    // No text is longer than the context.
    let (tokenizer, new) = (model.tokenizer()?, options.generate.max_new_tokens.min(model.max_context()) as i64);
    let encode = |prompt: &String| Ok(tokenizer.encode_with_bos(prompt, options.bos)?);
    let prompts: Vec<Vec<u32>> = prompts.iter().map(encode).collect::<Result<_, InterpretError>>()?;
    let special = special_tokens(model);
    let is_taken = |step: &Step| prompts.iter().any(|prompt| step.tokens.may_be_among(prompt, new, &special));
    let idle = steps.iter().filter(|step| !is_taken(step));
    Ok(idle.map(|step| step.spec.as_ref().map_or_else(|| "a step".to_owned(), ToString::to_string)).collect())
}

/// A prompt, and the set of steps with which it is continued; none for the model's own text.
type Row = (usize, Option<usize>);

/// All texts: every prompt as the model would continue it and then with each of the sets.
fn rows(prompts: usize, sets: usize) -> Vec<Row> {
    let of = |prompt| std::iter::once(None).chain((0..sets).map(Some)).map(move |set| (prompt, set));
    (0..prompts).flat_map(of).collect()
}

/// The texts that are written at a time. Those of models with angles of their own for long ones pass with those of the same
/// length alone.
fn batches<'r>(model: &LanguageModel, rows: &'r [Row], prompts: &[Vec<u32>]) -> impl Iterator<Item = &'r [Row]> {
    let together: Vec<&[Row]> = match model.long_text_border() {
        Some(_) => rows.chunk_by(|a, b| prompts[a.0].len() == prompts[b.0].len()).collect(),
        None => vec![rows],
    };
    together.into_iter().flat_map(|rows| rows.chunks(BATCH))
}

/// What is written behind every prompt, as the model would and then with each of the sets.
fn write(
    model: &LanguageModel,
    dictionaries: &[Dictionary<'_>],
    sets: &[Vec<Step>],
    prompts: &[Vec<u32>],
    options: &TextOptions,
    told: &mut Told<'_>,
) -> Result<Vec<Written>, InterpretError> {
    let rows = rows(prompts.len(), sets.len());
    let mut written = Vec::with_capacity(rows.len());
    for rows in batches(model, &rows, prompts) {
        let request = |(prompt, _): &Row| TextRequest {
            prompt: prompts[*prompt].clone(),
            options: options.generate,
            stop: options.stop.clone(),
        };
        let requests: Vec<TextRequest> = rows.iter().map(request).collect();
        let steps: Vec<&[Step]> = rows.iter().map(|(_, set)| set.map_or(&[][..], |set| &sets[set])).collect();
        let mut hook = Steering::by_row(model, dictionaries, &steps)?;
        let mut on_text = |row: usize, text: &str| told(rows[row].0, rows[row].1, text);
        written.extend(generate_texts(model, &requests, &mut hook, &mut on_text)?);
    }
    Ok(written)
}

/// The tokens that the directions of steps raise most, those of all of them together.
///
/// # Errors
/// When a dictionary is not the model's.
pub fn raised_by(
    steps: &[Step],
    dictionaries: &[Dictionary<'_>],
    model: &LanguageModel,
) -> Result<Vec<u32>, InterpretError> {
    raised(&TokenLens::new(model), steps, dictionaries, model)
}

fn raised(
    lens: &TokenLens,
    steps: &[Step],
    dictionaries: &[Dictionary<'_>],
    model: &LanguageModel,
) -> Result<Vec<u32>, InterpretError> {
    let directions = directions(steps, dictionaries, model)?;
    let directions: Vec<_> = directions.iter().map(|(point, direction)| (*point, &direction[..])).collect();
    lens.raised(&directions, RAISED)
}

/// The directions along which steps move, or from which they take: what they would have the model say.
fn directions(
    steps: &[Step],
    dictionaries: &[Dictionary<'_>],
    model: &LanguageModel,
) -> Result<Vec<(HookPoint, Vec<f32>)>, InterpretError> {
    let mut found = Vec::new();
    for step in steps {
        match &step.change {
            Change::Feature { dictionary, feature, .. } => {
                let row = dictionaries[*dictionary].sae().decoder_row(*feature);
                let parts = dictionaries[*dictionary].writes(model)?;
                found.extend(parts.iter().map(|part| (part.point, row[part.first..part.first + part.width].to_vec())));
            }
            Change::Along { directions, operator } => {
                let said = operator.targets().unwrap_or(directions);
                found.extend(said.iter().map(|direction| (direction.point, direction.unit.to_vec())));
            }
        }
    }
    Ok(found)
}

/// The mean norm of the activations at each of some hook points, over the tokens of prompts that are not special.
///
/// # Errors
/// When a prompt does not fit the model.
pub fn mean_norms(
    model: &LanguageModel,
    points: &[HookPoint],
    prompts: &[String],
    bos: BosPolicy,
) -> Result<Vec<f64>, InterpretError> {
    let (mut sums, mut n) = (vec![0.0; points.len()], 0u64);
    let special = special_tokens(model);
    for prompt in prompts {
        let tokens = model.tokenizer()?.encode_with_bos(prompt, bos)?;
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let mut recorder = Recorder::new(points.to_vec());
        let tensor = Tensor::from_slice(&ids).unsqueeze(0).to_device(model.device());
        tch::no_grad(|| model.forward(&tensor, &mut recorder))?;
        let ordinary: Vec<usize> = (0..ids.len()).filter(|at| !special[ids[*at] as usize]).collect();
        n += ordinary.len() as u64;
        for (sum, rows) in sums.iter_mut().zip(recorder.columns()) {
            let d = rows.len() / ids.len();
            *sum += ordinary.iter().map(|at| norm(&rows[at * d..(at + 1) * d])).sum::<f64>();
        }
    }
    Ok(sums.into_iter().map(|sum| sum / n.max(1) as f64).collect())
}
