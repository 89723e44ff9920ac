//! `untangle steer --toward`: which features have the model write about something, how far turned up, and at what price?

use super::arms;
use super::interventions::Interventions;
use crate::cards::one_line;
use crate::context::Context;
use crate::exit::Complaint;
use crate::lines::{shell, wrapped};
use crate::output::table;
use clap::Args;
use serde_json::json;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use untangle_interpret::Database;
use untangle_interpret::steer::arm::{MAX_PERPLEXITY, MAX_REPETITION};
use untangle_interpret::steer::{Arm, Dictionary, Kind};
use untangle_interpret::toward::{Counts, Topic, Toward, TowardPlan, find, toward};
use untangle_model::{GenerateOptions, LanguageModel};
use untangle_organism::stories;
use untangle_sae::Sae;
use untangle_sources::world::naming;
use untangle_sources::{NamedModel, Recipe, Subject};

/// Columns of prose.
const WIDTH: usize = 100;

/// What is sought.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Steering towards something")]
pub(crate) struct TowardArgs {
    /// Find the feature that has the model write about this, and how far to turn it up, by trying those whose labels, examples or
    /// raised tokens hold these words; --prompt are then neutral beginnings, for the organism there are some
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["feature", "sweep", "recipe"])]
    pub(crate) toward: Option<String>,
    /// Continuations by which the best strength and each of its controls are reported, of seeds on which nothing was chosen; for
    /// every strength that is tried, two fifths as many are written [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) continuations: Option<NonZeroUsize>,
}

/// What the search needs to know beside that.
pub(crate) struct Sought<'a> {
    /// The words.
    pub(crate) words: &'a str,
    /// The model as it was named.
    pub(crate) model_name: &'a Path,
    /// Beginnings, where some are given.
    pub(crate) prompts: &'a [String],
    /// How texts are drawn.
    pub(crate) generate: GenerateOptions,
    /// Options of the model that a command needs to have it all again, each behind a space.
    pub(crate) options: String,
    /// Where the recipe is written, if anywhere.
    pub(crate) save: Option<&'a Path>,
}

/// What was found, with what shows that a text is about it.
struct Told<'a> {
    sought: &'a Sought<'a>,
    subject: &'a Subject,
    toward: &'a Toward,
    again: &'a Recipe,
}

pub(crate) fn run(
    args: &TowardArgs,
    sought: &Sought<'_>,
    interventions: &Interventions,
    recipe: impl Fn(Vec<String>) -> Recipe,
    model: &LanguageModel,
    context: &Context,
) -> anyhow::Result<()> {
    let dictionaries = interventions.dictionaries();
    let (sae, database) = only(&dictionaries)?;
    let found = find(database, Some(sought.words))?;
    if !found.is_sought {
        return Err(Complaint::bad_input(format!(
            "no feature's label, examples or raised tokens hold {:?}; try other words with `untangle search`",
            sought.words
        )));
    }
    let of_world = matches!(NamedModel::find(sought.model_name)?, NamedModel::Organism(_) | NamedModel::Untrained);
    let topic = Topic::of_name(sought.words);
    let subject = Subject::of(&topic, of_world);
    let about = |_: &Topic, text: &str| subject.is_in(text);
    let names = |topic: &Topic| naming(topic, Some(sought.words));
    let prompts = beginnings(sought, of_world)?;
    let amount = amount(args.continuations.map_or(Counts::default().reported, NonZeroUsize::get));
    let plan = TowardPlan { prompts: &prompts, naming: &names, about: &about, generate: sought.generate, amount };
    let toward = toward(model, sae, &found.candidates, &plan, &context.progress)?;
    let again = recipe(toward.interventions());
    if let Some(path) = sought.save {
        again.write(path)?;
    }
    let value = json!({
        "toward": toward, "interventions": toward.interventions(), "turns": toward.turns(),
        "perplexity_ratio": toward.perplexity_ratio(), "repetition_ratio": toward.repetition_ratio(),
        "about": subject.sign(),
    });
    let told = Told { sought, subject: &subject, toward: &toward, again: &again };
    context.output.result(&value, |out| told.write(out))
}

/// The one autoencoder and its database.
fn only<'a>(dictionaries: &[Dictionary<'a>]) -> anyhow::Result<(&'a Sae, &'a Database)> {
    let [Dictionary { kind, database, .. }] = dictionaries else {
        return Err(Complaint::usage(
            "--toward looks in one dictionary: name it with --sae, and its database with --features",
        ));
    };
    let Kind::Sae(sae) = kind else {
        return Err(Complaint::usage("--toward looks in an autoencoder or a transcoder, not in a crosscoder"));
    };
    let database =
        database.ok_or_else(|| Complaint::usage("--toward needs --features: it looks in labels and examples"))?;
    Ok((sae, database))
}

