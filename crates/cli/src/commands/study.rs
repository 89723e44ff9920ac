//! `untangle study`: how often does a steered feature have the model write about its concept, beside its controls?

use super::interventions::{InterventionArgs, UNITS, describe};
use super::options::{ComputeArgs, load_model};
use crate::cards::one_line;
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::PathBuf;
use untangle_interpret::progress::Progress;
use untangle_interpret::steer::step::Change;
use untangle_interpret::steer::{Arm, Judge, Strength, Studies, Study, StudyPlan, strengths};
use untangle_interpret::toward::Topic;
use untangle_interpret::{Dictionary, Step};
use untangle_model::{GenerateOptions, Sampling};
use untangle_organism::stories;
use untangle_schema::{BosPolicy, Share, Unit};
use untangle_sources::NamedModel;
use untangle_sources::models::warn_of_end;
use untangle_sources::{Subject, world};

/// Count how often steered features have the model write about a concept, beside the model itself, random directions and
/// other features with steps as long
#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// Model directory in Hugging Face form, or organism[:STAGE]
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    interventions: InterventionArgs,
    /// The concept's name: a continuation is about it where it holds all of these words [default for the organism:
    /// Golden Gate Bridge]
    #[arg(long, value_name = "WORDS")]
    concept: Option<String>,
    /// A sentence that names the concept; behind a prompt, it begins the texts whose perplexity is measured [default: the
    /// concept's name]
    #[arg(long, value_name = "TEXT")]
    naming: Option<String>,
    /// Neutral beginnings [default for the organism: four of its stories']
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// Continuations in all, dealt to the prompts
    #[arg(long, value_name = "N", default_value_t = 100)]
    continuations: usize,
    /// Tokens of a continuation
    #[arg(long, value_name = "N", default_value_t = 60)]
    tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    temperature: f64,
    /// Random directions, each with as many continuations
    #[arg(long, value_name = "N", default_value_t = 4)]
    random: u64,
    /// Other features, drawn by the seed, each with as many continuations
    #[arg(long, value_name = "N", default_value_t = 10)]
    others: usize,
    /// Seed of the continuations, the directions and the choice of other features
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// What came of one set of edits.
#[derive(Serialize)]
struct Studied {
    edits: String,
    strengths: Vec<Strength>,
    #[serde(flatten)]
    study: Study,
}

pub(crate) fn run(args: &StudyArgs, context: &Context) -> anyhow::Result<()> {
    let named = NamedModel::find(&args.model)?;
    let of_world = matches!(named, NamedModel::Organism(_) | NamedModel::Untrained);
    let specs = args.interventions.specs()?;
    let topic = Topic::of_name(&concept(args, of_world)?);
    let plan = plan(args, of_world, &topic)?;
    let interventions = args.interventions.load(specs, context)?;
    let model = load_model(&args.model, &args.compute, context)?;
    interventions.say_doubts(&model, context);
    let dictionaries = interventions.dictionaries();
    let sets = interventions.sets(&args.interventions.sweep, &model, &dictionaries)?;
    warn_of_end(&model, &plan.prompts, args.tokens, BosPolicy::Auto, &context.surroundings())?;
    let others = others(args, &sets[0], &dictionaries);
    if others.len() < args.others {
        let d_sae = dictionaries.first().map_or(0, |dictionary| dictionary.sae().d_sae());
        let (asked, found) = (args.others, others.len());
        context.progress.warning(&format!("--others {asked}: of {d_sae} features, {found} others are compared with"));
    }
    let subject = Subject::of(&topic, of_world);
    let judge = Judge { about: &|text| subject.is_in(text), names: &|text| topic.appears(text) };
    // Arms are of unequal number and length, so that what is left is told by the continuations.
    let total = plan.work(sets.len(), others.len());
    let progress = RefCell::new(Progress::start(&context.progress, "study", Unit::Examples, total));
    let told = |continuations| progress.borrow_mut().advance(continuations);
    let studies = Studies::new(&model, &dictionaries, &plan, judge, &told)?;
    let mut studied = Vec::new();
    for steps in &sets {
        let strengths = strengths(steps, &model, &dictionaries, &plan.prompts, BosPolicy::Auto)?;
        let edits = strengths.iter().map(describe).collect::<Vec<_>>().join(", ");
        studied.push(Studied { edits, strengths, study: studies.study(steps, &others)? });
    }
    progress.into_inner().finish();
    let value = serde_json::json!({
        "plan": plan, "topic": topic, "tokens": args.tokens, "temperature": args.temperature, "seed": args.seed,
        "others": others, "studied": studied,
    });
    context.output.result(&value, |out| write_text(out, &subject, &studied))
}

