//! Text as a store for the length of one evaluation.

use super::capture::capture_text;
use super::dictionary::Dictionary;
use super::options::open_store;
use super::text::{Text, TextArgs};
use crate::context::Context;
use crate::scratch::Scratch;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use untangle_capture::CaptureConfig;
use untangle_interpret::point::{point_of, written_point_of};
use untangle_model::LanguageModel;
use untangle_schema::{BosPolicy, StoreDtype};
use untangle_store::ActivationSet;

/// The activations that a dictionary reads over a text, in a temporary folder that goes with it.
pub(crate) struct TextStore {
    /// The rows.
    pub(crate) set: Arc<ActivationSet>,
    _scratch: Scratch,
}

/// Tokens of the world's text, where that is what is named: more than the 512 contexts of 128 that an evaluation takes.
const WORLD_TOKENS: u64 = 100_000;

impl TextStore {
    /// Captures `text` exactly (in f32) as the dictionary was trained to see it.
    pub(crate) fn capture(
        dictionary: &Dictionary,
        model: &LanguageModel,
        (text, reading): (&[PathBuf], &TextArgs),
        context: &Context,
    ) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let text = Text::find(text, reading, WORLD_TOKENS, model, context)?;
        let metadata = &dictionary.sae.config().metadata;
        let points = BTreeSet::from([point_of(&dictionary.sae)?, written_point_of(&dictionary.sae)?]);
        let config = CaptureConfig {
            context: metadata.context_size,
            pad: dictionary.padded(),
            bos: if metadata.prepend_bos == Some(false) { BosPolicy::Never } else { BosPolicy::Auto },
            store: StoreDtype::F32,
            ..CaptureConfig::new(points.into_iter().collect(), scratch.path().join("text.h5"))
        };
        let captured = capture_text(&config, text.corpus(), model, None, context)?;
        let set = open_store(&[captured.path.to_string_lossy().into_owned()])?;
        Ok(TextStore { set, _scratch: scratch })
    }
}
