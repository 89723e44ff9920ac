//! `untangle demo`: the whole job once, on the bundled organism or a small model of one's own, each step explained.
//!
//! Finished artefacts of an earlier demo with the same settings are used again; interrupted ones are continued.

mod steps;
mod story;
mod turn;

use super::options::{ComputeArgs, load_model};
use crate::context::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use untangle_interpret::{Database, toward};
use untangle_organism::stories;
use untangle_sources::NamedModel;
use untangle_sources::Text;

/// See the whole job once: capture, train, evaluate, describe, search, steer, each step explained
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]
    #[arg(long, value_name = "MODEL", default_value = "organism")]
    model: PathBuf,
    /// Text files (documents are separated by <|endoftext|> lines), or organism for documents of its world
    #[arg(long, value_name = "PATH", num_args = 1.., default_value = "organism")]
    text: Vec<PathBuf>,
    /// Folder for what the demo makes
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    out: PathBuf,
    /// What to look for and turn up [default: Golden Gate Bridge; with a text of your own, what a label names]
    #[arg(long, value_name = "WORDS")]
    concept: Option<String>,
    /// Text to continue in the last step [default: neutral beginnings; with a text of your own, its opening words]
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Make everything anew and replace what an earlier demo left
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// How much is done.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Size")]
struct SizeArgs {
    /// Hook point to look at and to steer [default: the end of the middle block; the organism is steered at its last one]
    #[arg(long, value_name = "NAME")]
    hook: Option<String>,
    /// Tokens to capture, where the text has as many
    #[arg(long, value_name = "N", default_value_t = steps::CAPTURE_TOKENS)]
    tokens: u64,
    /// Features of the dictionary
    #[arg(long, value_name = "N", default_value_t = steps::D_SAE)]
    d_sae: usize,
    /// Features that are active at a token
    #[arg(long, value_name = "N", default_value_t = steps::K)]
    k: usize,
    /// Tokens to train on, repetitions included
    #[arg(long, value_name = "N", default_value_t = steps::TRAIN_TOKENS)]
    train_tokens: u64,
}

impl DemoArgs {
    /// Whether the text is the world's, whose beginnings and landmarks are known.
    fn is_of_the_world(&self) -> bool {
        self.text.iter().all(|text| Text::is_world(text))
    }

    /// The words to look for; none where a feature is to be found that names its own.
    fn concept(&self) -> Option<&str> {
        let known = self.is_of_the_world().then_some(stories::LANDMARK);
        self.concept.as_deref().or(known)
    }
}

pub(crate) fn run(args: &DemoArgs, context: &Context) -> anyhow::Result<()> {
    NamedModel::find(&args.model)?;
    Text::check(&args.text)?;
    let model = load_model(&args.model, &args.compute, context)?;
    let mut demo = steps::Demo::new(args, &model, context)?;
    demo.say(|out| story::opening(out, &model, demo.reading().hook))?;
    let store = demo.capture()?;
    demo.say(|out| story::captured(out, &store, &demo.store))?;
    let dictionaries = demo.train(&store)?;
    demo.say(|out| story::trained(out, &dictionaries, &demo.layers))?;
    let measured = demo.evaluate(&dictionaries[0], &store)?;
    demo.say(|out| story::evaluated(out, &measured))?;
    let describe = |(layer, dictionary)| demo.features(layer, dictionary, &store);
    let databases = demo.layers.iter().zip(&dictionaries).map(describe).collect::<anyhow::Result<Vec<Database>>>()?;
    let best = databases[0].most_interpretable(story::SHOWN)?;
    demo.say(|out| story::described(out, &best, &demo.reading().database))?;
    let last = dictionaries.len() - 1;
    let found = toward::find(&databases[last], args.concept())?;
    demo.say(|out| story::searched(out, args.concept(), &found, &demo))?;
    let steered = demo.steer(&dictionaries[last].sae, &found.candidates)?;
    demo.say(|out| story::steered(out, &steered))?;
    demo.say(|out| story::ending(out, &demo, &steered))?;
    let result = json!({
        "out": args.out, "hook": demo.reading().hook, "steered_hook": demo.steering().hook, "evaluation": measured,
        "features": best, "steering": steered,
    });
    context.output.result(&result, |_| Ok(()))
}
