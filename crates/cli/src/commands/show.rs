//! `untangle show`: what is known about these features?

use crate::cards::{Detail, write_card};
use crate::context::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Show features: label, strongest examples, raised and lowered tokens
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// Features, by number; without any, those whose labels hold best
    #[arg(value_name = "ID")]
    features: Vec<usize>,
    /// Examples of each
    #[arg(long, value_name = "N", default_value_t = 5)]
    examples: usize,
}

/// Features that are shown when none is named.
const BEST: usize = 10;

pub(crate) fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<()> {
    let database = context.database(&args.database)?;
    let cards = if args.features.is_empty() {
        database.most_interpretable(BEST)?
    } else {
        args.features.iter().map(|&feature| database.card(feature)).collect::<Result<_, _>>()?
    };
    let detail = Detail { examples: args.examples, around: 12, logits: 8 };
    context.output.result(&json!({ "features": cards }), |out| {
        for (index, card) in cards.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write_card(out, card, detail)?;
        }
        Ok(())
    })
}
