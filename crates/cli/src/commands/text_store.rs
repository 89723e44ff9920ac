//! Text as a store for the length of one evaluation.

use super::capture::capture_text;
use super::options::open_store;
use crate::commands::words::TextArgs;
use crate::context::Context;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use untangle_capture::CaptureConfig;
use untangle_interpret::point::{point_of, written_point_of};
use untangle_model::LanguageModel;
use untangle_schema::{BosPolicy, HookPoint, StoreDtype};
use untangle_sources::Dictionary;
use untangle_sources::Scratch;
use untangle_sources::Text;
use untangle_store::ActivationSet;

/// The activations that a dictionary reads over a text, in a temporary folder that goes with it.
pub(crate) struct TextStore {
    /// The rows.
    pub(crate) set: Arc<ActivationSet>,
    settings: Settings,
    _scratch: Scratch,
}

/// Tokens of the world's text, where that is what is named: more than the 512 contexts of 128 that an evaluation takes.
const WORLD_TOKENS: u64 = 100_000;

/// What decides the rows, beside the text: points, context, padding and the beginning-of-sequence token.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    points: BTreeSet<HookPoint>,
    context: Option<usize>,
    pad: bool,
    bos: BosPolicy,
}

impl Settings {
    fn of(dictionary: &Dictionary) -> anyhow::Result<Self> {
        let provenance = dictionary.sae.provenance();
        Ok(Settings {
            points: BTreeSet::from([point_of(&dictionary.sae)?, written_point_of(&dictionary.sae)?]),
            context: provenance.context_size,
            pad: dictionary.padded(),
            bos: if provenance.prepend_bos == Some(false) { BosPolicy::Never } else { BosPolicy::Auto },
        })
    }
}

impl TextStore {
    /// Whether capturing for `dictionary` would give the same rows.
    pub(crate) fn is_of(&self, dictionary: &Dictionary) -> bool {
        Settings::of(dictionary).is_ok_and(|settings| settings == self.settings)
    }

    /// Captures `text` exactly (in f32) as the dictionary was trained to see it.
    pub(crate) fn capture(
        dictionary: &Dictionary,
        model: &LanguageModel,
        (text, reading): (&[PathBuf], &TextArgs),
        context: &Context,
    ) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let text = Text::find(text, &reading.reading(), WORLD_TOKENS, model, &context.surroundings())?;
        let settings = Settings::of(dictionary)?;
        let config = CaptureConfig {
            context: settings.context,
            pad: settings.pad,
            bos: settings.bos,
            store: StoreDtype::F32,
            ..CaptureConfig::new(settings.points.iter().copied().collect(), scratch.path().join("text.h5"))
        };
        let captured = capture_text(&config, text.corpus(), model, None, context)?;
        let set = open_store(&[captured.path.to_string_lossy().into_owned()], context)?;
        Ok(TextStore { set, settings, _scratch: scratch })
    }
}
