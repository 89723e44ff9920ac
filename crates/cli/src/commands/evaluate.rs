//! `untangle evaluate`: how well does a dictionary reconstruct, and what does it cost the model?

use super::crosscoder;
use super::figures::{bracketed, fvu_text};
use super::options::{ComputeArgs, load_model, open_store};
use super::text_store::TextStore;
use super::truth::{self, TruthArgs};
use crate::commands::words::{self, BelongingArgs, TextArgs};
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use untangle_interpret::ce::{CeBaselines, CeRecovered, Guess};
use untangle_interpret::contexts::contexts_of;
use untangle_interpret::evaluate::{Evaluation, evaluate};
use untangle_interpret::{Corpus, check_model};
use untangle_model::LanguageModel;
use untangle_sources::NamedModel;
use untangle_sources::Text;
use untangle_sources::dictionary::{dictionaries_at, names_of, say_doubts};
use untangle_sources::{Dictionary, JudgingRows, Rows};
use untangle_store::{ActivationSet, Part};

/// Measure dictionaries on rows that training never saw: FVU, L0, dead and dense features, what they cost the model
///
/// Figures are of ordinary rows, which are neither special tokens nor outliers; what is of all rows says so. In JSON these are
/// fvu, l0, dead, dense and fvu_all_rows, l0_all_rows.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Dictionary directories, or those of grids, whose dictionaries are all measured
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
    #[arg(long, value_parser = words::rows(), default_value = "auto")]
    rows: Rows,
    /// Contexts to run the model on at most
    #[arg(long, value_name = "N", default_value_t = 512)]
    contexts: usize,
    #[command(flatten)]
    belonging: BelongingArgs,
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
    let dirs = dictionaries_at(&args.sae)?;
    if crosscoder::are_all(&dirs)? {
        return evaluate_crosscoders(&dirs, args, context);
    }
    if !args.with.is_empty() {
        return Err(Complaint::usage("--with belongs to crosscoders; leave it out"));
    }
    args.model.as_deref().map(NamedModel::find).transpose()?;
    Text::check(&args.text)?;
    let load = |dir: &PathBuf| Dictionary::load_any(dir, args.belonging.other_model, &context.surroundings());
    let mut dictionaries = dirs.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    dictionaries.iter_mut().zip(names_of(&dirs)).for_each(|(dictionary, name)| dictionary.name = name);
    let model = args.model.as_deref().map(|dir| load_model(dir, &args.compute, context)).transpose()?;
    // Told before anything is captured or read.
    if let Some(model) = &model {
        let identity = model.identity();
        for Dictionary { sae, .. } in &dictionaries {
            check_model(sae, model)?;
            say_doubts(sae, Some(&identity), &context.surroundings());
        }
    }
    let truth = match (&model, &args.truth.concepts) {
        (Some(model), Some(_)) => truth::reports(&args.truth, &dictionaries, model, &args.compute, context)?,
        _ => Vec::new(),
    };
    if args.store.is_empty() && args.text.is_empty() {
        return context.output.result(&json!({ "truth": truth }), |out| truth::print(out, &truth));
    }
    let measured = measure_all(args, &dictionaries, model.as_ref(), context)?;
    context.output.result(&json!({ "dictionaries": measured, "truth": truth }), |out| {
        table(out, &rows_of(&measured), &[0])?;
        writeln!(out, "\nfigures are of ordinary rows, where nothing else is said; brackets: 95 % intervals")?;
        if truth.is_empty() { Ok(()) } else { writeln!(out).and_then(|()| truth::print(out, &truth)) }
    })
}

/// Measures dictionaries on the store or text that is named. What is the same for several is read, captured and run once.
fn measure_all(
    args: &EvaluateArgs,
    dictionaries: &[Dictionary],
    model: Option<&LanguageModel>,
    context: &Context,
) -> anyhow::Result<Vec<Measured>> {
    let store = if args.store.is_empty() { None } else { Some(open_store(&args.store, context)?) };
    let mut texts: Vec<TextStore> = Vec::new();
    let mut judging = Judging { rows: args.rows, model, contexts: args.contexts, baselines: Vec::new() };
    let mut measured = Vec::new();
    for dictionary in dictionaries {
        let set = match (&store, model) {
            (Some(store), _) => {
                if model.is_none() {
                    say_doubts(
                        &dictionary.sae,
                        store.manifest().map(|manifest| &manifest.model),
                        &context.surroundings(),
                    );
                }
                Arc::clone(store)
            }
            (None, Some(model)) => {
                let at = match texts.iter().position(|text| text.is_of(dictionary)) {
                    Some(at) => at,
                    None => {
                        texts.push(TextStore::capture(dictionary, model, (&args.text, &args.reading), context)?);
                        texts.len() - 1
                    }
                };
                Arc::clone(&texts[at].set)
            }
            (None, None) => return Err(Complaint::usage("--text needs --model, which reads it")),
        };
        measured.push(judging.measure(dictionary, &set, context)?);
    }
    Ok(measured)
}

