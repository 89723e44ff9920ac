//! `untangle import`: explanations of other tools become labels.

use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use untangle_interpret::DatabaseEditor;
use untangle_interpret::exchange::explanations;
use untangle_schema::{Label, LabelKind};

/// Take explanations of Neuronpedia's into a feature database, as labels beside those that it has
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// Explanations as Neuronpedia exports them (explanations/batch-N.jsonl.gz, packed or not); of several for a feature, the last
    /// of each author counts
    #[arg(value_name = "FILE.jsonl", required = true)]
    files: Vec<PathBuf>,
    /// What the labels are called by their source, in place of neuronpedia:AUTHOR
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

pub(crate) fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<()> {
    if args.source.as_ref().is_some_and(|source| source.trim().is_empty()) {
        return Err(Complaint::usage("--source is empty"));
    }
    let n = context.database(&args.database)?.n_features()?;
    let mut labels = BTreeMap::new();
    for path in &args.files {
        for found in explanations(path)? {
            if found.feature >= n {
                let message = format!(
                    "{}: explains feature {}, and the dictionary of {} has {n}; are they of the same dictionary?",
                    path.display(),
                    found.feature,
                    args.database.display()
                );
                return Err(Complaint::bad_input(message));
            }
            let by = found.by.map_or_else(|| "neuronpedia".to_owned(), |by| format!("neuronpedia:{by}"));
            labels.insert((found.feature, args.source.clone().unwrap_or(by)), found.text);
        }
    }
    let mut editor = DatabaseEditor::open(&args.database)?;
    for ((feature, source), text) in &labels {
        let label = Label { kind: LabelKind::Input, source: source.clone(), text: text.clone(), scores: Vec::new() };
        editor.put_label(*feature, &label)?;
    }
    editor.commit()?;
    let mut sources = BTreeMap::<&str, usize>::new();
    labels.keys().for_each(|(_, source)| *sources.entry(source).or_default() += 1);
    context.output.result(&json!({ "labels": labels.len(), "sources": sources }), |out| {
        writeln!(out, "{}: {} labels, which nobody has scored yet", args.database.display(), labels.len())?;
        sources.iter().try_for_each(|(source, count)| writeln!(out, "  {source}: {count}"))
    })
}
