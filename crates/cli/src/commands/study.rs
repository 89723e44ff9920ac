//! `untangle study`: how often does a steered feature have the model write about its concept, beside its controls?

use super::options::{ComputeArgs, load_model, sweep_value};
use crate::cards::one_line;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::PathBuf;
use untangle_interpret::progress::Progress;
use untangle_interpret::steer::{Arm, Studies, Study, StudyPlan};
use untangle_interpret::toward::Topic;
use untangle_interpret::{Database, Edit, FeatureSpec, Operator, resolve, swept};
use untangle_model::{GenerateOptions, Sampling};
use untangle_organism::stories;
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, Share, Unit};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::{load_sae, say_doubts};
use untangle_sources::models::warn_of_end;
use untangle_sources::world;

/// Count how often steered features have the model write about a concept, beside the model itself, random directions and
/// other features with steps as long
#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// Model directory in Hugging Face form, or organism[:STAGE]
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Dictionary directory
    #[arg(long, value_name = "SAE")]
    sae: PathBuf,
    /// Feature and what to do, as for `steer`; several are steered together
    #[arg(long = "feature", value_name = "ID-or-label[:OP=VALUE]", required = true)]
    feature: Vec<String>,
    /// Feature database, for labels and for strengths with x
    #[arg(long, value_name = "FEATURES.db")]
    features: Option<PathBuf>,
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
    /// Repeat with each of these values in place of those of --feature, in their unit: 0.5,1,2; a feature that is ablated
    /// stays so
    #[arg(long, value_name = "VALUES", value_delimiter = ',', allow_hyphen_values = true,
        value_parser = sweep_value)]
    sweep: Vec<f32>,
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
    belonging: BelongingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// What came of one set of edits.
#[derive(Serialize)]
struct Studied {
    edits: String,
    #[serde(flatten)]
    study: Study,
}

pub(crate) fn run(args: &StudyArgs, context: &Context) -> anyhow::Result<()> {
    let named = NamedModel::find(&args.model)?;
    let of_world = matches!(named, NamedModel::Organism(_) | NamedModel::Untrained);
    let specs = args.feature.iter().map(|text| text.parse()).collect::<Result<Vec<FeatureSpec>, _>>()?;
    let topic = Topic::of_name(&concept(args, of_world)?);
    let plan = plan(args, of_world, &topic)?;
    let sae = load_sae(&args.sae, args.belonging.other_model, &context.surroundings())?;
    let database = args.features.as_deref().map(|path| context.database(path)).transpose()?;
    let edits = edits(args, &specs, database.as_ref(), &sae)?;
    let model = load_model(&args.model, &args.compute, context)?;
    say_doubts(&sae, Some(&model.identity()), &context.surroundings());
    warn_of_end(&model, &plan.prompts, args.tokens, BosPolicy::Auto, &context.surroundings())?;
    let others = others(args, &edits[0], sae.d_sae());
    if others.len() < args.others {
        context.progress.warning(&format!(
            "--others {}: of {} features, {} others are compared with",
            args.others,
            sae.d_sae(),
            others.len()
        ));
    }
    let appears = |text: &str| topic.appears(text);
    // Arms are of unequal number and length, so that what is left is told by the continuations.
    let total = plan.work(edits.len(), others.len());
    let progress = RefCell::new(Progress::start(&context.progress, "study", Unit::Examples, total));
    let told = |continuations| progress.borrow_mut().advance(continuations);
    let studies = Studies::new(&model, &sae, &plan, &appears, &told)?;
    let mut studied = Vec::new();
    for edits in &edits {
        studied.push(Studied { edits: describe(edits), study: studies.study(edits, &others)? });
    }
    progress.into_inner().finish();
    let value = serde_json::json!({
        "plan": plan, "topic": topic, "tokens": args.tokens, "temperature": args.temperature, "seed": args.seed,
        "others": others, "studied": studied,
    });
    context.output.result(&value, |out| write_text(out, &topic, &studied))
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
    let sampling = Sampling { temperature: args.temperature, top_k: None, top_p: None };
    Ok(StudyPlan {
        naming: args.naming.clone().unwrap_or_else(|| world::naming(topic, args.concept.as_deref())),
        continuations: args.continuations / prompts.len(),
        prompts,
        generate: GenerateOptions { max_new_tokens: args.tokens, sampling, seed: args.seed, stop_at_eos: true },
        directions: args.random,
    })
}

/// One set of edits, or one for every value of the sweep.
fn edits(
    args: &StudyArgs,
    specs: &[FeatureSpec],
    database: Option<&Database>,
    sae: &Sae,
) -> anyhow::Result<Vec<Vec<Edit>>> {
    if args.sweep.is_empty() {
        return Ok(vec![resolve(specs, database, sae.d_sae())?]);
    }
    let with = |value: &f32| Ok(resolve(&swept(specs, *value)?, database, sae.d_sae())?);
    args.sweep.iter().map(with).collect()
}

/// Features other than those steered, spread over the dictionary from a place that the seed gives.
fn others(args: &StudyArgs, edits: &[Edit], d_sae: usize) -> Vec<usize> {
    let steered = |feature: &usize| edits.iter().any(|edit| edit.feature == *feature);
    let n = args.others.min(d_sae);
    let stride = d_sae / n.max(1);
    let first = args.seed as usize % stride.max(1);
    (0..n).map(|i| first + i * stride).filter(|feature| !steered(feature)).collect()
}

fn describe(edits: &[Edit]) -> String {
    let one = |edit: &Edit| {
        let (name, value) = match edit.operator {
            Operator::Add(value) => ("add", value),
            Operator::Set(value) => ("set", value),
            Operator::Mul(value) => ("mul", value),
        };
        format!("{} {name} {value:.2}", edit.feature)
    };
    edits.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn write_text(out: &mut dyn Write, topic: &Topic, studied: &[Studied]) -> io::Result<()> {
    let head = ["", "about it", "repeated 4-grams", "perplexity"].map(str::to_owned).to_vec();
    let Some(Studied { study: Study { baseline, .. }, .. }) = studied.first() else { return Ok(()) };
    let mut rows = vec![head, row("the model itself", baseline)];
    for Studied { edits, study } in studied {
        rows.push(row(&format!("feature {edits}"), &study.steered));
        let controls = [("  random directions", &study.random), ("  other features", &study.others)];
        rows.extend(controls.iter().filter(|(_, arm)| arm.appears.trials > 0).map(|(name, arm)| row(name, arm)));
    }
    table(out, &rows, &[0])?;
    writeln!(
        out,
        "\nabout it: continuations with {}, with 95 % intervals; controls make steps as long as the feature's\n\
         perplexity: of continuations behind a sentence that names it, to the model that nobody steers\n",
        topic.text()
    )?;
    writeln!(out, "the model itself: {}", one_line(&baseline.sample))?;
    studied.iter().try_for_each(|s| writeln!(out, "feature {}: {}", s.edits, one_line(&s.study.steered.sample)))
}

fn row(name: &str, arm: &Arm) -> Vec<String> {
    let Share { hits, trials } = arm.appears;
    let (low, high) = arm.appears.interval();
    vec![
        name.to_owned(),
        format!("{hits} of {trials} [{:.0}, {:.0} %]", 100.0 * low, 100.0 * high),
        format!("{:.1} %", 100.0 * arm.repetition),
        arm.perplexity.map_or_else(|| "-".to_owned(), |perplexity| format!("{perplexity:.2}")),
    ]
}
