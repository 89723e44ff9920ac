//! `untangle demo`: the whole job once, on a small model, each step explained.
//!
//! Finished artefacts of an earlier demo with the same settings are used again; interrupted ones are continued.

mod choice;
mod steering;
mod steps;
mod story;

use super::options::{ComputeArgs, load_model};
use crate::context::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// See the whole job once: capture, train, evaluate, describe, steer, each step explained
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Model directory in Hugging Face form
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Text files; documents are separated by <|endoftext|> lines
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    text: Vec<PathBuf>,
    /// Folder for what the demo makes
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    out: PathBuf,
    /// Text to continue in the last step [default: the opening words of the text]
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Make everything anew and replace what an earlier demo left
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &DemoArgs, context: &Context) -> anyhow::Result<()> {
    let model = load_model(&args.model, args.compute, context)?;
    let mut demo = steps::Demo::new(args, &model, context)?;
    demo.say(|out| story::opening(out, &model, demo.hook))?;
    let store = demo.capture()?;
    demo.say(|out| story::captured(out, &store, &demo.paths.store))?;
    let dictionary = demo.train(&store)?;
    demo.say(|out| story::trained(out, &dictionary, &demo.paths.sae))?;
    let measured = demo.evaluate(&dictionary, &store)?;
    demo.say(|out| story::evaluated(out, &measured))?;
    let cards = demo.features(&dictionary, &store)?;
    demo.say(|out| story::described(out, &cards, &demo.paths.database))?;
    let steered = steering::steer(&demo, &dictionary.sae, &cards)?;
    demo.say(|out| story::steered(out, &steered))?;
    demo.say(|out| story::ending(out, &demo.paths, args, &steered))?;
    let best = &cards[..story::SHOWN.min(cards.len())];
    let result = json!({
        "out": args.out, "hook": demo.hook, "evaluation": measured, "features": best, "steering": steered,
    });
    context.output.result(&result, |_| Ok(()))
}
