//! Text as a store for the length of one evaluation.

use super::capture::capture_text;
use super::dictionary::Dictionary;
use super::options::open_store;
use crate::context::Context;
use crate::exit::Complaint;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use untangle_capture::CaptureConfig;
use untangle_interpret::point::point_of;
use untangle_model::LanguageModel;
use untangle_schema::{BosPolicy, StoreDtype};
use untangle_store::ActivationSet;

/// The activations that a dictionary reads over a text, in a temporary folder that goes with it.
pub(crate) struct TextStore {
    /// The rows.
    pub(crate) set: Arc<ActivationSet>,
    _folder: Folder,
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl TextStore {
    /// Captures `text` exactly (in f32) as the dictionary was trained to see it.
    pub(crate) fn capture(
        dictionary: &Dictionary,
        model: &LanguageModel,
        text: &[PathBuf],
        context: &Context,
    ) -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("untangle-{}-{}", process::id(), dictionary.name));
        fs::create_dir_all(&path).map_err(|error| Complaint::io(format!("{}: {error}", path.display())))?;
        let folder = Folder(path);
        let metadata = &dictionary.sae.config().metadata;
        let config = CaptureConfig {
            context: metadata.context_size,
            bos: if metadata.prepend_bos == Some(false) { BosPolicy::Never } else { BosPolicy::Auto },
            store: StoreDtype::F32,
            ..CaptureConfig::new(vec![point_of(&dictionary.sae)?], folder.0.join("text.h5"))
        };
        let captured = capture_text(&config, text, model, context)?;
        let set = open_store(&[captured.path.to_string_lossy().into_owned()])?;
        Ok(TextStore { set, _folder: folder })
    }
}
