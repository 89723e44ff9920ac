//! `untangle import`: explanations of other tools become labels.

use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use untangle_interpret::DatabaseEditor;
use untangle_interpret::exchange::explanations;
use untangle_interpret::point::are_spellings;
use untangle_schema::Label;

/// The sources of labels that `untangle features` writes.
const OWN_SOURCES: [&str; 2] = [untangle_interpret::label::labeller::SOURCE, untangle_interpret::saying::SOURCE];

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
    if let Some(source) = args.source.as_deref().filter(|source| is_own(source)) {
        return Err(Complaint::usage(format!(
            "--source {source}: labels of this source are the program's own, and would be replaced; choose another name"
        )));
    }
    let database = context.database(&args.database)?;
    let n = database.n_features()?;
    let model = database.run()?.model.map(|model| model.name);
    let mut others = BTreeSet::new();
    let (mut labels, mut without) = (BTreeMap::new(), 0);
    for path in &args.files {
        let explained = explanations(path)?;
        without += explained.without;
        for found in explained.explanations {
            if found.feature >= n {
                let message = format!(
                    "{}: explains feature {}, and the dictionary of {} has {n}; are they of the same dictionary?",
                    path.display(),
                    found.feature,
                    args.database.display()
                );
                return Err(Complaint::bad_input(message));
            }
            let is_other = |named: &String| model.as_ref().is_some_and(|own| !are_spellings(own, named));
            others.extend(found.model.filter(is_other));
            let by = found.by.map_or_else(|| "neuronpedia".to_owned(), |by| format!("neuronpedia:{by}"));
            // What came from elsewhere before keeps its name; the program's own are others' where they come back.
            let by = found.exported.filter(|exported| !is_own(exported)).unwrap_or(by);
            labels.insert((found.feature, found.kind, args.source.clone().unwrap_or(by)), found.text);
        }
    }
    if let (Some(other), Some(own)) = (others.first(), &model) {
        context.progress.warning(&format!(
            "explanations of {other} become labels of features of {own}; if they are two models, they say nothing"
        ));
    }
    if without > 0 {
        context.progress.warning(&format!("{without} rows have no description and were passed over"));
    }
    if labels.is_empty() {
        return Err(Complaint::bad_input("there is no explanation in what was given; nothing was changed"));
    }
    let mut editor = DatabaseEditor::open(&args.database)?;
    for ((feature, kind, source), text) in &labels {
        let label = Label { kind: *kind, source: source.clone(), text: text.clone(), scores: Vec::new() };
        editor.put_label(*feature, &label)?;
    }
    editor.commit()?;
    let mut sources = BTreeMap::<&str, usize>::new();
    labels.keys().for_each(|(.., source)| *sources.entry(source).or_default() += 1);
    context.output.result(
        &json!({ "labels": labels.len(), "without_description": without, "sources": sources }),
        |out| {
            writeln!(out, "{}: {} labels, which nobody has scored yet", args.database.display(), labels.len())?;
            sources.iter().try_for_each(|(source, count)| writeln!(out, "  {source}: {count}"))
        },
    )
}

/// Whether labels of a source are those that `features` and `label` write.
fn is_own(source: &str) -> bool {
    OWN_SOURCES.contains(&source.trim()) || source.trim().starts_with("llm:")
}
