//! The last step of the demo: a topic turned up, strength by strength, until the stories are about it.

use super::steps::Demo;
use crate::exit::Complaint;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use untangle_interpret::InterpretError;
use untangle_interpret::toward::{Candidate, Toward, TowardPlan, toward};
use untangle_model::{GenerateOptions, Sampling};
use untangle_organism::stories;
use untangle_sae::Sae;
use untangle_sources::world::naming;

/// Tokens of a story.
pub(super) const TOKENS: usize = 60;
/// How a story is drawn.
pub(super) const TEMPERATURE: f64 = 0.8;
/// Words of the text that make a prompt.
const PROMPT_WORDS: usize = 8;

impl Demo<'_> {
    /// Step 6: the features among `candidates` that turn most stories to their topic.
    pub(super) fn steer(&self, sae: &Sae, candidates: &[Candidate]) -> anyhow::Result<Toward> {
        let sampling = Sampling::at(TEMPERATURE);
        let generate = GenerateOptions { max_new_tokens: TOKENS, sampling, seed: 0, stop_at_eos: true };
        let plan =
            TowardPlan { prompts: &self.prompts()?, naming: &|topic| naming(topic, Some(&topic.text())), generate };
        toward(self.model, sae, candidates, &plan, &self.context.progress).map_err(|error| match error {
            InterpretError::NothingToTry => Complaint::bad_input(
                "no feature has a label that holds on held-out text; the text is too short for a demo",
            ),
            error => error.into(),
        })
    }

    /// What is continued.
    fn prompts(&self) -> anyhow::Result<Vec<String>> {
        Ok(match &self.args.prompt {
            Some(prompt) => vec![prompt.clone()],
            None if self.args.is_of_the_world() => stories::BEGINNINGS.map(str::to_owned).to_vec(),
            None => vec![opening_words(&self.args.text[0])?],
        })
    }
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
