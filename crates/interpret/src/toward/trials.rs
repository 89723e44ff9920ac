//! Which texts are written to see what a handle does?

use super::topic::Topic;
use crate::error::InterpretError;
use crate::steer::{Dictionary, Studies, StudyPlan};
use untangle_model::{GenerateOptions, LanguageModel};
use untangle_sae::Sae;

/// Continuations to count in.
#[derive(Clone, Copy)]
pub(super) struct Trials<'a> {
    pub(super) model: &'a LanguageModel,
    pub(super) sae: &'a Sae,
    /// Beginnings that may go anywhere.
    pub(super) prompts: &'a [String],
    /// A sentence that names a topic.
    pub(super) naming: &'a dyn Fn(&Topic) -> String,
    /// How texts are drawn; their seeds are those below.
    pub(super) generate: GenerateOptions,
    /// Continuations in all, dealt to the prompts.
    pub(super) continuations: usize,
    /// First seed.
    pub(super) seed: u64,
    /// Random directions.
    pub(super) directions: u64,
}

impl Trials<'_> {
    /// Calls `with` with what counts the continuations about `topic`.
    pub(super) fn about<T>(
        &self,
        topic: &Topic,
        with: impl FnOnce(&Studies<'_>) -> Result<T, InterpretError>,
    ) -> Result<T, InterpretError> {
        let plan = StudyPlan {
            prompts: self.prompts.to_vec(),
            naming: (self.naming)(topic),
            continuations: (self.continuations / self.prompts.len()).max(1),
            generate: self.drawn_from(self.seed),
            directions: self.directions,
        };
        let appears = |text: &str| topic.appears(text);
        let dictionaries = [Dictionary::only(self.sae)];
        with(&Studies::new(self.model, &dictionaries, &plan, &appears, &|_| Ok(()))?)
    }

    /// How texts are drawn whose first seed is `seed`.
    pub(super) fn drawn_from(&self, seed: u64) -> GenerateOptions {
        GenerateOptions { seed, ..self.generate }
    }
}
