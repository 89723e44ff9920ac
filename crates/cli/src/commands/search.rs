//! `untangle search`: which features have to do with these words?

use crate::cards::summary_rows;
use crate::context::Context;
use crate::output::table;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Find features by words in their labels, examples and raised tokens
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// Words to look for
    #[arg(value_name = "TEXT")]
    text: String,
    /// Features to list at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub(crate) fn run(args: &SearchArgs, context: &Context) -> anyhow::Result<()> {
    let found = context.database(&args.database)?.search(&args.text, args.limit)?;
    context.output.result(&json!({ "features": found }), |out| {
        if found.is_empty() {
            return writeln!(out, "no feature has to do with `{}`", args.text);
        }
        table(out, &summary_rows(&found), &[4])
    })
}
