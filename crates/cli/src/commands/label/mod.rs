//! `untangle label`: what are features called by a language model that answers over HTTP, and how far can it be believed?

mod endpoint;
mod which;

use super::options::{ComputeArgs, load_model};
use crate::commands::select::SelectArgs;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::output::table;
use clap::Args;
use endpoint::LlmArgs;
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use untangle_endpoint::Endpoint;
use untangle_interpret::llm::{LabelPlan, LabelReport, Labelled, label_features};
use untangle_interpret::read::Reader;
use untangle_interpret::{Database, DatabaseEditor};
use untangle_model::LanguageModel;
use untangle_sae::Sae;
use untangle_schema::{Label, LabelKind};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::{load_sae, say_doubts};

/// Label features by a language model that answers over HTTP, test the labels on new texts, and judge them on documents that it
/// did not see
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Feature database, made by `untangle features`; the labels are added to it
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    #[command(flatten)]
    llm: LlmArgs,
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
    /// Leave out how well labels of other features do on the same texts, which halves the judge's work
    #[arg(long)]
    no_controls: bool,
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
    let studied = studied(args, &database, context)?;
    let reader = studied.as_ref().map(|(model, sae)| Reader::new(model, sae)).transpose()?;
    let features = which::features(args, &database, reader.as_ref())?;
    let endpoint = args.llm.endpoint(&address, &args.database, context)?;
    if reader.is_none() {
        context.progress.note("without --model and --sae, labels are not tested on new texts");
    }
    let plan = LabelPlan { features, scores: !args.no_scores, controls: !args.no_controls, seed: args.seed };
    let mut editor = DatabaseEditor::open(&args.database)?;
    let (report, stopped) =
        label_features(&database, &mut editor, &endpoint, reader.as_ref(), &plan, &context.progress)?;
    drop(editor);
    warn(&report, &endpoint, context);
    if stopped.is_none() || !report.features.is_empty() {
        let value = json!({ "database": args.database, "finished": stopped.is_none(), "report": report });
        context.output.result(&value, |out| tell(out, &report, plan.features.len()))?;
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
    let unparseable: u64 = report.features.iter().map(|feature| feature.unparseable).sum();
    if unparseable > 0 {
        warn(format!("{unparseable} answers could not be understood"));
    }
    let scores = || report.features.iter().flat_map(|feature| &feature.labels).flat_map(|label| &label.scores);
    let detail = |name: &str| scores().filter_map(|score| score.detail.get(name)).sum::<f64>();
    if detail("unparseable") > 0.0 {
        warn(format!(
            "{:.0} verdicts of the judge could not be understood; they count as wrong",
            detail("unparseable")
        ));
    }
    if let Some((feature, reason)) = report.left_out.first() {
        let n = report.left_out.len();
        warn(format!("{n} features are left out, feature {feature} because of: {reason}"));
    }
}

/// The scores of the table.
const COLUMNS: [&str; 3] = ["detection", "fuzzing", "sensitivity"];

fn tell(out: &mut dyn Write, report: &LabelReport, asked: usize) -> io::Result<()> {
    let mut rows = vec![["feature"].into_iter().chain(COLUMNS).chain(["label"]).map(str::to_owned).collect()];
    for feature in &report.features {
        let label = feature.labels.iter().find(|label| label.kind == LabelKind::Input);
        let score = |name: &&str| label.map_or_else(|| "-".to_owned(), |label| shown(label, name));
        let mut row = vec![feature.feature.to_string()];
        row.extend(COLUMNS.iter().map(score));
        row.push(described(feature, label));
        rows.push(row);
    }
    table(out, &rows, &[rows[0].len() - 1])?;
    let has_input = |feature: &&Labelled| feature.labels.iter().any(|label| label.kind == LabelKind::Input);
    let labelled = report.features.iter().filter(has_input).count();
    let changed = report.features.iter().filter(|feature| feature.before.is_some()).count();
    let spent = report.spent;
    writeln!(
        out,
        "\n{}: {labelled} of {asked} features labelled, {changed} labels changed by their tests; {} requests, {} tokens, {} answers kept \
         from before",
        report.source,
        spent.requests,
        spent.tokens(),
        spent.kept
    )?;
    writeln!(
        out,
        "detection and fuzzing: balanced accuracy of a judge who knows the label, on documents that the labeller did not see; sensitivity: \
         share of new texts of what it says that fire the feature; brackets: 95 % intervals; /: label of another feature"
    )
}

/// `0.85 [0.70, 0.93] / 0.50`
fn shown(label: &Label, scorer: &str) -> String {
    let Some(score) = label.score(scorer) else { return "-".to_owned() };
    let interval = score.interval.map_or_else(String::new, |(low, high)| format!(" [{low:.2}, {high:.2}]"));
    let control = score.control.map_or_else(String::new, |control| format!(" / {control:.2}"));
    format!("{:.2}{interval}{control}", score.value)
}

fn described(feature: &Labelled, label: Option<&Label>) -> String {
    let mut text = label.map_or_else(|| "-".to_owned(), |label| label.text.clone());
    if let Some(before) = &feature.before {
        text += &format!("  (was: {before})");
    }
    if let Some(problem) = &feature.problem {
        text += &format!("  ({problem})");
    }
    text
}