fn concept(args: &StudyArgs, of_world: bool) -> anyhow::Result<String> {
    let concept = args.concept.clone().or(of_world.then(|| stories::LANDMARK.to_owned()));
    let concept = concept.ok_or_else(|| Complaint::usage("say with --concept which words show the concept"))?;
    if !concept.chars().any(char::is_alphanumeric) {
        return Err(Complaint::usage(format!("--concept {concept:?} has no words")));
    }
    Ok(concept)
}

fn plan(args: &StudyArgs, of_world: bool, topic: &Topic) -> anyhow::Result<StudyPlan> {
    let prompts = match (args.prompts.is_empty(), of_world) {
        (false, _) => args.prompts.clone(),
        (true, true) => stories::BEGINNINGS.map(str::to_owned).to_vec(),
        (true, false) => return Err(Complaint::usage("give neutral beginnings with --prompt")),
    };
    if args.continuations < prompts.len() || args.tokens == 0 {
        return Err(Complaint::usage(format!(
            "--continuations must be at least the number of prompts, {}, and --tokens at least 1",
            prompts.len()
        )));
    }
    let sampling = Sampling::at(args.temperature);
    Ok(StudyPlan {
        naming: args.naming.clone().unwrap_or_else(|| world::naming(topic, args.concept.as_deref())),
        continuations: args.continuations / prompts.len(),
        prompts,
        generate: GenerateOptions { max_new_tokens: args.tokens, sampling, seed: args.seed, stop_at_eos: true },
        directions: args.random,
    })
}

/// Features of the first dictionary other than those steered, spread over it from a place that the seed gives.
fn others(args: &StudyArgs, steps: &[Step], dictionaries: &[Dictionary<'_>]) -> Vec<usize> {
    let steered = |wanted: &usize| {
        let is =
            |step: &Step| matches!(step.change, Change::Feature { dictionary: 0, feature, .. } if feature == *wanted);
        steps.iter().any(is)
    };
    let d_sae = dictionaries.first().map_or(0, |dictionary| dictionary.sae().d_sae());
    let n = args.others.min(d_sae);
    let stride = d_sae / n.max(1);
    let first = args.seed as usize % stride.max(1);
    (0..n).map(|i| first + i * stride).filter(|feature| !steered(feature)).collect()
}

fn write_text(out: &mut dyn Write, subject: &Subject, studied: &[Studied]) -> io::Result<()> {
    let named = subject.is_more_than_a_name();
    let row = |name: &str, arm: &Arm| row(name, arm, named);
    let head = ["", "about it", "names it", "repeated 4-grams", "perplexity"];
    let head = head.into_iter().filter(|column| named || *column != "names it").map(str::to_owned).collect();
    let Some(Studied { study: Study { baseline, .. }, .. }) = studied.first() else { return Ok(()) };
    let mut rows = vec![head, row("the model itself", baseline)];
    for Studied { edits, study, .. } in studied {
        rows.push(row(edits, &study.steered));
        let controls = [("  random directions", &study.random), ("  other features", &study.others)];
        rows.extend(controls.iter().filter(|(_, arm)| arm.appears.trials > 0).map(|(name, arm)| row(name, arm)));
    }
    table(out, &rows, &[0])?;
    writeln!(
        out,
        "\nabout it: continuations {}, with 95 % intervals; controls make steps as long as the feature's\n\
         perplexity: of continuations behind a sentence that names it, to the model that nobody steers\n\
         {UNITS}\n",
        subject.sign()
    )?;
    writeln!(out, "the model itself: {}", one_line(&baseline.sample))?;
    studied.iter().try_for_each(|s| writeln!(out, "{}: {}", s.edits, one_line(&s.study.steered.sample)))
}

fn row(name: &str, arm: &Arm, named: bool) -> Vec<String> {
    let share = |share: Share| {
        let (low, high) = share.interval();
        format!("{} of {} [{:.0}, {:.0} %]", share.hits, share.trials, 100.0 * low, 100.0 * high)
    };
    let counts = [Some(arm.appears), named.then_some(arm.names)].into_iter().flatten().map(share);
    let others = [
        format!("{:.1} %", 100.0 * arm.repetition),
        arm.perplexity.map_or_else(|| "-".to_owned(), |perplexity| format!("{perplexity:.2}")),
    ];
    [name.to_owned()].into_iter().chain(counts).chain(others).collect()
}
