//! Crosscoders: `cfg.json` and `sae_weights.safetensors` in Untangle's own form, which SAELens refuses because it knows no such
//! architecture.
//!
//! Beside the configuration lie, in f32, `W_enc [M, d_in, d_sae]`, `b_enc [d_sae]`, `W_dec [d_sae, M, d_in]`, `b_dec [M, d_in]` and
//! `threshold [d_sae]`.

use super::file::{self, Elements};
use super::format::{Folder, Format, Found};
use super::tensors::{Reader, is_too_large};
use crate::description::{Description, Kept, Place, Provenance};
use crate::error::SaeError;
use crate::io::{transposed, transposed_buffer, write_json, write_tensors};
use crate::parts::{Activation, Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use untangle_schema::sae::{files, tensors};

pub(super) const FORMAT: Format = Format {
    name: CROSSCODER,
    marker: files::CONFIG,
    sniff: |folder| folder.config["architecture"] == CROSSCODER,
    of_several: true,
    read,
    write: Some(write),
};

/// What `architecture` says of a crosscoder.
const CROSSCODER: &str = "crosscoder";

/// The configuration of a crosscoder of M parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CrosscoderConfig {
    /// [`CROSSCODER`].
    architecture: String,
    /// Width of every part.
    d_in: usize,
    /// Number of features.
    d_sae: usize,
    /// Element type of the tensors on file.
    dtype: String,
    /// The parts, in the order of the tensors.
    parts: Vec<CrosscoderPart>,
    /// Everything else.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// Keys that are not known.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// One of the activations that a crosscoder reads and reconstructs together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CrosscoderPart {
    /// The model's name.
    model_name: Option<String>,
    /// SHA-256 of the model's weights, in hexadecimal.
    model_weights_sha256: Option<String>,
    /// The hook point, TransformerLens form, or the name of a matrix.
    hook_name: String,
    /// What these activations were multiplied by in training; already folded into the tensors.
    scale: f32,
    /// Keys that are not known.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Keys of metadata that a [`Provenance`] has a field for.
mod metadata {
    pub(super) const TOOL_VERSION: &str = "untangle_version";
    pub(super) const TRAINED_AS: &str = "training_architecture";
}

fn read(folder: Folder<'_>) -> Result<Found, SaeError> {
    let path = folder.dir.join(files::CONFIG);
    let wrong = |reason: String| SaeError::Config { path: path.clone(), reason };
    let config: CrosscoderConfig = serde_json::from_value(folder.config).map_err(|error| wrong(error.to_string()))?;
    let (m, d, f) = (config.parts.len(), config.d_in, config.d_sae);
    if config.architecture != CROSSCODER {
        return Err(wrong(format!("architecture `{}` is not `{CROSSCODER}`", config.architecture)));
    }
    if m < 2 || d == 0 || f == 0 || is_too_large(m.saturating_mul(d), f) {
        return Err(wrong(format!("{m} parts, d_in {d} and d_sae {f} are out of range")));
    }
    if let Some(part) = config.parts.iter().find(|part| !(part.scale.is_finite() && part.scale > 0.0)) {
        return Err(wrong(format!("the scale of {} is not a positive number", part.hook_name)));
    }
    let path = folder.dir.join(files::WEIGHTS);
    let bytes = file::bytes(&path, elements(m, d, f))?;
    let file = Reader::new(&path, &bytes)?;
    // By itself, so that what was read is gone when the others are.
    let w_enc = transposed_buffer(&file.read(tensors::W_ENC, &[m, d, f])?, m * d, f);
    let parts = Parts {
        w_enc,
        b_enc: file.read(tensors::B_ENC, &[f])?,
        w_dec: file.matrix(tensors::W_DEC, &[f, m, d])?,
        b_dec: file.read(tensors::B_DEC, &[m, d])?,
        w_skip: None,
        activation: Activation::JumpRelu { threshold: file.read(tensors::THRESHOLD, &[f])? },
    };
    Ok(Found { description: described(config), parts, notes: Vec::new() })
}

/// Two matrices and the biases, as far as the sizes say.
fn elements(m: usize, d: usize, f: usize) -> Elements {
    let (width, f) = ((m as u64) * (d as u64), f as u64);
    Elements::with_transposed((2 * width + 2) * f + width, width * f)
}

fn described(config: CrosscoderConfig) -> Description {
    let CrosscoderConfig { d_in, d_sae, dtype, parts, mut metadata, unknown, .. } = config;
    let mut settings = unknown;
    settings.insert("dtype".to_owned(), dtype.into());
    let mut text = |key: &str| {
        let found = metadata.get(key)?.as_str()?.to_owned();
        metadata.remove(key);
        Some(found)
    };
    let (tool_version, trained_as) = (text(metadata::TOOL_VERSION), text(metadata::TRAINED_AS));
    let place = |part: CrosscoderPart| Place {
        hook: Some(part.hook_name),
        model: part.model_name,
        model_weights: part.model_weights_sha256,
        scale: part.scale,
        kept: part.unknown,
    };
    let reads: Vec<Place> = parts.into_iter().map(place).collect();
    Description {
        d_in: reads.len() * d_in,
        provenance: Provenance { reads, tool_version, trained_as, ..Provenance::default() },
        kept: Kept { format: CROSSCODER, settings, metadata },
        ..Description::new(d_in, d_sae)
    }
}

/// The configuration of a crosscoder that is so described.
fn config(description: &Description) -> CrosscoderConfig {
    let Description { d_in, d_sae, provenance, kept, .. } = description;
    let own = kept.format == CROSSCODER;
    let (mut settings, mut metadata) =
        if own { (kept.settings.clone(), kept.metadata.clone()) } else { Default::default() };
    for (key, text) in
        [(metadata::TOOL_VERSION, &provenance.tool_version), (metadata::TRAINED_AS, &provenance.trained_as)]
    {
        metadata.extend(text.iter().map(|text| (key.to_owned(), text.clone().into())));
    }
    let part = |place: &Place| CrosscoderPart {
        model_name: place.model.clone(),
        model_weights_sha256: place.model_weights.clone(),
        hook_name: place.hook.clone().unwrap_or_default(),
        scale: place.scale,
        unknown: if own { place.kept.clone() } else { Map::new() },
    };
    let dtype = settings.remove("dtype").and_then(|dtype| dtype.as_str().map(str::to_owned));
    CrosscoderConfig {
        architecture: CROSSCODER.to_owned(),
        d_in: d_in / provenance.reads.len().max(1),
        d_sae: *d_sae,
        dtype: dtype.unwrap_or_else(|| "float32".to_owned()),
        parts: provenance.reads.iter().map(part).collect(),
        metadata,
        unknown: settings,
    }
}

/// The configuration as it is shown: of keys that are known.
pub(super) fn written(description: &Description) -> Value {
    let mut config = config(description);
    config.unknown.clear();
    config.parts.iter_mut().for_each(|part| part.unknown.clear());
    serde_json::to_value(config).unwrap_or_default()
}

fn write(description: &Description, parts: &Parts, dir: &Path) -> Result<(), SaeError> {
    let path = dir.join(files::CONFIG);
    let config = config(description);
    let (m, d, f) = (config.parts.len(), config.d_in, config.d_sae);
    let silent = vec![0f32; f];
    let threshold = match &parts.activation {
        Activation::JumpRelu { threshold } => threshold,
        Activation::Relu => &silent,
        Activation::TopK { .. } | Activation::AbsTopK { .. } | Activation::Gated { .. } => {
            let reason =
                format!("a crosscoder has thresholds, and none of the architecture `{}`", parts.architecture(false));
            return Err(SaeError::Config { path, reason });
        }
    };
    let w_enc = transposed(&parts.w_enc, f, m * d);
    let views: [(&str, Vec<usize>, &[f32]); 5] = [
        (tensors::W_ENC, vec![m, d, f], &w_enc),
        (tensors::W_DEC, vec![f, m, d], &parts.w_dec),
        (tensors::B_ENC, vec![f], &parts.b_enc),
        (tensors::B_DEC, vec![m, d], &parts.b_dec),
        (tensors::THRESHOLD, vec![f], threshold),
    ];
    write_tensors(&dir.join(files::WEIGHTS), &views)?;
    write_json(&path, &config)
}

#[cfg(test)]
mod tests {
    use crate::crosscoder::Crosscoder;
    use serde_json::{Value, json};
    use std::fs;
    use untangle_schema::sae::files;

    #[test]
    fn keys_that_nobody_knows_are_written_again_and_not_shown() {
        let (dir, again) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        crate::crosscoder::tests::two_parts().save(dir.path()).expect("saves");
        let read = |dir: &std::path::Path| -> Value {
            serde_json::from_slice(&fs::read(dir.join(files::CONFIG)).expect("read")).expect("JSON")
        };
        let mut config = read(dir.path());
        assert_eq!(config["metadata"], json!({}));
        config["later"] = json!({"a": [1, 2.5]});
        config["parts"][1]["later"] = json!("b");
        config["metadata"] = json!({"untangle_version": "0.0.1", "training_architecture": "x", "later": null});
        fs::write(dir.path().join(files::CONFIG), config.to_string()).expect("written");
        let crosscoder = Crosscoder::load(dir.path()).expect("loads");
        crosscoder.save(again.path()).expect("saves");
        assert_eq!(read(again.path()), config);
        let shown = crosscoder.written();
        assert!(shown.get("later").is_none() && shown["parts"][1].get("later").is_none(), "{shown}");
        assert_eq!(shown["metadata"], config["metadata"]);
        assert_eq!(crosscoder.description().provenance.trained_as.as_deref(), Some("x"));
    }
}
