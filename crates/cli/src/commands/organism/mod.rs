//! `untangle organism`: what is the bundled model made of, and what is known about it?

mod concepts;
mod corpus;
mod measure;
mod stages;
mod train;

use crate::context::Context;
use clap::{Args, Subcommand};

/// The bundled model organism: text of its world, its concepts, its stages, and how it is trained
#[derive(Debug, Args)]
pub(crate) struct OrganismArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Corpus(corpus::CorpusArgs),
    Concepts(concepts::ConceptsArgs),
    Stages(stages::StagesArgs),
    Measure(measure::MeasureArgs),
    Train(train::TrainArgs),
}

pub(crate) fn run(args: &OrganismArgs, context: &Context) -> anyhow::Result<()> {
    match &args.what {
        What::Corpus(args) => corpus::run(args, context),
        What::Concepts(args) => concepts::run(args, context),
        What::Stages(args) => stages::run(args, context),
        What::Measure(args) => measure::run(args, context),
        What::Train(args) => train::run(args, context),
    }
}