fn beginnings(sought: &Sought<'_>, of_world: bool) -> anyhow::Result<Vec<String>> {
    match (sought.prompts.is_empty(), of_world) {
        (false, _) => Ok(sought.prompts.to_vec()),
        (true, true) => Ok(stories::BEGINNINGS.map(str::to_owned).to_vec()),
        (true, false) => Err(Complaint::usage("--toward needs neutral beginnings: give some with --prompt")),
    }
}

/// Fewer texts for what is tried than for what is reported.
fn amount(reported: usize) -> Counts {
    let usual = Counts::default();
    let part = |of: usize| (of * reported / usual.reported).max(1);
    Counts { tried: part(usual.tried), shown: part(usual.shown), reported }
}

impl Told<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Told { sought, toward, .. } = self;
        let verdict = match toward.turns() {
            true => format!("{}, and the model writes about {:?}:", toward.in_words(), sought.words),
            false => format!(
                "no feature has the model write about {:?}; the best of {} tries: {}:",
                sought.words,
                toward.tried,
                toward.in_words()
            ),
        };
        prose(out, &verdict)?;
        for part in &toward.features {
            let f1 = part.f1.map_or_else(String::new, |f1| format!(" (F1 {f1:.2})"));
            writeln!(out, "  {}  {}{f1}", part.feature, part.label.as_deref().unwrap_or("no label"))?;
        }
        writeln!(out)?;
        table(out, &arms::rows(self.arms(), self.subject.is_more_than_a_name()), &[0])?;
        writeln!(out)?;
        let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let note = format!(
            "about it: continuations {}, with 95 % intervals. On new texts, whose seeds nothing was chosen on, the text surprises the \
             model that nobody steers {} times as much as its own behind a sentence that names it, and repeats itself {} times as \
             often; beyond {MAX_PERPLEXITY} and {MAX_REPETITION} times, it is no text any more.",
            self.subject.sign(),
            ratio(toward.perplexity_ratio()),
            ratio(toward.repetition_ratio())
        );
        prose(out, &note)?;
        if toward.turns() {
            writeln!(
                out,
                "\nbaseline: {}\nsteered:  {}",
                one_line(&toward.pair.baseline),
                one_line(&toward.pair.steered)
            )?;
        }
        writeln!(out, "\nAgain: {}", self.command())
    }

    /// Every way to write that was counted.
    fn arms(&self) -> Vec<(String, &Arm)> {
        let toward = self.toward;
        let name = |at: usize| {
            let of_best = 100.0 * toward.of_best(at);
            let note = match toward.ladder[at].gain {
                None => ", no text any more",
                Some(_) if at == toward.best => ", the best",
                Some(_) => "",
            };
            format!("  {of_best:.0} % of it{note}")
        };
        let rungs = toward.ladder.iter().enumerate().map(|(at, rung)| (name(at), &rung.steered));
        let study = &toward.study;
        let itself = [("the model itself".to_owned(), &study.baseline)];
        let reported = [
            ("the best on new texts".to_owned(), &study.steered),
            ("  random directions as long".to_owned(), &study.random),
            ("  other features as long".to_owned(), &study.others),
        ];
        itself.into_iter().chain(rungs).chain(reported).collect()
    }

    /// How the pair that is shown was drawn.
    fn drawn(&self) -> String {
        let GenerateOptions { max_new_tokens, sampling, .. } = self.sought.generate;
        let option =
            |name: &str, value: Option<String>| value.map(|value| format!(" --{name} {value}")).unwrap_or_default();
        let penalty = Some(sampling.repetition_penalty).filter(|penalty| *penalty != 1.0);
        [
            self.sought.options.clone(),
            format!(" --temperature {} --tokens {max_new_tokens} --seed {}", sampling.temperature, self.toward.seed),
            option("top-k", sampling.top_k.map(|k| k.to_string())),
            option("top-p", sampling.top_p.map(|p| p.to_string())),
            option("min-p", sampling.min_p.map(|p| p.to_string())),
            option("repetition-penalty", penalty.map(|penalty| penalty.to_string())),
        ]
        .concat()
    }

    /// How to have it again.
    fn command(&self) -> String {
        let path = |path: &Path| shell(&path.to_string_lossy());
        let prompt = format!("{}{}", shell(&self.toward.prompts[0]), self.drawn());
        let model = path(self.sought.model_name);
        match self.sought.save {
            Some(saved) => format!("untangle steer {model} --recipe {} --prompt {prompt}", path(saved)),
            None => {
                let recipe = self.again;
                let options = |option: &str, all: Vec<String>| {
                    all.into_iter().map(|one| format!(" --{option} {one}")).collect::<String>()
                };
                format!(
                    "untangle steer {model}{}{}{} --prompt {prompt}",
                    options("sae", recipe.sae.iter().map(|sae| path(sae)).collect()),
                    options("features", recipe.features.iter().map(|database| path(database)).collect()),
                    options("feature", recipe.steer.iter().map(|what| shell(what)).collect()),
                )
            }
        }
    }
}

fn prose(out: &mut dyn Write, text: &str) -> io::Result<()> {
    wrapped(text, WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))
}
