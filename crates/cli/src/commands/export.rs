//! `untangle export`: features for other tools.

use super::options::open_store;
use super::outputs;
use super::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use untangle_interpret::exchange::{EXPORT, ExportPlan, Form, export};
use untangle_sources::dictionary::load_sae;

/// Write features for other tools: Neuronpedia, SAEDashboard, delphi, or tables
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// For whom: rows of Neuronpedia's tables, batches as SAEDashboard writes them, where every feature fires as delphi caches it, a
    /// table with a line for each feature, or tables of features and of labels
    #[arg(long, value_enum, value_name = "FORM")]
    form: FormArg,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Dictionary, whose feature vectors are written as well, or whose features are looked for in the store
    #[arg(long, value_name = "SAE", required_if_eq("form", "delphi"))]
    sae: Option<PathBuf>,
    /// Store in which the features fire, for delphi
    #[arg(long, value_name = "STORE", required_if_eq("form", "delphi"))]
    store: Vec<String>,
    /// What the other tool calls the model [default: its name, with dashes for signs]
    #[arg(long, value_name = "NAME")]
    model_id: Option<String>,
    /// What it calls the dictionary, as LAYER-SET, such as 20-res-16k [default: of the hook point and the dictionary's name]
    #[arg(long, value_name = "NAME")]
    source_id: Option<String>,
    /// Who is written down as the author
    #[arg(long, value_name = "NAME", default_value = "untangle")]
    creator: String,
    /// Replace an existing export
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    belonging: BelongingArgs,
}

/// For whom features are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormArg {
    Neuronpedia,
    Saedashboard,
    Csv,
    Parquet,
    Delphi,
}

pub(crate) fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<()> {
    if !args.store.is_empty() && !matches!(args.form, FormArg::Delphi) {
        return Err(Complaint::usage(
            "--store goes with --form delphi alone: the other forms say nothing of where features fire",
        ));
    }
    if matches!(args.form, FormArg::Csv) && args.sae.is_some() {
        return Err(Complaint::usage(
            "--sae goes with the other forms: a csv table has no feature vectors; take parquet",
        ));
    }
    let store = (!args.store.is_empty()).then(|| open_store(&args.store, context)).transpose()?;
    let mut inputs: Vec<PathBuf> = std::iter::once(&args.database).chain(&args.sae).cloned().collect();
    inputs.extend(store.iter().flat_map(|store| store.paths()));
    outputs::check(&args.out, &EXPORT, args.force, &inputs)?;
    let database = context.database(&args.database)?;
    let run = database.run()?;
    let load = |dir| load_sae(dir, args.belonging.other_model, &context.surroundings());
    let sae = args.sae.as_deref().map(load).transpose()?;
    let model = run.model.as_ref().map(|model| plain(&model.name));
    let model_id = args.model_id.clone().or(model);
    let model_id = model_id
        .ok_or_else(|| Complaint::usage("the database names no model: say with --model-id what it is called"))?;
    let hook = run.hook();
    let layer = hook.as_deref().and_then(|hook| hook.split('.').nth(1)?.parse::<usize>().ok());
    let usual = || match layer {
        Some(layer) => format!("{layer}-{}", plain(&run.sae)),
        None => plain(&run.sae),
    };
    let form = match args.form {
        FormArg::Neuronpedia => Form::Neuronpedia,
        FormArg::Saedashboard => Form::SaeDashboard,
        FormArg::Csv => Form::Csv,
        FormArg::Parquet => Form::Parquet,
        FormArg::Delphi => Form::Delphi,
    };
    let source_id = args.source_id.clone().unwrap_or_else(usual);
    let creator = args.creator.clone();
    let plan = ExportPlan { form, model_id, source_id, creator, sae: sae.as_ref(), store: store.as_deref() };
    let report = export(&database, &plan, &args.out, args.force, &context.progress)?;
    context.output.result(&report, |out| {
        writeln!(
            out,
            "{}: {} features in {} files, as {} of {}",
            report.folder.display(),
            report.features,
            report.files,
            plan.source_id,
            plan.model_id
        )
    })
}

/// A name without the signs that other tools make paths and keys of.
fn plain(name: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '-' };
    name.chars().map(sign).collect::<String>().trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_signs() {
        assert_eq!(plain("organism:sft"), "organism-sft");
        assert_eq!(plain("../EleutherAI/pythia-70m"), "EleutherAI-pythia-70m");
    }
}
