//! `untangle search`: which features have to do with these words, or are as asked for?

use super::select::{Found, SelectArgs};
use crate::cards::summary_rows;
use crate::context::Context;
use crate::output::table;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Find features by words in their labels, examples and raised tokens, and list them in any order
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// Words to look for; without any, all features are listed
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Features to list at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    select: SelectArgs,
}

pub(crate) fn run(args: &SearchArgs, context: &Context) -> anyhow::Result<()> {
    let database = context.database(&args.database)?;
    let text = args.text.as_deref().map(str::trim);
    let found = match text {
        // Words without a word are a slip of a script, and not a wish for everything.
        Some("") => Found { features: Vec::new(), named: None },
        text => args.select.find(&database, &args.select.query(text.unwrap_or(""), Some(args.limit)))?,
    };
    let mut value = json!({ "features": found.features });
    if let Some((scorer, scores)) = &found.named {
        for feature in value["features"].as_array_mut().into_iter().flatten() {
            let of = feature["feature"].as_u64().and_then(|id| scores.get(&(id as usize)));
            feature["score"] = of.map_or(Value::Null, |score| json!({ "scorer": scorer, "value": score }));
        }
    }
    context.output.result(&value, |out| {
        if found.features.is_empty() {
            return match text {
                Some(text) => writeln!(out, "no feature has to do with `{text}`"),
                None => writeln!(out, "no feature is as asked for"),
            };
        }
        let mut rows = summary_rows(&found.features);
        let label = rows[0].len() - 1;
        if let Some((scorer, scores)) = &found.named {
            rows[0].insert(label, scorer.clone());
            for (row, feature) in rows[1..].iter_mut().zip(&found.features) {
                let score = scores.get(&feature.feature).map_or("-".to_owned(), |score| format!("{score:.2}"));
                row.insert(label, score);
            }
        }
        table(out, &rows, &[rows[0].len() - 1])
    })
}
