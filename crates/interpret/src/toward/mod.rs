//! Steering towards a topic: which features, turned up together and how far, have the model write about it?
//!
//! In reading order:
//!
//! - [`topic`]: the words that show what a text is about
//! - [`candidates`]: the features that may be about it, by label, examples and raised tokens
//! - `trials`: the texts that are written to see what features do
//! - `handle`: the few features that bring most texts, found by trying
//! - [`ladder`]: the handle turned up step by step, on texts that it was not chosen on, beside random directions

pub mod candidates;
mod handle;
pub mod ladder;
pub mod topic;
mod trials;

pub use candidates::{Candidate, Found, find};
pub use ladder::{HandlePart, Rung, Toward};
pub use topic::Topic;

use crate::error::InterpretError;
use crate::progress::Progress;
use trials::Trials;
use untangle_model::{GenerateOptions, LanguageModel};
use untangle_sae::Sae;
use untangle_schema::{Observer, Unit};

/// Continuations to choose by: with a third of them, luck chose.
const TRIED: usize = 64;
/// Continuations for every strength of what was chosen.
const SHOWN: usize = 40;
/// First seed of the continuations that the handle is shown on; those that it is chosen on begin at 0.
const FRESH: u64 = 1_000_000;
/// Random directions, each with as many continuations.
const DIRECTIONS: u64 = 2;

/// What is written while features are tried.
pub struct TowardPlan<'a> {
    /// Beginnings of texts that may go anywhere; at least one.
    pub prompts: &'a [String],
    /// A sentence that names a topic, behind which the perplexity of steered text is measured.
    pub naming: &'a dyn Fn(&Topic) -> String,
    /// How texts are drawn; their seeds are chosen here.
    pub generate: GenerateOptions,
}

impl std::fmt::Debug for TowardPlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TowardPlan").field("prompts", &self.prompts).finish_non_exhaustive()
    }
}

/// Finds the handle among `candidates` that has most texts be about its topic, and turns it up.
///
/// # Errors
/// [`InterpretError::NothingToTry`] where there is no candidate; when the dictionary does not belong to the model, a prompt
/// does not fit, or the observer asks to stop.
pub fn toward(
    model: &LanguageModel,
    sae: &Sae,
    candidates: &[Candidate],
    plan: &TowardPlan<'_>,
    observer: &dyn Observer,
) -> Result<Toward, InterpretError> {
    let mut progress = Progress::start(observer, "steer", Unit::Steps, handle::most_tries(candidates) + 1);
    let TowardPlan { prompts, naming, generate } = *plan;
    let trials = Trials { model, sae, prompts, naming, generate, continuations: TRIED, seed: 0, directions: 0 };
    let handle = handle::find(&trials, candidates, &mut |tries| progress.advance(tries))?;
    let handle = handle.ok_or(InterpretError::NothingToTry)?;
    let trials = Trials { continuations: SHOWN, seed: FRESH, directions: DIRECTIONS, ..trials };
    let (ladder, best) = ladder::climb(&trials, &handle)?;
    let (pair, seed) = ladder::pair(&trials, &handle, ladder[best].strength)?;
    progress.advance(1)?;
    progress.finish();
    Ok(Toward {
        features: ladder::parts(&handle, ladder[best].strength),
        topic: handle.topic().clone(),
        tried: candidates.len(),
        ladder,
        best,
        pair,
        seed,
        prompts: prompts.to_vec(),
    })
}