fn evaluate_crosscoders(dirs: &[PathBuf], args: &EvaluateArgs, context: &Context) -> anyhow::Result<()> {
    if args.model.is_some() || args.truth.concepts.is_some() || args.store.is_empty() {
        return Err(Complaint::usage("a crosscoder is judged on stores; leave --model, --text and --concepts out"));
    }
    crosscoder::evaluate(dirs, (&args.store, &args.with), args.rows, context)
}

/// How dictionaries are measured, and what the model did without one.
pub(crate) struct Judging<'a> {
    pub(crate) rows: Rows,
    pub(crate) model: Option<&'a LanguageModel>,
    /// Contexts to run the model on at most.
    pub(crate) contexts: usize,
    /// The same for dictionaries of one hook point and held-out rule.
    pub(crate) baselines: Vec<CeBaselines>,
}

impl Judging<'_> {
    /// Measures one dictionary on a store.
    pub(crate) fn measure(
        &mut self,
        dictionary: &Dictionary,
        store: &Arc<ActivationSet>,
        context: &Context,
    ) -> anyhow::Result<Measured> {
        if self.contexts == 0 {
            return Err(Complaint::usage("--contexts 0 leaves the model nothing to read"));
        }
        let JudgingRows { held_out, part, name, in_doubt } = dictionary.rows_of(store, self.rows);
        let corpus = Corpus::new(store.clone(), &dictionary.sae, held_out)?;
        self.model.map_or(Ok(()), |model| corpus.check_model(model))?;
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
        let ce = self.model.map(|model| self.cost(dictionary, model, &corpus, part, context)).transpose()?;
        Ok(Measured { sae: dictionary.name.clone(), part: name, evaluation, ce })
    }

    /// What a dictionary costs the model.
    fn cost(
        &mut self,
        dictionary: &Dictionary,
        model: &LanguageModel,
        corpus: &Corpus,
        part: Part,
        context: &Context,
    ) -> anyhow::Result<CeRecovered> {
        let (sae, contexts) = (&dictionary.sae, contexts_of(corpus, part, self.contexts)?);
        let at = match self.baselines.iter().position(|baselines| baselines.are_of(sae, &contexts)) {
            Some(at) => at,
            None => {
                self.baselines.push(CeBaselines::measure(model, sae, contexts, &context.progress)?);
                self.baselines.len() - 1
            }
        };
        Ok(self.baselines[at].recovered(model, sae, &context.progress)?)
    }
}

/// The line that is left out where there are none.
const OUTLIERS: &str = "rows with an outlier's norm";

/// Metrics down, dictionaries across.
pub(crate) fn rows_of(measured: &[Measured]) -> Vec<Vec<String>> {
    type Cell = fn(&Measured) -> Option<String>;
    let lines: [(&str, Cell); 15] = [
        ("", |m| Some(m.sae.clone())),
        ("rows", |m| Some(m.part.to_owned())),
        ("ordinary rows", |m| Some(m.evaluation.ordinary_rows.to_string())),
        ("rows of special tokens", |m| Some(m.evaluation.special_rows.to_string())),
        (OUTLIERS, |m| Some(m.evaluation.outlier_rows.to_string())),
        ("FVU", |m| Some(fvu_text(m.evaluation.fvu, m.evaluation.fvu_interval))),
        ("FVU of all rows", |m| Some(fvu_text(m.evaluation.fvu_all_rows, m.evaluation.fvu_all_rows_interval))),
        ("L0", |m| Some(format!("{:.2}", m.evaluation.l0))),
        ("dead features", |m| {
            let e = &m.evaluation;
            Some(format!("{} of {} in {} rows", e.dead, e.d_sae, e.ordinary_rows))
        }),
        ("dense features (> 10 % of rows)", |m| Some(m.evaluation.dense.to_string())),
        ("nats per token lost", |m| m.ce.as_ref().map(|ce| bracketed(ce.nats_lost, ce.nats_lost_interval, 4))),
        ("  of the model's own", |m| m.ce.as_ref().map(|ce| format!("{:.4}", ce.ce_clean))),
        ("CE recovered", |m| m.ce.as_ref().map(recovered)),
        ("  of the loss of", |m| m.ce.as_ref().map(guess)),
        ("CE recovered, against the mean", |m| m.ce.as_ref().map(|ce| format!("{:.4}", ce.recovered_mean))),
    ];
    let row = |(name, cell): (&str, Cell)| {
        let cells: Option<Vec<String>> = measured.iter().map(cell).collect();
        Some(std::iter::once(name.to_owned()).chain(cells?).collect())
    };
    let outliers = measured.iter().any(|m| m.evaluation.outlier_rows > 0);
    lines.into_iter().filter(|(name, _)| outliers || *name != OUTLIERS).filter_map(row).collect()
}

/// The fraction, or why there is none.
fn recovered(ce: &CeRecovered) -> String {
    match ce.recovered.is_nan() {
        true => "none: the model is no better".to_owned(),
        false => bracketed(ce.recovered, ce.recovered_interval, 4),
    }
}

/// What the recovered fraction is one of.
pub(crate) fn guess(ce: &CeRecovered) -> String {
    match ce.recovered_from {
        Guess::Zero => format!("zeroing, {:.4}", ce.ce_zero),
        Guess::Uniform => format!("a uniform guess, {:.4}", ce.ce_uniform),
    }
}
