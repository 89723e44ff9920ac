//! `untangle show`: what is known about these features?

use super::select::SelectArgs;
use crate::cards::{Detail, Shown, draw_card};
use crate::context::Context;
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use untangle_interpret::Database;
use untangle_schema::FeatureCard;

/// Show features: label, strongest examples, raised and lowered tokens, neighbours
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// Features, by number; without any, those that are selected, or else those whose labels hold best
    #[arg(value_name = "ID")]
    features: Vec<usize>,
    /// Examples of each
    #[arg(long, value_name = "N", default_value_t = 5)]
    examples: usize,
    /// Neighbours of each, of every kind that the database has
    #[arg(long, value_name = "N", default_value_t = 3)]
    neighbours: usize,
    /// Places of each at which features near to it fire and it is silent
    #[arg(long, value_name = "N", default_value_t = 1)]
    near_misses: usize,
    /// Features to show at most where none is named
    #[arg(long, value_name = "N", default_value = "10")]
    limit: NonZeroUsize,
    #[command(flatten)]
    select: SelectArgs,
}

pub(crate) fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<()> {
    let database = context.database(&args.database)?;
    let cards = match (&args.features[..], args.select.is_empty()) {
        ([], true) => database.most_interpretable(args.limit.get())?,
        ([], false) => {
            let found = args.select.find(&database, &args.select.query("", Some(args.limit.get())))?;
            found.features.iter().map(|found| database.card(found.feature)).collect::<Result<_, _>>()?
        }
        (named, true) => named.iter().map(|&feature| database.card(feature)).collect::<Result<_, _>>()?,
        (_, false) => {
            let problem = "features are named, or selected by --sort and its like, and not both";
            return Err(crate::exit::Complaint::usage(problem));
        }
    };
    let labels = labels_of_neighbours(&database, &cards)?;
    let detail = Detail {
        examples: args.examples,
        around: 12,
        logits: 8,
        neighbours: args.neighbours,
        near_misses: args.near_misses,
    };
    let run = database.run()?;
    context.output.drawing(&json!({ "features": cards }), |canvas| {
        for (index, card) in cards.iter().enumerate() {
            if index > 0 {
                writeln!(canvas)?;
            }
            draw_card(canvas, &Shown { card, labels: &labels, run: &run }, detail)?;
        }
        if cards.is_empty() {
            writeln!(canvas, "no feature is as asked for")?;
        }
        Ok(())
    })
}

/// What the neighbours of these features are called.
fn labels_of_neighbours(database: &Database, cards: &[FeatureCard]) -> anyhow::Result<BTreeMap<usize, String>> {
    let near = cards.iter().flat_map(|card| card.neighbours.iter().map(|near| near.feature));
    let silent = cards.iter().flat_map(|card| card.near_misses.iter().map(|near| near.by));
    let near: BTreeSet<usize> = near.chain(silent).collect();
    let found = database.summaries_of(&near.into_iter().collect::<Vec<_>>())?;
    Ok(found.into_iter().filter_map(|summary| Some((summary.feature, summary.label?))).collect())
}
