//! One prompt continued twice: as the model would, and with features steered.

use super::edit::{Edit, Steer};
use super::effect::{Effect, EffectMeter};
use crate::error::InterpretError;
use crate::intervene::{Intervention, Scope};
use crate::logits::LogitLens;
use crate::point::{check_model, written_point_of};
use serde::Serialize;
use untangle_model::{GenerateOptions, Hook, LanguageModel, NoHook, generate};
use untangle_sae::Sae;
use untangle_schema::BosPolicy;

/// How a prompt is steered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteerOptions {
    /// How the text is continued; baseline and steered text draw from the same seed.
    pub generate: GenerateOptions,
    /// Which tokens are steered.
    pub scope: Scope,
    /// Whether a beginning-of-sequence token comes first.
    pub bos: BosPolicy,
}

/// Raised tokens that are followed per feature.
const RAISED: usize = 10;

/// Baseline and steered text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteerResult {
    /// The prompt and the model's own continuation.
    pub baseline: String,
    /// The prompt and the steered continuation.
    pub steered: String,
    /// What the edits do to the next-token distribution on the prompt, its tokens being steered whatever the scope.
    pub effect: Effect,
}

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
    check_model(sae, model)?;
    let tokens = model.tokenizer()?.encode_with_bos(prompt, options.bos)?;
    let text = |hook: &mut dyn Hook| -> Result<String, InterpretError> {
        let continued = generate(model, &tokens, &options.generate, hook, &mut |_| {})?;
        // Decoded together, so that the space before the first new word stays.
        let all: Vec<u32> = tokens.iter().copied().chain(continued.tokens).collect();
        Ok(model.tokenizer()?.decode(&all)?)
    };
    let baseline = text(&mut NoHook)?;
    let lens = LogitLens::new(sae, model, written_point_of(sae)?)?;
    let mut results = Vec::with_capacity(edits.len());
    for edits in edits {
        let rewrite = Steer::new(sae, edits)?;
        let mut hook = Intervention::of_dictionary(model, sae, options.scope, rewrite)?;
        let steered = text(&mut hook)?;
        let features: Vec<usize> = edits.iter().map(|edit| edit.feature).collect();
        let raised = lens.raised(&features, RAISED)?;
        let meter = EffectMeter::new(model, sae, &tokens, &raised, options.generate.seed)?;
        results.push(SteerResult { baseline: baseline.clone(), steered, effect: meter.measure(edits)? });
    }
    Ok(results)
}
