//! Steering towards a topic: which features, turned up together and how far, have the model write about it?
//!
//! In reading order:
//!
//! - [`topic`]: the words that show what a text is about
//! - [`candidates`]: the features that may be about it, by label, examples and raised tokens
//! - `trials`: the texts that are written to see what features do
//! - [`handle`]: the few features that bring most texts, found by trying
//! - `rivals`: the features that compete with a topic
//! - [`ladder`]: the handle turned up step by step, on texts that it was not chosen on, beside random directions

pub mod candidates;
pub mod handle;
pub mod ladder;
mod rivals;
pub mod topic;
mod trials;

pub use candidates::{Candidate, Found, find};
pub use handle::Way;
pub use ladder::{HandlePart, Rung, Toward};
pub use topic::Topic;

use crate::error::InterpretError;
use crate::progress::Progress;
use trials::Trials;
use untangle_model::{GenerateOptions, LanguageModel};
use untangle_sae::Sae;
use untangle_schema::{Observer, Unit};

/// By how much the seeds of one search lie beside those of the next.
const APART: u64 = 10_000_000;
/// First seed of the continuations that the handle is shown on, beside those that it is chosen on.
const FRESH: u64 = 1_000_000;
/// Controls of the best strength, each with as many continuations: random directions and other features.
const DIRECTIONS: u64 = 2;
const OTHERS: usize = 5;

/// What is written while features are tried.
pub struct TowardPlan<'a> {
    /// Beginnings of texts that may go anywhere; at least one.
    pub prompts: &'a [String],
    /// A sentence that names a topic, behind which the perplexity of steered text is measured.
    pub naming: &'a dyn Fn(&Topic) -> String,
    /// Whether a text is about a topic.
    pub about: &'a dyn Fn(&Topic, &str) -> bool,
    /// How texts are drawn; its seed says with which seeds.
    pub generate: GenerateOptions,
    /// How many.
    pub amount: Counts,
}

/// How many continuations are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// To choose by, of every handle that is tried: with a third of the default, luck chose.
    pub tried: usize,
    /// For every strength of what was chosen.
    pub shown: usize,
    /// Of the best strength, and of each of its controls.
    pub reported: usize,
}

impl Default for Counts {
    fn default() -> Self {
        Self { tried: 64, shown: 40, reported: 100 }
    }
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
    let TowardPlan { prompts, naming, about, generate, amount } = *plan;
    let first = generate.seed.wrapping_mul(APART);
    let continuations = amount.tried;
    let trials = Trials { model, sae, prompts, naming, about, generate, continuations, seed: first, directions: 0 };
    let handle = handle::find(&trials, candidates, &mut |tries| progress.advance(tries))?;
    let handle = handle.ok_or(InterpretError::NothingToTry)?;
    let trials = Trials { continuations: amount.shown, seed: first.wrapping_add(FRESH), ..trials };
    let (ladder, best) = ladder::climb(&trials, &handle)?;
    let times = ladder[best].times;
    let (pair, seed) = ladder::pair(&trials, &handle, times)?;
    let trials = Trials { continuations: amount.reported, directions: DIRECTIONS, ..trials };
    let others = ladder::others(sae.d_sae(), &handle, OTHERS);
    let study = trials.about(handle.topic(), |studies| studies.study(&handle.steps(times), &others))?;
    progress.advance(1)?;
    progress.finish();
    Ok(Toward {
        features: ladder::parts(&handle, times),
        rivals: handle.rivals.clone(),
        topic: handle.topic().clone(),
        tried: candidates.len(),
        ladder,
        best,
        study,
        pair,
        seed,
        prompts: prompts.to_vec(),
    })
}
