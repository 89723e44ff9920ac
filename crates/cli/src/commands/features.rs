//! `untangle features`: where does every feature fire, what does it write, and what is it about?

use super::dictionaries::AnyDictionary;
use super::options::{ComputeArgs, load_model, open_beside};
use super::outputs;
use crate::cards::summary_rows;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_interpret::database::{Frozen, sae_sha256};
use untangle_interpret::features::{FeaturesPlan, features};
use untangle_interpret::steer::Dictionary;
use untangle_interpret::{Corpus, DATABASE, Database};
use untangle_schema::label::{F1, SENSITIVITY};
use untangle_sources::dictionary::say_doubts;
use untangle_sources::{NamedModel, Origin, Rows};
use untangle_store::ActivationSet;

/// Describe every feature: examples, statistics, raised and lowered tokens, and a first label, in one database
#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    /// Dictionary directory
    #[arg(value_name = "SAE")]
    sae: PathBuf,
    /// Store with tokens, captured from the dictionary's model
    #[arg(long, value_name = "STORE", num_args = 1.., required = true)]
    store: Vec<String>,
    /// Stores of the other models whose activations a crosscoder reads beside those of --store
    #[arg(long, value_name = "STORE", num_args = 1..)]
    with: Vec<String>,
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
    /// Examples kept besides of each fifth of the range of the activations
    #[arg(long, value_name = "N", default_value_t = FeaturesPlan::default().banded)]
    banded: usize,
    /// Database of a dictionary of the same rows that was trained with --freeze: the scores of its labels stand beside these, since
    /// one that features reach which nobody learned says nothing
    #[arg(long, value_name = "FROZEN.db")]
    frozen: Option<PathBuf>,
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
    let loaded = AnyDictionary::load(&args.sae, args.belonging, context)?;
    loaded.check_beside(&args.with)?;
    let (store, origin) = (open_beside(&args.store, &args.with, context)?, Origin::read(&args.sae)?);
    let inputs = args.model.iter().chain(&args.frozen).filter(|path| path.exists()).chain([&args.sae]).cloned();
    let inputs: Vec<PathBuf> = store.paths().into_iter().chain(inputs).collect();
    outputs::check(&args.out, &DATABASE, args.force, &inputs)?;
    let frozen = match &args.frozen {
        Some(path) => {
            let database = context.database(path)?;
            check_frozen(path, &database, &loaded, &store)?;
            if !database.run()?.is_frozen {
                context.progress.warning(&format!(
                    "{}: nothing says that its dictionary was trained with --freeze; if all of it learned, the comparison says nothing",
                    path.display()
                ));
            }
            Some(database.as_frozen()?)
        }
        None => None,
    };
    let corpus = corpus(&loaded, &origin, store, context)?;
    let model = args.model.as_deref().map(|dir| load_model(dir, &args.compute, context)).transpose()?;
    let plan = FeaturesPlan {
        top: args.examples,
        sampled: args.sampled,
        banded: args.banded,
        seed: args.seed,
        outputs: !args.no_outputs,
        is_frozen: origin.is_frozen(),
        ..FeaturesPlan::default()
    };
    let dictionary = Dictionary { name: &origin.name, kind: loaded.kind(), database: None };
    let observer = &context.progress;
    let report = features(dictionary, &corpus, model.as_ref(), frozen, &plan, &args.out, args.force, observer)?;
    let best = context.database(&args.out)?.list(LISTED)?;
    let value = serde_json::json!({ "database": args.out, "report": report, "best": best });
    context.output.result(&value, |out| {
        let (all, dead, labelled, rows) = (report.features, report.dead, report.labelled, report.run.rows);
        writeln!(out, "{}: {all} features, {dead} dead in {rows} rows, {labelled} with a label of what makes them fire", args.out.display())?;
        writeln!(
            out,
            "labels as rules on held-out rows: mean F1 {:.3}; labels of other features reach {:.3}, always firing {:.3}",
            report.mean_f1, report.mean_control, report.mean_floor
        )?;
        report.run.frozen.as_ref().map_or(Ok(()), |frozen| write_frozen(out, frozen))?;
        writeln!(out)?;
        table(out, &summary_rows(&best), &[4])
    })
}

/// Refuses a database that says nothing of this one: of other rows, or of the very dictionary.
fn check_frozen(path: &Path, frozen: &Database, own: &AnyDictionary, store: &ActivationSet) -> anyhow::Result<()> {
    let run = frozen.run()?;
    let problem = match () {
        () if run.store_content != store.content_identity() => {
            format!(
                "describes features on {}, which is another store; describe the frozen dictionary on this one",
                run.store
            )
        }
        () if run.sae_sha256 == sae_sha256(own.sae()) => {
            "describes this very dictionary; train one with --freeze, and describe that".to_owned()
        }
        () => return Ok(()),
    };
    Err(Complaint::bad_input(format!("{}: {problem}", path.display())))
}

/// What labels reach of features that nobody learned.
fn write_frozen(out: &mut dyn Write, frozen: &Frozen) -> io::Result<()> {
    let middle = |scorer: &str| frozen.quantiles.get(scorer).map(|quantiles| quantiles[quantiles.len() / 2]);
    let of = |(name, scorer): (&str, &str)| middle(scorer).map(|value| format!("{name} {value:.3}"));
    let all: Vec<String> = [("F1", F1), ("sensitivity", SENSITIVITY)].into_iter().filter_map(of).collect();
    writeln!(out, "of the frozen dictionary {} the label in the middle has {}", frozen.sae, all.join(", "))
}

/// The rows that a dictionary is described on.
fn corpus(
    dictionary: &AnyDictionary,
    origin: &Origin,
    store: Arc<ActivationSet>,
    context: &Context,
) -> anyhow::Result<Corpus> {
    origin.unknown_training().into_iter().for_each(|note| context.progress.note(&note));
    let held_out = origin.rows_of(&store, Rows::HeldOut).held_out;
    Ok(match dictionary {
        AnyDictionary::Crosscoder(crosscoder) => Corpus::of_crosscoder(store, crosscoder, held_out)?,
        AnyDictionary::Sae(sae) => {
            say_doubts(sae, store.manifest().map(|manifest| &manifest.model), &context.surroundings());
            Corpus::new(store, sae, held_out)?
        }
    })
}
