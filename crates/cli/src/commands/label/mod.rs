//! `untangle label`: what are features called by a language model that answers over HTTP, and how far can it be believed?

mod endpoint;
mod told;
mod which;

use super::options::{ComputeArgs, load_model};
use crate::commands::select::SelectArgs;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use endpoint::LlmArgs;
use serde_json::json;
use std::path::PathBuf;
use untangle_endpoint::Endpoint;
use untangle_interpret::llm::{LabelPlan, LabelReport, label_features};
use untangle_interpret::read::Reader;
use untangle_interpret::{Database, DatabaseEditor};
use untangle_model::LanguageModel;
use untangle_sae::{Crosscoder, Sae};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::{load_sae, say_doubts};

/// Label features by a language model that answers over HTTP, test the labels on new texts, and judge them on documents that it
/// did not see; or judge labels that are there already
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Feature database, made by `untangle features`; the labels are added to it
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    #[command(flatten)]
    llm: LlmArgs,
    /// Give no labels: judge those that the features have of this source, such as tokens, or one that `untangle import` told
    #[arg(long, value_name = "SOURCE", conflicts_with = "no_scores")]
    score: Option<String>,
    /// Features to label: numbers and ranges, such as 12,40-44
    #[arg(long, value_name = "LIST", conflicts_with = "for_prompt")]
    features: Option<String>,
    /// Label the features that fire on this text, the strongest first; needs --model and --sae
    #[arg(long, value_name = "TEXT", requires_all = ["model", "sae"])]
    for_prompt: Option<String>,
    /// Features to label at most, where they are not listed
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "features")]
    limit: usize,
    /// The model that the features are of, which reads the texts that test a label
    #[arg(long, value_name = "MODEL", requires = "sae")]
    model: Option<PathBuf>,
    /// Their dictionary's directory
    #[arg(long, value_name = "SAE", requires = "model")]
    sae: Option<PathBuf>,
    /// Leave out how well labels hold
    #[arg(long)]
    no_scores: bool,
    /// Have the judge say as well how strongly a feature fires on every token, which takes about as many tokens as all else; needs
    /// an endpoint that tells probabilities
    #[arg(long, conflicts_with = "no_scores")]
    simulate: bool,
    /// Leave out how well labels of other features do on the same texts, which halves the judge's work
    #[arg(long)]
    no_controls: bool,
    /// Ask again what was answered, in earlier runs too, with nothing that could be understood, such as a refusal
    #[arg(long)]
    again: bool,
    /// Seed of the choice of texts, and of the controls
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    belonging: BelongingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &LabelArgs, context: &Context) -> anyhow::Result<()> {
    args.model.as_deref().map(NamedModel::find).transpose()?;
    let address = args.llm.address()?;
    let database = context.database(&args.database)?;
    if !database.has_texts()? {
        return Err(Complaint::bad_input(format!(
            "{}: its examples are numbers of tokens, which say nothing to a language model, because it was made without a model; \
             make it again with `untangle features --model`",
            args.database.display()
        )));
    }
    if args.again && context.is_offline() {
        return Err(Complaint::usage("--again asks, and --offline asks nobody; leave one of them out"));
    }
    let studied = studied(args, &database, context)?;
    let reader = studied.as_ref().map(|(model, sae)| Reader::new(model, sae)).transpose()?;
    let task = which::task(args, &database)?;
    let features = which::features(args, &task, &database, reader.as_ref())?;
    let endpoint = args.llm.endpoint(&address, &args.database, context)?;
    if reader.is_none() {
        context.progress.note(
            "without --model and --sae, labels are not tested on new texts, and nobody sees what the features make the model say",
        );
    }
    let (scores, controls, simulate, seed) = (!args.no_scores, !args.no_controls, args.simulate, args.seed);
    let plan = LabelPlan { task, features, scores, simulate, controls, again: args.again, seed };
    let mut editor = DatabaseEditor::open(&args.database)?;
    let (report, stopped) =
        label_features(&database, &mut editor, &endpoint, reader.as_ref(), &plan, &context.progress)?;
    drop(editor);
    warn(&report, &endpoint, context);
    if stopped.is_none() || !report.features.is_empty() {
        let value = json!({ "database": args.database, "finished": stopped.is_none(), "report": report });
        context.output.result(&value, |out| told::tell(out, &report, &plan))?;
    }
    match stopped {
        None => Ok(()),
        Some(error) => {
            let (done, all) = (report.features.len(), plan.features.len());
            Err(anyhow::Error::from(error).context(format!("{done} of {all} features are done")))
        }
    }
}

/// The studied model with its dictionary, where they are given; refused where the database describes others.
fn studied(args: &LabelArgs, database: &Database, context: &Context) -> anyhow::Result<Option<(LanguageModel, Sae)>> {
    let (Some(model), Some(sae)) = (&args.model, &args.sae) else { return Ok(None) };
    if Crosscoder::is_at(sae) {
        return Err(Complaint::usage(format!(
            "{}: labels of a crosscoder's features are not tested on new texts; leave --model and --sae out",
            sae.display()
        )));
    }
    let sae = load_sae(sae, args.belonging.other_model, &context.surroundings())?;
    database.check_dictionary(&sae)?;
    let model = load_model(model, &args.compute, context)?;
    if !args.belonging.other_model {
        database.check_model(&model)?;
    }
    say_doubts(&sae, Some(&model.identity()), &context.surroundings());
    Ok(Some((model, sae)))
}

/// What a user probably wants to change.
fn warn(report: &LabelReport, endpoint: &Endpoint, context: &Context) {
    let warn = |text: String| context.progress.warning(&text);
    let spent = report.spent;
    if endpoint.damaged_answers() > 0 {
        warn(format!("{} answers of earlier runs were damaged and not believed", endpoint.damaged_answers()));
    }
    if spent.cut > 0 {
        warn(format!("{} answers ended at their limit of tokens; raise --answer-tokens", spent.cut));
    }
    if spent.estimated > 0 {
        warn(format!("the endpoint did not count the tokens of {} answers; they are estimated", spent.estimated));
    }
    if report.without_odds {
        warn("the endpoint tells no probabilities of tokens, without which there is no score by simulation".to_owned());
    }
    let unparseable: u64 = report.features.iter().map(|feature| feature.unparseable).sum();
    if unparseable > 0 {
        warn(format!(
            "{unparseable} answers, or verdicts in them, could not be understood; what they were to tell has no score; with --again the same command asks \
             for them anew"
        ));
    }
    let scores = || report.features.iter().flat_map(|feature| &feature.labels).flat_map(|label| &label.scores);
    let detail = |name: &str| scores().filter_map(|score| score.detail.get(name)).sum::<f64>();
    if detail("unparseable") > 0.0 {
        warn(format!(
            "{:.0} verdicts of the judge could not be understood and are left out of the scores",
            detail("unparseable")
        ));
    }
    if let Some((feature, reason)) = report.left_out.first() {
        let n = report.left_out.len();
        warn(format!("{n} features are left out, feature {feature} because of: {reason}"));
    }
}
