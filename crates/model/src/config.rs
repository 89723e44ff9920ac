//! What a decoder can be: the sizes and choices by which one model differs from another.

use untangle_schema::{HookPoint, Site};

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
    /// The blocks whose queries see only the nearest keys; none where all see all.
    pub windows: Option<Windows>,
    /// The norms of the blocks and the one at the end.
    pub norm: NormConfig,
    /// Where a block's norms stand.
    pub norm_places: NormPlaces,
    /// Whether attention and MLP both read the stream that enters the block; else the MLP reads what attention wrote.
    pub parallel: bool,
    /// How positions enter.
    pub positions: Positions,
    /// The MLP's form.
    pub mlp: MlpConfig,
    /// Factor on the token embeddings, rounded to the kind of the activations.
    pub embed_scale: Option<f64>,
    /// Logits are capped softly: cap * tanh(logit / cap).
    pub logit_softcap: Option<f64>,
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
    /// GPT-NeoX (Black et al., arXiv 2204.06745) and Pythia (Biderman et al., arXiv 2304.01373).
    GptNeox,
    /// Llama 1 to 3 (Touvron et al., arXiv 2302.13971), and models of their form.
    Llama,
    /// Mistral (Jiang et al., arXiv 2310.06825).
    Mistral,
    /// Qwen 2 and 2.5 (Yang et al., arXiv 2407.10671).
    Qwen2,
    /// Qwen 3 (Yang et al., arXiv 2505.09388), the dense models.
    Qwen3,
    /// Gemma (Gemma Team, arXiv 2403.08295).
    Gemma,
    /// Gemma 2 (Gemma Team, arXiv 2408.00118).
    Gemma2,
    /// Gemma 3 (Gemma Team, arXiv 2503.19786), the text models.
    Gemma3,
    /// OLMo 2 (OLMo Team, arXiv 2501.00656).
    Olmo2,
    /// Phi-3 (Abdin et al., arXiv 2404.14219).
    Phi3,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 11] = [
        Family::Gpt2,
        Family::GptNeox,
        Family::Llama,
        Family::Mistral,
        Family::Qwen2,
        Family::Qwen3,
        Family::Gemma,
        Family::Gemma2,
        Family::Gemma3,
        Family::Olmo2,
        Family::Phi3,
    ];

    /// `model_type` in `config.json`.
    pub const fn model_type(self) -> &'static str {
        match self {
            Family::Gpt2 => "gpt2",
            Family::GptNeox => "gpt_neox",
            Family::Llama => "llama",
            Family::Mistral => "mistral",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Gemma => "gemma",
            Family::Gemma2 => "gemma2",
            Family::Gemma3 => "gemma3_text",
            Family::Olmo2 => "olmo2",
            Family::Phi3 => "phi3",
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
    /// Whether the scores of block i, counted from 1, are also divided by i.
    pub scale_by_depth: bool,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub out_bias: bool,
    /// The norm on queries and keys, before positions enter.
    pub qk_norm: Option<QkNorm>,
    /// Scores are capped softly before the mask: cap * tanh(score / cap).
    pub softcap: Option<f64>,
}

impl AttentionConfig {
    /// Factor on the scores of block `layer`.
    pub fn scale_in(&self, layer: usize) -> f64 {
        if self.scale_by_depth { self.scale / (layer + 1) as f64 } else { self.scale }
    }
}

/// What a norm on queries and keys runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// Every head by itself, all with the same weight `[d_head]`.
    PerHead,
    /// All heads together, with a weight `[n_heads * d_head]`.
    WholeProjection,
}

/// Blocks whose queries see only the nearest keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Keys that a query sees, its own included.
    pub size: usize,
    /// Which blocks; one entry for each.
    pub layers: Vec<bool>,
    /// The rotary angles of these blocks, where they differ from the others'.
    pub rotary: Option<Rotary>,
}

impl Windows {
    /// Whether block `layer` has a window.
    pub fn covers(&self, layer: usize) -> bool {
        self.layers.get(layer) == Some(&true)
    }
}

/// The form of a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConfig {
    /// Which norm.
    pub kind: NormKind,
    /// Added to the variance or the mean square.
    pub eps: f64,
    /// Added to the weight before it multiplies: 1 where the weight is learned as a distance from 1, else 0.
    pub offset: f64,
    /// Whether an RMSNorm's weight multiplies in f32, before the result is rounded to the kind of the activations.
    pub scale_in_f32: bool,
}

impl NormConfig {
    /// A norm whose weight multiplies as it is.
    pub const fn plain(kind: NormKind, eps: f64) -> Self {
        Self { kind, eps, offset: 0.0, scale_in_f32: false }
    }
}

/// Where a block's norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlaces {
    /// On what attention and MLP read.
    Before,
    /// On what they write, before it is added to the stream.
    After,
    /// On both.
    Around,
}

impl NormPlaces {
    /// Whether there is one on what is read.
    pub fn before(self) -> bool {
        self != NormPlaces::After
    }

    /// Whether there is one on what is written.
    pub fn after(self) -> bool {
        self != NormPlaces::Before
    }
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
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A learned embedding, added to the token embedding.
    Learned,
    /// Queries and keys are rotated by angles proportional to the position.
    Rotary(Rotary),
}

/// The angles of a rotary embedding: pair i of a head turns by position * theta^(-2i/d_rotary).
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Base of the frequencies.
    pub theta: f64,
    /// Leading coordinates of a head that turn, an odd number rounded up to a pair; the rest stays as it is.
    pub d_rotary: usize,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RotaryScaling,
}

impl Rotary {
    /// Pairs of coordinates that turn.
    pub fn n_pairs(&self) -> usize {
        self.d_rotary.div_ceil(2)
    }
}

/// Stretching of rotary frequencies (`rope_scaling` of `config.json`).
#[derive(Clone, Debug, PartialEq)]
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
    /// LongRoPE: every pair's frequency has its own divisor, in texts beyond `original_context` another one.
    Long {
        /// Divisors for texts of at most `original_context` tokens, one per pair.
        short: Vec<f64>,
        /// Divisors for longer texts, one per pair.
        long: Vec<f64>,
        /// Context before the stretching, in tokens.
        original_context: usize,
        /// Factor on cosines and sines.
        amplitude: f64,
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

impl ModelConfig {
    /// All hook points of such a model, in the order of the pass.
    pub fn hook_points(&self) -> Vec<HookPoint> {
        let has = |point: &HookPoint| match point {
            HookPoint::Block { site, .. } => self.has(*site),
            HookPoint::Embed | HookPoint::FinalScale | HookPoint::FinalNormalized => true,
        };
        HookPoint::all(self.n_layers).into_iter().filter(has).collect()
    }

    /// Whether the blocks have this site.
    pub(crate) fn has(&self, site: Site) -> bool {
        match site {
            Site::ResidMid => !self.parallel,
            Site::Ln1Scale | Site::Ln1Normalized | Site::Ln2Scale | Site::Ln2Normalized => self.norm_places.before(),
            _ => true,
        }
    }

    /// Tokens beyond which all of a text's angles are others (LongRoPE); none where angles do not depend on the length.
    pub(crate) fn long_text_border(&self) -> Option<usize> {
        match &self.positions {
            Positions::Rotary(Rotary { scaling: RotaryScaling::Long { original_context, .. }, .. }) => {
                Some(*original_context)
            }
            _ => None,
        }
    }
}
