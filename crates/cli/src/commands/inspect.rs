//! `untangle inspect`: what is in a file that Untangle or its peers wrote?

use crate::context::Context;
use clap::Args;
use std::path::PathBuf;

/// Show what an activation store, a dictionary, a feature database or a model holds
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Store (.h5), dictionary directory, feature database (.db), model directory, .safetensors or .npy
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &InspectArgs, context: &Context) -> anyhow::Result<()> {
    let _ = (args, context.threads);
    Ok(())
}
