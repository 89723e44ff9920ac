//! `untangle features`: where does every feature fire, what does it write, and what is it about?

use super::options::{ComputeArgs, load_model, open_store};
use super::outputs;
use crate::cards::summary_rows;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::output::table;
use clap::Args;
use std::path::PathBuf;
use untangle_interpret::features::{FeaturesPlan, features};
use untangle_interpret::{Corpus, DATABASE};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::say_doubts;
use untangle_sources::{Dictionary, Rows};

/// Describe every feature: examples, statistics, raised and lowered tokens, and a first label, in one database
#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    /// Dictionary directory
    #[arg(value_name = "SAE")]
    sae: PathBuf,
    /// Store with tokens, captured from the dictionary's model
    #[arg(long, value_name = "STORE", num_args = 1.., required = true)]
    store: Vec<String>,
    /// Database to write
    #[arg(long, value_name = "FEATURES.db")]
    out: PathBuf,
    /// Model directory, or organism[:STAGE]: gives tokens their text, and features the tokens that they raise and lower
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Strongest examples kept of each feature, at most one per document
    #[arg(long, value_name = "N", default_value_t = FeaturesPlan::default().top)]
    examples: usize,
    /// Examples kept besides, spread over the quantiles of the activations
    #[arg(long, value_name = "N", default_value_t = FeaturesPlan::default().sampled)]
    sampled: usize,
    /// Leave out what turning every feature up makes the model say, a pass of the model each
    #[arg(long)]
    no_outputs: bool,
    /// Seed of the sample and of the shuffled label control
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Replace an existing database
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    belonging: BelongingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Features listed at the end.
const LISTED: usize = 10;

pub(crate) fn run(args: &FeaturesArgs, context: &Context) -> anyhow::Result<()> {
    args.model.as_deref().map(NamedModel::find).transpose()?;
    let dictionary = Dictionary::load_any(&args.sae, args.belonging.other_model, &context.surroundings())?;
    let store = open_store(&args.store, context)?;
    let model = outputs::paths(args.model.as_ref(), &[]);
    let inputs: Vec<PathBuf> = store.paths().into_iter().chain([args.sae.clone()]).chain(model).collect();
    outputs::check(&args.out, &DATABASE, args.force, &inputs)?;
    dictionary.unknown_training().into_iter().for_each(|note| context.progress.note(&note));
    say_doubts(&dictionary.sae, store.manifest().map(|manifest| &manifest.model), &context.surroundings());
    let held_out = dictionary.rows_of(&store, Rows::HeldOut).held_out;
    let corpus = Corpus::new(store, &dictionary.sae, held_out)?;
    let model = args.model.as_deref().map(|dir| load_model(dir, &args.compute, context)).transpose()?;
    let plan = FeaturesPlan {
        top: args.examples,
        sampled: args.sampled,
        seed: args.seed,
        outputs: !args.no_outputs,
        ..FeaturesPlan::default()
    };
    let (sae, name) = (&dictionary.sae, &dictionary.name);
    let report = features(sae, name, &corpus, model.as_ref(), &plan, &args.out, args.force, &context.progress)?;
    let best = context.database(&args.out)?.list(LISTED)?;
    let value = serde_json::json!({ "database": args.out, "report": report, "best": best });
    context.output.result(&value, |out| {
        let (all, dead, labelled, rows) = (report.features, report.dead, report.labelled, report.run.rows);
        writeln!(out, "{}: {all} features, {dead} dead in {rows} rows, {labelled} labelled", args.out.display())?;
        writeln!(
            out,
            "labels as rules on held-out rows: mean F1 {:.3}; labels of other features reach {:.3}, always firing {:.3}\n",
            report.mean_f1, report.mean_control, report.mean_floor
        )?;
        table(out, &summary_rows(&best), &[4])
    })
}
