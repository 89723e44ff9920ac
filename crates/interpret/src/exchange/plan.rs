//! For whom features are written, and what they are called there.

use crate::error::InterpretError;
use serde::Serialize;
use untangle_sae::Sae;
use untangle_store::ActivationSet;

/// For whom features are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Neuronpedia.
    Neuronpedia,
    /// SAEDashboard.
    SaeDashboard,
    /// A table.
    Csv,
    /// Tables of features and of labels.
    Parquet,
    /// delphi: where every feature fires.
    Delphi,
}

/// What the other tool calls what is exported.
#[derive(Clone, Debug)]
pub struct ExportPlan<'a> {
    /// For whom.
    pub form: Form,
    /// The model.
    pub model_id: String,
    /// The dictionary, as `LAYER-SET`, such as `20-res-16k`.
    pub source_id: String,
    /// Who is written down as its author.
    pub creator: String,
    /// The dictionary itself, for the vectors of its features, and for where they fire.
    pub sae: Option<&'a Sae>,
    /// Activations, for where features fire.
    pub store: Option<&'a ActivationSet>,
}

impl ExportPlan<'_> {
    /// The set of dictionaries: the part of the source's name behind the layer, or all of it.
    pub(super) fn set(&self) -> &str {
        let behind = self.source_id.split_once('-').filter(|(layer, _)| layer.bytes().all(|c| c.is_ascii_digit()));
        behind.map_or(&self.source_id, |(_, set)| set)
    }

    /// The layer in the source's name.
    pub(super) fn layer(&self) -> Option<u64> {
        self.source_id.split_once('-').and_then(|(layer, _)| layer.parse().ok())
    }

    pub(super) fn check(&self) -> Result<(), InterpretError> {
        let plain = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !name.starts_with('.')
        };
        match [&self.model_id, &self.source_id].into_iter().find(|name| !plain(name)) {
            Some(name) => Err(InterpretError::NoExportName { name: name.clone() }),
            None => Ok(()),
        }
    }
}
