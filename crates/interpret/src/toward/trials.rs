//! Which texts are written to see what a handle does?

use super::topic::Topic;
use crate::error::InterpretError;
use crate::steer::{Dictionary, Judge, Steering, Step, Studies, StudyPlan};
use untangle_model::{GenerateOptions, LanguageModel, generate_rows};
use untangle_sae::Sae;
use untangle_schema::BosPolicy;

/// Continuations to count in.
#[derive(Clone, Copy)]
pub(super) struct Trials<'a> {
    pub(super) model: &'a LanguageModel,
    pub(super) sae: &'a Sae,
    /// Beginnings that may go anywhere.
    pub(super) prompts: &'a [String],
    /// A sentence that names a topic.
    pub(super) naming: &'a dyn Fn(&Topic) -> String,
    /// Whether a text is about a topic.
    pub(super) about: &'a dyn Fn(&Topic, &str) -> bool,
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
        let judge = Judge { about: &|text| (self.about)(topic, text), names: &|text| topic.appears(text) };
        let dictionaries = [Dictionary::only(self.sae)];
        with(&Studies::new(self.model, &dictionaries, &plan, judge, &|_| Ok(()))?)
    }

    /// The first `n` of these continuations with `steps` taken, behind their prompts, as tokens.
    pub(super) fn written(&self, steps: &[Step], n: usize) -> Result<Vec<Vec<u32>>, InterpretError> {
        let dictionaries = [Dictionary::only(self.sae)];
        let each = (n / self.prompts.len()).max(1) as u64;
        let mut texts = Vec::new();
        for (number, prompt) in self.prompts.iter().enumerate() {
            let tokens = self.model.tokenizer()?.encode_with_bos(prompt, BosPolicy::Auto)?;
            let first = self.seed.wrapping_add(number as u64 * each);
            let seeds: Vec<u64> = (0..each).map(|number| first.wrapping_add(number)).collect();
            let mut hook = Steering::new(self.model, &dictionaries, steps)?;
            let options = self.drawn_from(first);
            for row in generate_rows(self.model, &tokens, &options, &seeds, &mut hook, &mut |_, _| {})? {
                texts.push(tokens.iter().copied().chain(row.tokens).collect());
            }
        }
        Ok(texts)
    }

    /// How texts are drawn whose first seed is `seed`.
    pub(super) fn drawn_from(&self, seed: u64) -> GenerateOptions {
        GenerateOptions { seed, ..self.generate }
    }
}
