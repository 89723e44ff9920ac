//! From a training state to the dictionary on disk: fold the data's scale, write SAELens' form, say how it came about.

use crate::config::TrainPlan;
use crate::error::TrainError;
use crate::init::DataScale;
use crate::log::Record;
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use untangle_sae::{Activation, Parts, Sae};
use untangle_schema::sae::files;
use untangle_schema::{CaptureManifest, SaeConfig, SaeMetadata, TOOL_VERSION};
use untangle_store::durable;

/// The version of SAELens whose form is written.
const SAELENS_FORM: &str = "6.0.0";

/// Where the training rows came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataProvenance {
    /// File names of the store.
    pub stores: Vec<String>,
    /// Hash over manifests and row counts.
    pub content: String,
    /// The column that was trained on: a hook point, or a data set's name.
    pub column: String,
    /// What `train` did not read and `evaluate` uses, as the store describes it.
    pub held_out: Value,
    /// Whether rows of special tokens were trained on.
    pub keep_special: bool,
    /// Seed of the order of rows.
    pub order_seed: u64,
    /// Memory that rows were shuffled in; decides the order where the store is larger.
    pub shuffle_bytes: u64,
    /// Training rows of one epoch.
    pub rows_per_epoch: u64,
    /// Manifest of the capture, where the rows came from one.
    pub capture: Option<CaptureManifest>,
}

/// `training.json`: everything that decided the result, and what came of it. No clock, host or path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Version of the tool.
    pub tool_version: String,
    /// The plan.
    pub plan: TrainPlan,
    /// The data.
    pub data: DataProvenance,
    /// What rows were multiplied by in training; already folded into the weights.
    pub scale: f32,
    /// The last step's figures, without the clock.
    pub last_step: Value,
}

/// The dictionary in units of the raw activations. With rows `z = s x` in training, `f' = f / s` decodes to
/// `x_hat = f' W_dec + b_dec / s`, and `f' = top-k(W_enc (x - b_dec / s) + b_enc / s)`: both biases are divided by `s`,
/// the matrices stay, decoder rows stay unit.
///
/// # Errors
/// When the parts do not fit together, which would be a defect of this crate.
pub fn folded(state: &TrainState, scale: &DataScale, metadata: SaeMetadata) -> Result<Sae, TrainError> {
    let divided = |values: &[f32]| values.iter().map(|v| v / scale.factor).collect();
    let parts = Parts {
        w_enc: state.w_enc.value.clone(),
        b_enc: divided(&state.b_enc.value),
        w_dec: state.w_dec.value.clone(),
        b_dec: divided(&state.b_dec.value),
        activation: Activation::TopK { k: state.k },
    };
    let config = SaeConfig {
        d_in: state.d_in,
        d_sae: state.d_sae,
        dtype: "float32".to_owned(),
        device: "cpu".to_owned(),
        apply_b_dec_to_input: true,
        normalize_activations: "none".to_owned(),
        reshape_activations: "none".to_owned(),
        architecture: "topk".to_owned(),
        k: Some(state.k),
        rescale_acts_by_decoder_norm: Some(false),
        metadata,
    };
    Ok(Sae::new(config, parts)?)
}

/// What `cfg.json` says about where the dictionary belongs.
pub fn metadata(data: &DataProvenance) -> SaeMetadata {
    let mut other = Map::new();
    other.insert("untangle_version".to_owned(), TOOL_VERSION.into());
    // Without a version of at least 6, SAELens takes the file for an older form and drops all metadata.
    other.insert("sae_lens_version".to_owned(), SAELENS_FORM.into());
    let capture = data.capture.as_ref();
    if let Some(capture) = capture {
        other.insert("model_weights_sha256".to_owned(), capture.model.weights_sha256.clone().into());
        other.insert("model_class_name".to_owned(), "HookedTransformer".into());
    }
    SaeMetadata {
        model_name: capture.map(|c| c.model.name.clone()),
        hook_name: Some(data.column.clone()),
        context_size: capture.map(|c| c.context),
        prepend_bos: capture.map(|c| c.bos_token.is_some()),
        other,
    }
}

/// Writes the finished dictionary's files into `dir`.
///
/// # Errors
/// When writing fails.
pub(crate) fn write(
    state: &TrainState,
    scale: &DataScale,
    plan: &TrainPlan,
    data: &DataProvenance,
    last: &Record,
    dir: &Path,
) -> Result<Sae, TrainError> {
    let sae = folded(state, scale, metadata(data))?;
    sae.save(dir)?;
    let mut last_step = serde_json::to_value(last).unwrap_or_default();
    if let Some(fields) = last_step.as_object_mut() {
        fields.remove("seconds");
    }
    let record = TrainingRecord {
        tool_version: TOOL_VERSION.to_owned(),
        plan: plan.clone(),
        data: data.clone(),
        scale: scale.factor,
        last_step,
    };
    let path = dir.join(files::TRAINING);
    let mut text =
        serde_json::to_string_pretty(&record).map_err(|e| TrainError::Io { path: path.clone(), source: e.into() })?;
    text.push('\n');
    durable::replace(&path, text.as_bytes())?;
    Ok(sae)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::initial;
    use untangle_sae::{Codes, Precision};

    #[test]
    fn folding_the_scale_changes_units_and_nothing_else() {
        let mut state = initial(6, 12, 3, 1, &[0.3; 6], Precision::F32);
        state.b_enc.value.iter_mut().zip([0.2f32, -0.1, 0.05].into_iter().cycle()).for_each(|(b, v)| *b = v);
        // A power of two, so that the two ways round alike.
        let factor = 0.25;
        let dictionary = |factor| {
            let scale = DataScale { factor, mean: vec![0.0; 6], spread: vec![1.0; 6], variance: 1.0 };
            folded(&state, &scale, SaeMetadata::default()).expect("the parts fit")
        };
        let x: Vec<f32> = (0..60).map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0).collect();
        let z: Vec<f32> = x.iter().map(|x| factor * x).collect();
        let run = |sae: Sae, rows: &[f32]| {
            let (mut codes, mut out) = (Codes::new(), vec![0f32; rows.len()]);
            sae.encode(rows, &mut codes).expect("rows fit");
            sae.decode(&codes, &mut out).expect("rows fit");
            (codes, out)
        };
        let ((raw, x_hat), (normalised, z_hat)) = (run(dictionary(factor), &x), run(dictionary(1.0), &z));
        assert_eq!(raw.features(), normalised.features());
        assert!(raw.nnz() > 20);
        assert!(raw.activations().iter().zip(normalised.activations()).all(|(raw, z)| raw * factor == *z));
        assert!(x_hat.iter().zip(&z_hat).all(|(x, z)| x * factor == *z));
    }
}
