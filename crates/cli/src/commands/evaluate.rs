//! `untangle evaluate`: how well does a dictionary reconstruct, and what does it cost the model?

use super::crosscoder;
use super::dictionary::{Dictionary, Judges, Rows};
use super::options::{ComputeArgs, load_model, open_store};
use super::text::{Text, TextArgs};
use super::text_store::TextStore;
use super::truth::{self, TruthArgs};
use crate::context::Context;
use crate::exit::Complaint;
use crate::models::NamedModel;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use untangle_interpret::ce::{CeRecovered, ce_recovered};
use untangle_interpret::contexts::contexts_of;
use untangle_interpret::evaluate::{Evaluation, evaluate};
use untangle_interpret::{Corpus, Interval, check_model};
use untangle_model::LanguageModel;
use untangle_store::ActivationSet;

/// Measure dictionaries on rows that training never saw: FVU, L0, dead and dense features, CE recovered
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Dictionary directories
    #[arg(value_name = "SAE", required = true)]
    sae: Vec<PathBuf>,
    /// Stores or matrices; of the store that a dictionary was trained on, only the held-out part is used
    #[arg(long, value_name = "STORE", num_args = 1.., required_unless_present_any = ["text", "concepts"])]
    store: Vec<String>,
    /// Stores of the other models whose activations a crosscoder reads beside those of --store
    #[arg(long, value_name = "STORE", requires = "store")]
    with: Vec<String>,
    /// Model directory, owner/name of the hub, or organism[:STAGE]: measure what the reconstruction costs the model when
    /// it is spliced in
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Text to evaluate on instead of a store, as capture takes it; organism:test for unseen documents of its world;
    /// needs --model
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "model", conflicts_with = "store")]
    text: Vec<PathBuf>,
    /// Rows to use
    #[arg(long, value_enum, default_value = "auto")]
    rows: Rows,
    /// Contexts to run the model on at most
    #[arg(long, value_name = "N", default_value_t = 512)]
    contexts: usize,
    #[command(flatten)]
    reading: TextArgs,
    #[command(flatten)]
    truth: TruthArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Everything measured of one dictionary.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// Name of its directory.
    pub(crate) sae: String,
    /// What the rows are to it: `held-out`, `train`, `all`, or in more words.
    pub(crate) part: &'static str,
    /// On rows.
    #[serde(flatten)]
    pub(crate) evaluation: Evaluation,
    /// In the model, where there is one.
    pub(crate) ce: Option<CeRecovered>,
}

pub(crate) fn run(args: &EvaluateArgs, context: &Context) -> anyhow::Result<()> {
    if crosscoder::are_all(&args.sae)? {
        return evaluate_crosscoders(args, context);
    }
    if !args.with.is_empty() {
        return Err(Complaint::usage("--with belongs to crosscoders; leave it out"));
    }
    args.model.as_deref().map(NamedModel::find).transpose()?;
    Text::check(&args.text)?;
    let dictionaries = args.sae.iter().map(|dir| Dictionary::load(dir)).collect::<anyhow::Result<Vec<_>>>()?;
    let model = args.model.as_deref().map(|dir| load_model(dir, &args.compute, context)).transpose()?;
    // Told before anything is captured or read.
    if let Some(model) = &model {
        dictionaries.iter().try_for_each(|dictionary| check_model(&dictionary.sae, model))?;
    }
    let truth = match (&model, &args.truth.concepts) {
        (Some(model), Some(_)) => truth::reports(&args.truth, &dictionaries, model, &args.compute, context)?,
        _ => Vec::new(),
    };
    if args.store.is_empty() && args.text.is_empty() {
        return context.output.result(&json!({ "truth": truth }), |out| truth::print(out, &truth));
    }
    let mut measured = Vec::new();
    for dictionary in &dictionaries {
        let one = match &model {
            Some(model) if !args.text.is_empty() => {
                let store = TextStore::capture(dictionary, model, (&args.text, &args.reading), context)?;
                measure(dictionary, &store.set, args.rows, Some(model), args.contexts, context)?
            }
            model => measure(dictionary, &open_store(&args.store)?, args.rows, model.as_ref(), args.contexts, context)?,
        };
        measured.push(one);
    }
    context.output.result(&json!({ "dictionaries": measured, "truth": truth }), |out| {
        table(out, &rows_of(&measured), &[0])?;
        writeln!(out, "\nbrackets: 95 % intervals")?;
        if truth.is_empty() { Ok(()) } else { writeln!(out).and_then(|()| truth::print(out, &truth)) }
    })
}

