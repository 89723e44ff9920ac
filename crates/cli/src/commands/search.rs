//! `untangle search`: which features have to do with these words, or are as asked for?

use super::select::{Found, SelectArgs};
use crate::canvas::cut;
use crate::cards::summary_rows;
use crate::context::Context;
use crate::output::table;
use clap::Args;
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Letters of what was looked for that are said again where nothing was found.
const SHOWN: usize = 60;

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
    #[arg(long, value_name = "N", default_value = "20")]
    limit: NonZeroUsize,
    #[command(flatten)]
    select: SelectArgs,
}

pub(crate) fn run(args: &SearchArgs, context: &Context) -> anyhow::Result<()> {
    let database = context.database(&args.database)?;
    let text = args.text.as_deref().map(str::trim);
    let found = match text {
        // Words without a word are a slip of a script, and not a wish for everything.
        Some("") => Found { features: Vec::new(), scorer: None },
        text => args.select.find(&database, &args.select.query(text.unwrap_or(""), Some(args.limit.get())))?,
    };
    let mut value = json!({ "features": found.features });
    if let Some(scorer) = &found.scorer {
        for (feature, line) in found.features.iter().zip(value["features"].as_array_mut().into_iter().flatten()) {
            let of = |(value, floor)| json!({ "scorer": scorer, "value": value, "floor": floor });
            line["score"] = feature.asked.map_or(Value::Null, of);
        }
    }
    context.output.result(&value, |out| {
        if found.features.is_empty() {
            return match text {
                Some(text) => writeln!(out, "no feature has to do with `{}`", cut(text, SHOWN)),
                None => writeln!(out, "no feature is as asked for"),
            };
        }
        let mut rows = summary_rows(&found.features);
        let label = rows[0].len() - 1;
        if let Some(scorer) = &found.scorer {
            let cells = |score: Option<f64>| score.map_or("-".to_owned(), |score| format!("{score:.2}"));
            rows[0].splice(label..label, [scorer.clone(), "its floor".to_owned()]);
            for (row, feature) in rows[1..].iter_mut().zip(&found.features) {
                let (score, floor) = feature.asked.unzip();
                row.splice(label..label, [cells(score), cells(floor.flatten())]);
            }
        }
        table(out, &rows, &[rows[0].len() - 1])
    })
}
