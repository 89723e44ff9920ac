//! Which features are labelled? Nobody can pay for all.

use super::LabelArgs;
use crate::commands::numbers::listed;
use crate::exit::Complaint;
use std::collections::BTreeSet;
use untangle_interpret::Database;
use untangle_interpret::database::{Only, Query};
use untangle_interpret::llm::Task;
use untangle_interpret::read::Reader;

/// Whether features are labelled, or labels that they have are judged.
pub(super) fn task(args: &LabelArgs, database: &Database) -> anyhow::Result<Task> {
    let Some(source) = &args.score else { return Ok(Task::Label) };
    let known = database.sources()?;
    if !known.contains(source) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Complaint::usage(format!("--score {source}: no label has this source; there are {known}")));
    }
    Ok(Task::Score(source.clone()))
}

/// The features that are asked for, each once, in the order in which they are labelled.
pub(super) fn features(
    args: &LabelArgs,
    task: &Task,
    database: &Database,
    reader: Option<&Reader<'_>>,
) -> anyhow::Result<Vec<usize>> {
    let n = database.n_features()?;
    let named = args.features.is_some() || args.for_prompt.is_some();
    if named && !args.select.is_empty() {
        let problem =
            "features are named by --features or --for-prompt, or selected by --sort and its like, and not both";
        return Err(Complaint::usage(problem));
    }
    let found = match (&args.features, &args.for_prompt, reader) {
        (Some(list), ..) => listed("--features", list, n)?,
        (None, Some(text), Some(reader)) => firing(text, database, reader, args.limit)?,
        _ => {
            let mut query = args.select.query("", Some(args.limit));
            if let Task::Score(source) = task {
                query.source = query.source.or(Some(source.clone()));
            }
            query.only = match query.only {
                // What a rule says of a feature is no reason not to ask somebody who can read.
                Some(Only::Unlabelled) => Some(Only::ByRulesAlone),
                // Of what never fires there is nothing to show.
                None => Some(Only::Alive),
                only => only,
            };
            args.select.find(database, &query)?.features.iter().map(|summary| summary.feature).collect()
        }
    };
    let found = match task {
        Task::Label => found,
        Task::Score(source) => with_label_of(source, found, database)?,
    };
    if found.is_empty() {
        return Err(Complaint::bad_input(format!("{}: no feature is as asked for", database.path().display())));
    }
    Ok(found)
}

/// Those of the features that have a label of a source.
fn with_label_of(source: &str, features: Vec<usize>, database: &Database) -> anyhow::Result<Vec<usize>> {
    let query = Query { source: Some(source.to_owned()), ..Query::default() };
    let labelled: BTreeSet<usize> = database.query(&query)?.iter().map(|summary| summary.feature).collect();
    Ok(features.into_iter().filter(|feature| labelled.contains(feature)).collect())
}

/// The features that fire on a text, by how strongly, as a part of the strongest that each was seen.
fn firing(text: &str, database: &Database, reader: &Reader<'_>, limit: usize) -> anyhow::Result<Vec<usize>> {
    let (ids, _) = reader.tokens(text)?;
    let strongest = reader.read(&ids)?.strongest();
    let of: Vec<usize> = strongest.iter().map(|found| found.feature).collect();
    let most = database.summaries_of(&of)?;
    let part = |feature: usize, activation: f32| {
        let most = most.iter().find(|summary| summary.feature == feature).map_or(0.0, |summary| summary.max_activation);
        if most > 0.0 { activation.abs() / most } else { 0.0 }
    };
    let mut parts: Vec<(f32, usize)> =
        strongest.iter().map(|found| (part(found.feature, found.activation), found.feature)).collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(parts.into_iter().map(|(_, feature)| feature).take(limit).collect())
}