fn evaluate_crosscoders(args: &EvaluateArgs, context: &Context) -> anyhow::Result<()> {
    if args.model.is_some() || args.truth.concepts.is_some() || args.store.is_empty() {
        return Err(Complaint::usage("a crosscoder is judged on stores; leave --model, --text and --concepts out"));
    }
    crosscoder::evaluate(&args.sae, (&args.store, &args.with), args.rows, context)
}

/// Measures one dictionary on a store.
pub(crate) fn measure(
    dictionary: &Dictionary,
    store: &std::sync::Arc<ActivationSet>,
    rows: Rows,
    model: Option<&LanguageModel>,
    contexts: usize,
    context: &Context,
) -> anyhow::Result<Measured> {
    if contexts == 0 {
        return Err(Complaint::usage("--contexts 0 leaves the model nothing to read"));
    }
    let Judges { held_out, part, name, in_doubt } = dictionary.rows_of(store, rows);
    let corpus = Corpus::new(store.clone(), &dictionary.sae, held_out)?;
    model.map_or(Ok(()), |model| corpus.check_model(model))?;
    dictionary.unknown_training().into_iter().for_each(|note| context.progress.note(&note));
    if in_doubt {
        context.progress.warning(&format!(
            "{} may have been trained on rows of {}: {name}; evaluate on the store that it was trained on, or on \
             other text",
            dictionary.name,
            store.name()
        ));
    }
    let evaluation = evaluate(&dictionary.sae, &corpus, part, &context.progress)?;
    let ce = model
        .map(|model| {
            let contexts = contexts_of(&corpus, part, contexts)?;
            ce_recovered(model, &dictionary.sae, &contexts, &context.progress)
        })
        .transpose()?;
    Ok(Measured { sae: dictionary.name.clone(), part: name, evaluation, ce })
}

/// The line that is left out where there are none.
const OUTLIERS: &str = "rows with an outlier's norm";

/// Metrics down, dictionaries across.
pub(crate) fn rows_of(measured: &[Measured]) -> Vec<Vec<String>> {
    type Cell = fn(&Measured) -> Option<String>;
    let lines: [(&str, Cell); 13] = [
        ("", |m| Some(m.sae.clone())),
        ("rows", |m| Some(m.part.to_owned())),
        ("ordinary rows", |m| Some(ordinary_rows(&m.evaluation).to_string())),
        ("rows of special tokens", |m| Some(m.evaluation.special_rows.to_string())),
        (OUTLIERS, |m| Some(m.evaluation.outlier_rows.to_string())),
        ("FVU", |m| Some(bracketed(m.evaluation.fvu, m.evaluation.fvu_interval, 4))),
        ("FVU without special tokens", |m| {
            let e = &m.evaluation;
            Some(bracketed(e.fvu_without_special, e.fvu_without_special_interval, 4))
        }),
        ("L0", |m| Some(format!("{:.2}", m.evaluation.l0_without_special))),
        ("dead features", |m| {
            let e = &m.evaluation;
            Some(format!("{} of {} in {} rows", e.dead, e.d_sae, ordinary_rows(e)))
        }),
        ("dense features (> 10 % of rows)", |m| Some(m.evaluation.dense.to_string())),
        ("CE recovered", |m| m.ce.as_ref().map(|ce| bracketed(ce.recovered, ce.recovered_interval, 4))),
        ("CE recovered, against the mean", |m| m.ce.as_ref().map(|ce| format!("{:.4}", ce.recovered_mean))),
        ("nats per token lost", |m| m.ce.as_ref().map(|ce| bracketed(ce.nats_lost, ce.nats_lost_interval, 4))),
    ];
    let row = |(name, cell): (&str, Cell)| {
        let cells: Option<Vec<String>> = measured.iter().map(cell).collect();
        Some(std::iter::once(name.to_owned()).chain(cells?).collect())
    };
    let outliers = measured.iter().any(|m| m.evaluation.outlier_rows > 0);
    lines.into_iter().filter(|(name, _)| outliers || *name != OUTLIERS).filter_map(row).collect()
}

/// Rows besides special tokens and outliers: the N of "dead".
pub(crate) fn ordinary_rows(evaluation: &Evaluation) -> u64 {
    evaluation.rows - evaluation.special_rows - evaluation.outlier_rows
}

fn bracketed(value: f64, interval: Option<Interval>, digits: usize) -> String {
    let ends = interval.map(|i| format!(" [{:.digits$}, {:.digits$}]", i.low, i.high));
    format!("{value:.digits$}{}", ends.unwrap_or_default())
}
