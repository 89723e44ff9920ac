//! The last steps of the demo: a topic turned up until the stories are about it; then, in the organism's world, a mood and a
//! narrator.

use super::steps::Demo;
use crate::exit::Complaint;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use untangle_interpret::toward::{Candidate, Counts, Found, Topic, Toward, TowardPlan, find, toward};
use untangle_interpret::{Database, InterpretError};
use untangle_model::{GenerateOptions, Sampling};
use untangle_organism::stories::{self, Lasting};
use untangle_sae::Sae;
use untangle_sources::world::naming;
use untangle_sources::{NamedModel, Subject};

/// Tokens of a story.
pub(super) const TOKENS: usize = 60;
/// How a story is drawn.
pub(super) const TEMPERATURE: f64 = 0.8;
/// Words of the text that make a prompt.
const PROMPT_WORDS: usize = 8;
/// Features tried for a mood and for a narrator.
const TRIED: usize = 3;

/// Something that was turned up.
#[derive(Debug)]
pub(super) struct Turned {
    /// What it is called.
    pub(super) name: String,
    /// What shows that a story is about it, in words, and whether that is more than its name.
    pub(super) sign: String,
    pub(super) is_more_than_a_name: bool,
    pub(super) toward: Toward,
}

impl Turned {
    /// Whether the stories turned.
    pub(super) fn is_success(&self) -> bool {
        self.toward.turns()
    }
}

impl Demo<'_> {
    /// The features among those found that turn most stories to their topic.
    pub(super) fn turn(&self, sae: &Sae, found: &Found) -> anyhow::Result<Turned> {
        let concept = self.args.concept().filter(|_| found.is_sought);
        let subject = concept.map(|concept| Subject::of(&Topic::of_name(concept), self.is_of_the_world()));
        let about = |topic: &Topic, text: &str| match &subject {
            Some(subject) => subject.is_in(text),
            None => topic.appears(text),
        };
        let toward = self.toward(sae, &found.candidates, &about, self.stories())?;
        let subject = subject.unwrap_or_else(|| Subject::Named(toward.topic.clone()));
        let name = concept.map_or_else(|| toward.topic.text(), str::to_owned);
        Ok(Turned { name, sign: subject.sign(), is_more_than_a_name: subject.is_more_than_a_name(), toward })
    }

    /// A mood and a narrator of the organism's world, where the demo is of that and nothing else was asked for.
    pub(super) fn turn_what_else_lasts(&self, sae: &Sae, database: &Database) -> anyhow::Result<Vec<Turned>> {
        let mut turned = Vec::new();
        if !self.is_of_the_world() || self.args.concept.is_some() {
            return Ok(turned);
        }
        for Lasting { class, name, words } in stories::LASTING {
            let Some(subject) = Subject::of_world(class, name) else { continue };
            let found = find(database, Some(words))?;
            if !found.is_sought {
                continue;
            }
            let candidates = &found.candidates[..TRIED.min(found.candidates.len())];
            let amount = Counts { reported: self.stories().shown, ..self.stories() };
            let toward = self.toward(sae, candidates, &|_, text| subject.is_in(text), amount)?;
            turned.push(Turned {
                name: format!("{name} {class}"),
                sign: subject.sign(),
                is_more_than_a_name: true,
                toward,
            });
        }
        Ok(turned)
    }

    fn toward(
        &self,
        sae: &Sae,
        candidates: &[Candidate],
        about: &dyn Fn(&Topic, &str) -> bool,
        amount: Counts,
    ) -> anyhow::Result<Toward> {
        let sampling = Sampling::at(TEMPERATURE);
        let generate = GenerateOptions { max_new_tokens: TOKENS, sampling, seed: 0, stop_at_eos: true };
        let naming = |topic: &Topic| naming(topic, Some(&topic.text()));
        let plan = TowardPlan { prompts: &self.prompts()?, naming: &naming, about, generate, amount };
        toward(self.model, sae, candidates, &plan, &self.context.progress).map_err(|error| match error {
            InterpretError::NothingToTry => Complaint::bad_input(
                "no feature has a label that holds on held-out text; the text is too short for a demo",
            ),
            error => error.into(),
        })
    }

    /// How many stories are written: of every strength fewer than of the one that is reported.
    fn stories(&self) -> Counts {
        let reported = self.args.size.stories.get();
        let part = |of_default: usize| (of_default * reported / Counts::default().reported).max(1);
        Counts { tried: part(Counts::default().tried), shown: part(Counts::default().shown), reported }
    }

    /// Whether the model is the organism and the text its world's.
    fn is_of_the_world(&self) -> bool {
        let model = NamedModel::find(&self.args.model);
        self.args.is_of_the_world() && matches!(model, Ok(NamedModel::Organism(_) | NamedModel::Untrained))
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
    let failed = |error| Complaint::io(text, &error);
    for line in BufReader::new(File::open(text).map_err(failed)?).lines() {
        let line = line.map_err(failed)?;
        let words: Vec<_> = line.split_whitespace().take(PROMPT_WORDS).collect();
        if !words.is_empty() {
            return Ok(words.join(" "));
        }
    }
    Err(Complaint::bad_input(format!("{}: has no words to make a prompt of; pass --prompt", text.display())))
}
