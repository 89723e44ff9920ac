//! `cfg.json` of a crosscoder: Untangle's own form, which SAELens refuses because it knows no such architecture.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What `architecture` says of a crosscoder.
pub const CROSSCODER: &str = "crosscoder";

/// One of the activations that a crosscoder reads and reconstructs together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrosscoderPart {
    /// The model's name.
    pub model_name: Option<String>,
    /// SHA-256 of the model's weights, in hexadecimal.
    pub model_weights_sha256: Option<String>,
    /// The hook point, TransformerLens form, or the name of a matrix.
    pub hook_name: String,
    /// What these activations were multiplied by in training, so that all parts are equally large; already folded into the
    /// tensors. Norms of decoder rows are compared between parts after multiplying by it.
    pub scale: f32,
}

/// The configuration of a crosscoder of M parts. Beside it lie, in f32, `W_enc [M, d_in, d_sae]`, `b_enc [d_sae]`,
/// `W_dec [d_sae, M, d_in]`, `b_dec [M, d_in]` and `threshold [d_sae]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrosscoderConfig {
    /// [`CROSSCODER`].
    pub architecture: String,
    /// Width of every part.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Element type of the tensors on file.
    pub dtype: String,
    /// The parts, in the order of the tensors.
    pub parts: Vec<CrosscoderPart>,
    /// Everything else.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}
