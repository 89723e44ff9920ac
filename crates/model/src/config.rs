//! What a decoder can be: the sizes and choices by which one model differs from another.

use crate::error::ModelError;
use std::path::Path;

/// One decoder-only transformer, described completely. [`ModelConfig::from_json`] reads it from `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Whose names the weights have.
    pub family: Family,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of the MLP's hidden layer.
    pub d_mlp: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Largest number of positions.
    pub max_context: usize,
    /// Attention's sizes and biases.
    pub attention: AttentionConfig,
    /// The norm before attention, before the MLP, and at the end.
    pub norm: NormConfig,
    /// How positions enter.
    pub positions: Positions,
    /// The MLP's form.
    pub mlp: MlpConfig,
    /// Whether the unembedding is the token embedding.
    pub tied_unembedding: bool,
    /// Beginning-of-sequence token that `config.json` names.
    pub bos_token: Option<u32>,
    /// End-of-sequence tokens that `config.json` names.
    pub eos_tokens: Vec<u32>,
}

/// A family of models whose configuration and weights have common names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// GPT-2 (Radford et al. 2019).
    Gpt2,
    /// Llama 1 to 3 (Touvron et al., arXiv 2302.13971), and models of their form.
    Llama,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 2] = [Family::Gpt2, Family::Llama];

    /// `model_type` in `config.json`.
    pub const fn model_type(self) -> &'static str {
        match self {
            Family::Gpt2 => "gpt2",
            Family::Llama => "llama",
        }
    }
}

/// Attention's sizes and biases.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; query heads share them in groups of `n_heads / n_kv_heads`.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Factor on the scores, usually d_head^(-1/2).
    pub scale: f64,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub out_bias: bool,
}

/// A norm over `d_model`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConfig {
    /// Which norm.
    pub kind: NormKind,
    /// Added to the variance or the mean square.
    pub eps: f64,
}

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// (x - mean) / sqrt(var + eps) * w + b.
    LayerNorm,
    /// x / sqrt(mean(x^2) + eps) * w.
    RmsNorm,
}

/// How positions enter the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Positions {
    /// A learned embedding, added to the token embedding.
    Learned,
    /// Queries and keys are rotated by angles proportional to the position.
    Rotary(Rotary),
}

/// The angles of a rotary embedding: pair i of a head turns by position * theta^(-2i/d_head).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// Base of the frequencies.
    pub theta: f64,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RotaryScaling,
}

/// Stretching of rotary frequencies (`rope_scaling` of `config.json`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RotaryScaling {
    /// None.
    Unscaled,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3: long wavelengths divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        /// The divisor of long wavelengths.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are long.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are short.
        high_freq_factor: f64,
        /// Context before the stretching.
        original_context: f64,
    },
}

/// The MLP's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MlpConfig {
    /// Whether act(gate) multiplies a second projection; else act(up) alone goes down.
    pub gated: bool,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether the projections have biases.
    pub bias: bool,
}

/// A non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x * Phi(x), exact.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// x * sigmoid(x).
    Silu,
    /// max(x, 0).
    Relu,
}

/// Largest accepted value of any width or count. A header beyond it is damaged: the largest public models stay two
/// orders of magnitude below.
const MAX_SIZE: usize = 1 << 24;
/// Largest accepted number of blocks.
const MAX_LAYERS: usize = 1 << 12;

impl ModelConfig {
    /// Checks every relation between the fields. `path` is the file that errors name.
    ///
    /// # Errors
    /// [`ModelError::Field`] on the first field that is out of range, zero, or does not fit another.
    pub fn validate(&self, path: &Path) -> Result<(), ModelError> {
        let a = &self.attention;
        let sizes = [
            ("number of layers", self.n_layers, MAX_LAYERS),
            ("model width", self.d_model, MAX_SIZE),
            ("MLP width", self.d_mlp, MAX_SIZE),
            ("vocabulary size", self.vocab_size, MAX_SIZE),
            ("context length", self.max_context, 1 << 31),
            ("number of attention heads", a.n_heads, 1 << 16),
            ("number of key-value heads", a.n_kv_heads, 1 << 16),
            ("head width", a.d_head, 1 << 16),
        ];
        for (field, value, max) in sizes {
            check(path, (1..=max).contains(&value), field, value, || format!("1 to {max}"))?;
        }
        check(path, a.n_heads.is_multiple_of(a.n_kv_heads), "number of key-value heads", a.n_kv_heads, || {
            format!("a divisor of the {} attention heads", a.n_heads)
        })?;
        check(path, a.scale.is_finite() && a.scale > 0.0, "attention scale", a.scale, positive)?;
        let eps = self.norm.eps;
        check(path, eps.is_finite() && eps > 0.0, "epsilon of the norm", eps, positive)?;
        self.validate_positions(path)?;
        for id in self.bos_token.iter().chain(&self.eos_tokens) {
            check(path, (*id as usize) < self.vocab_size, "bos_token_id or eos_token_id", id, || {
                format!("ids below the vocabulary size {}", self.vocab_size)
            })?;
        }
        Ok(())
    }

    fn validate_positions(&self, path: &Path) -> Result<(), ModelError> {
        let Positions::Rotary(rotary) = self.positions else { return Ok(()) };
        let d_head = self.attention.d_head;
        check(path, d_head.is_multiple_of(2), "head width", d_head, || "an even number, for rotary positions".into())?;
        let theta_is_base = rotary.theta.is_finite() && rotary.theta > 1.0;
        check(path, theta_is_base, "rope_theta", rotary.theta, || "numbers above 1".into())?;
        let (factors, ordered) = match rotary.scaling {
            RotaryScaling::Unscaled => (vec![], true),
            RotaryScaling::Linear { factor } => (vec![factor], true),
            RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                (vec![factor, low_freq_factor, high_freq_factor, original_context], low_freq_factor < high_freq_factor)
            }
        };
        for factor in factors {
            check(path, factor.is_finite() && factor > 0.0, "factor of rope_scaling", factor, positive)?;
        }
        check(path, ordered, "high_freq_factor of rope_scaling", "too low", || "numbers above low_freq_factor".into())
    }
}

fn positive() -> String {
    "positive numbers".into()
}

fn check(
    path: &Path,
    holds: bool,
    field: &str,
    found: impl ToString,
    supported: impl FnOnce() -> String,
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    Err(ModelError::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        found: found.to_string(),
        supported: supported(),
    })
}
