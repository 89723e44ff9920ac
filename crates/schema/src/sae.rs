//! `cfg.json` of a dictionary, in SAELens' v6 form, so that SAELens loads the directory unmodified.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// File names of a dictionary's directory.
pub mod files {
    /// The configuration, [`SaeConfig`](super::SaeConfig).
    pub const CONFIG: &str = "cfg.json";
    /// The tensors.
    pub const WEIGHTS: &str = "sae_weights.safetensors";
    /// What the training run decided and what came of it.
    pub const TRAINING: &str = "training.json";
    /// One JSON object per logged step.
    pub const METRICS: &str = "metrics.jsonl";
    /// The same for TensorBoard, which looks for `tfevents` in names.
    pub const EVENTS: &str = "events.out.tfevents.untangle";
    /// In a grid's folder: the names of its dictionaries, and the version of the tool.
    pub const GRID: &str = "grid.json";
    /// A page that shows how the training went.
    pub const REPORT: &str = "report.html";
}

/// Names of the tensors, as SAELens writes them.
pub mod tensors {
    /// `[d_in, d_sae]`
    pub const W_ENC: &str = "W_enc";
    /// `[d_sae, d_in]`; `[d_sae, d_out]` of transcoders
    pub const W_DEC: &str = "W_dec";
    /// `[d_sae]`
    pub const B_ENC: &str = "b_enc";
    /// `[d_in]`; `[d_out]` of transcoders
    pub const B_DEC: &str = "b_dec";
    /// `[d_sae]`, of `jumprelu`
    pub const THRESHOLD: &str = "threshold";
    /// `[d_sae]`, of `gated`
    pub const B_GATE: &str = "b_gate";
    /// `[d_sae]`, of `gated`
    pub const B_MAG: &str = "b_mag";
    /// `[d_sae]`, of `gated`
    pub const R_MAG: &str = "r_mag";
    /// `[d_out, d_in]`, of transcoders with a skip connection
    pub const W_SKIP: &str = "W_skip";
    /// `[d_sae]`, the logarithm of `threshold`, of training states of `jumprelu`
    pub const LOG_THRESHOLD: &str = "log_threshold";
    /// `[d_sae]`, what activations are multiplied by before they are decoded, of dictionaries that were finetuned
    pub const FINETUNING: &str = "finetuning_scaling_factor";
    /// The same in older files.
    pub const SCALING: &str = "scaling_factor";
}

fn default_true() -> bool {
    true
}

fn default_dtype() -> String {
    "float32".to_owned()
}

fn default_device() -> String {
    "cpu".to_owned()
}

fn default_none() -> String {
    "none".to_owned()
}

/// The configuration of a dictionary for inference (SAELens `SAEConfig.to_dict`, version 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaeConfig {
    /// Width of the activations.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Width of what a transcoder predicts; none of autoencoders, which predict what they read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_out: Option<usize>,
    /// Element type of the tensors on file.
    #[serde(default = "default_dtype")]
    pub dtype: String,
    /// Device that SAELens loads to.
    #[serde(default = "default_device")]
    pub device: String,
    /// Whether `b_dec` is subtracted before encoding; absent means yes, as in SAELens. Never of transcoders, whose `b_dec`
    /// belongs elsewhere.
    #[serde(default = "default_true")]
    pub apply_b_dec_to_input: bool,
    /// `none` in everything that Untangle writes: scaling is folded into the weights. `layer_norm` and
    /// `constant_norm_rescale` are done to every row on its own.
    #[serde(default = "default_none")]
    pub normalize_activations: String,
    /// `none`, or `hook_z` where heads are flattened.
    #[serde(default = "default_none")]
    pub reshape_activations: String,
    /// `standard`, `topk`, `jumprelu`, `gated`, `jumprelu_transcoder`, …
    pub architecture: String,
    /// Active features per row, of `topk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Whether `topk` ranks by activation times decoder norm; false in everything that Untangle writes, where
    /// decoder rows are unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescale_acts_by_decoder_norm: Option<bool>,
    /// Where the dictionary belongs.
    #[serde(default)]
    pub metadata: SaeMetadata,
}

impl SaeConfig {
    /// The configuration of a dictionary that another tool wrote, in which nothing is done to its rows; what an architecture
    /// has beside its sizes is added by whoever reads it.
    pub fn of_another_tool(architecture: &str, d_in: usize, d_sae: usize, mut metadata: SaeMetadata) -> Self {
        // The form in which it is written here.
        metadata.other.insert("sae_lens_version".to_owned(), Value::from("6.0.0"));
        SaeConfig {
            d_in,
            d_sae,
            d_out: None,
            dtype: default_dtype(),
            device: default_device(),
            apply_b_dec_to_input: false,
            normalize_activations: default_none(),
            reshape_activations: default_none(),
            architecture: architecture.to_owned(),
            k: None,
            rescale_acts_by_decoder_norm: None,
            metadata,
        }
    }
}

/// Where a dictionary belongs. Keys that Untangle does not know are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SaeMetadata {
    /// The model's name.
    #[serde(default)]
    pub model_name: Option<String>,
    /// The hook point, TransformerLens form.
    #[serde(default)]
    pub hook_name: Option<String>,
    /// The hook point that a transcoder predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_name_out: Option<String>,
    /// Tokens per context in training.
    #[serde(default)]
    pub context_size: Option<usize>,
    /// Whether contexts began with a beginning-of-sequence token.
    #[serde(default)]
    pub prepend_bos: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saelens_v6_configuration_is_read_and_unknown_metadata_is_kept() {
        let text = r#"{"d_in": 4, "d_sae": 8, "k": 2, "dtype": "float32", "device": "cpu", "architecture": "topk",
            "metadata": {"hook_name": "blocks.1.hook_resid_post", "sae_lens_version": "6.37.6"}}"#;
        let config: SaeConfig = serde_json::from_str(text).expect("valid");
        assert!(config.apply_b_dec_to_input);
        assert_eq!(config.k, Some(2));
        assert_eq!(config.metadata.other["sae_lens_version"], "6.37.6");
        let again: SaeConfig = serde_json::from_str(&serde_json::to_string(&config).expect("json")).expect("valid");
        assert_eq!(again, config);
    }
}
