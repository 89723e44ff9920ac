//! `untangle plan`: what a command would take, before it begins.

mod capture;
mod resources;
mod serve;
mod steer;
mod train;

use super::capture::CaptureArgs;
use super::serve::ServeArgs;
use super::steer::SteerArgs;
use super::train::TrainArgs;
use crate::context::Context;
use clap::{Args, Subcommand};

/// Say how much memory, disk, arithmetic and time a training, a capture, steering or a server would take; nothing is kept
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    planned: Planned,
}

/// The command that is planned, with its own arguments.
#[derive(Debug, Subcommand)]
enum Planned {
    /// What `untangle train` with the same arguments would take; some real steps are timed
    Train(Box<TrainArgs>),
    /// What `untangle capture` with the same arguments would take; some real passes are timed
    Capture(Box<CaptureArgs>),
    /// What `untangle steer` with the same arguments would take: model, dictionaries, keys and values; the first tokens are
    /// timed
    Steer(Box<SteerArgs>),
    /// What `untangle serve` with the same arguments would take at most: model, dictionaries, keys and values of all texts
    Serve(Box<ServeArgs>),
}

pub(crate) fn run(args: &PlanArgs, context: &Context) -> anyhow::Result<()> {
    match &args.planned {
        Planned::Train(args) => train::run(args, context),
        Planned::Capture(args) => capture::run(args, context),
        Planned::Steer(args) => steer::run(args, context),
        Planned::Serve(args) => serve::run(args, context),
    }
}
