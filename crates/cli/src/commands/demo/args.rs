//! What a demo is asked for.

use crate::commands::options::ComputeArgs;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use untangle_organism::stories;
use untangle_sources::Text;

/// Tokens captured, where the text has as many.
const CAPTURE_TOKENS: u64 = 600_000;
/// Features of the dictionary for every number of an activation.
const EXPANSION: usize = 4;
/// Features that are active at a token.
const K: usize = 8;
/// Tokens trained on, repetitions included.
const TRAIN_TOKENS: u64 = 2_400_000;

/// See the whole job once: read, train, name, search, steer; ends with a page of what was found
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]
    #[arg(long, value_name = "MODEL", default_value = "organism")]
    pub(super) model: PathBuf,
    /// Text files (documents are separated by <|endoftext|> lines), or organism for documents of its world
    #[arg(long, value_name = "PATH", num_args = 1.., default_value = "organism")]
    pub(super) text: Vec<PathBuf>,
    /// Folder for what the demo makes
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    pub(super) out: PathBuf,
    /// What to look for and turn up [default: Golden Gate Bridge; with a text of your own, what a label names]
    #[arg(long, value_name = "WORDS")]
    pub(super) concept: Option<String>,
    /// Text to continue in the last step [default: neutral beginnings; with a text of your own, its opening words]
    #[arg(long, value_name = "TEXT")]
    pub(super) prompt: Option<String>,
    /// Make everything anew and replace what an earlier demo left
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) size: SizeArgs,
    #[command(flatten)]
    pub(super) compute: ComputeArgs,
}

/// How much is done.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Size")]
pub(super) struct SizeArgs {
    /// Hook point to look at and to steer [default: the end of the middle block]
    #[arg(long, value_name = "NAME")]
    pub(super) hook: Option<String>,
    /// Tokens to capture, where the text has as many
    #[arg(long, value_name = "N", default_value_t = CAPTURE_TOKENS)]
    pub(super) tokens: u64,
    /// Features of the dictionary [default: four times the width of the hook point]
    #[arg(long, value_name = "N")]
    d_sae: Option<usize>,
    /// Features that are active at a token
    #[arg(long, value_name = "N", default_value_t = K)]
    pub(super) k: usize,
    /// Tokens to train on, repetitions included
    #[arg(long, value_name = "N", default_value_t = TRAIN_TOKENS)]
    pub(super) train_tokens: u64,
    /// Stories that are counted
    #[arg(long, value_name = "N", default_value = "100")]
    pub(super) stories: NonZeroUsize,
    /// Seed of the dictionary
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
}

impl SizeArgs {
    /// Features of a dictionary of activations of this width.
    pub(super) fn features(&self, width: usize) -> usize {
        self.d_sae.unwrap_or(EXPANSION * width)
    }
}

impl DemoArgs {
    /// Whether the text is the world's, whose beginnings and landmarks are known.
    pub(super) fn is_of_the_world(&self) -> bool {
        self.text.iter().all(|text| Text::is_world(text))
    }

    /// The words to look for; none where a feature is to be found that names its own.
    pub(super) fn concept(&self) -> Option<&str> {
        let known = self.is_of_the_world().then_some(stories::LANDMARK);
        self.concept.as_deref().or(known)
    }
}
