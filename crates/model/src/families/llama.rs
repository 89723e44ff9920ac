//! `config.json` of Llama and the families that took over its fields: RMSNorm, rotary positions, a gated MLP.

use crate::config::{
    Activation, AttentionConfig, Family, MlpConfig, ModelConfig, NormConfig, NormKind, NormPlaces, Positions, QkNorm,
    Windows,
};
use crate::error::ModelError;
use crate::families::rotary::{Angles, rotary};
use crate::families::shared::{activation, head_width, token_ids, window_size, windows};
use crate::fields::Fields;
use crate::validate::{MAX_CONTEXT, MAX_HEAD, MAX_LAYERS, MAX_SIZE};
use serde_json::{Value, json};

/// The defaults in which the classes of families with Llama's fields differ.
struct Defaults {
    family: Family,
    max_context: usize,
    eps: f64,
    /// None: the model width over the heads.
    d_head: Option<usize>,
    /// None: as many as query heads.
    n_kv_heads: Option<usize>,
    /// Field of the non-linearity, and its default.
    activation: (&'static str, &'static str),
    tied: bool,
    angles: Angles,
}

impl Defaults {
    const LLAMA: Defaults = Defaults {
        family: Family::Llama,
        max_context: 2048,
        eps: 1e-6,
        d_head: None,
        n_kv_heads: None,
        activation: ("hidden_act", "silu"),
        tied: false,
        angles: Angles::LLAMA,
    };

    /// A Llama of these fields: RMSNorm before, rotary positions, gated MLP, biases only where `attention_bias` and `mlp_bias`
    /// say so.
    fn read(&self, fields: &Fields) -> Result<ModelConfig, ModelError> {
        let d_model = fields.size("hidden_size", MAX_SIZE)?;
        let n_heads = fields.size("num_attention_heads", MAX_HEAD)?;
        let d_head = match fields.size_or_none("head_dim", MAX_HEAD)?.or(self.d_head) {
            Some(d_head) => d_head,
            None => head_width(fields, d_model, "num_attention_heads", n_heads)?,
        };
        let max_context = fields.size_or("max_position_embeddings", MAX_CONTEXT, self.max_context)?;
        let attention_bias = fields.bool_or("attention_bias", false)?;
        let vocab_size = fields.size("vocab_size", MAX_SIZE)?;
        let (activation_field, default) = self.activation;
        let activation = activation(fields, activation_field, default)?;
        let eps = fields.positive_or("rms_norm_eps", self.eps)?;
        Ok(ModelConfig {
            family: self.family,
            n_layers: fields.size("num_hidden_layers", MAX_LAYERS)?,
            d_model,
            d_mlp: fields.size("intermediate_size", MAX_SIZE)?,
            vocab_size,
            max_context,
            attention: AttentionConfig {
                n_heads,
                n_kv_heads: self.kv_heads(fields, n_heads)?,
                d_head,
                scale: (d_head as f64).powf(-0.5),
                scale_by_depth: false,
                qkv_bias: attention_bias,
                out_bias: attention_bias,
                qk_norm: None,
                softcap: None,
            },
            windows: None,
            norm: NormConfig::plain(NormKind::RmsNorm, eps),
            norm_places: NormPlaces::Before,
            parallel: false,
            positions: Positions::Rotary(rotary(fields, &self.angles, d_head, max_context)?),
            mlp: MlpConfig { gated: true, activation, bias: fields.bool_or("mlp_bias", false)? },
            embed_scale: None,
            logit_softcap: None,
            tied_unembedding: fields.bool_or("tie_word_embeddings", self.tied)?,
            bos_token: token_ids(fields, "bos_token_id", vocab_size)?.first().copied(),
            eos_tokens: token_ids(fields, "eos_token_id", vocab_size)?,
        })
    }

    /// Null stands for as many as query heads in every class; absent for the class's default.
    fn kv_heads(&self, fields: &Fields, n_heads: usize) -> Result<usize, ModelError> {
        const FIELD: &str = "num_key_value_heads";
        let absent = self.n_kv_heads.filter(|_| !fields.has(FIELD)).unwrap_or(n_heads);
        let n_kv_heads = fields.size_or(FIELD, MAX_HEAD, absent)?;
        let fits = n_heads.is_multiple_of(n_kv_heads);
        fits.then_some(n_kv_heads).ok_or_else(|| fields.refuse(FIELD, format!("a divisor of the {n_heads} heads")))
    }
}

pub(super) fn llama(fields: &Fields) -> Result<ModelConfig, ModelError> {
    Defaults::LLAMA.read(fields)
}

pub(super) fn mistral(fields: &Fields) -> Result<ModelConfig, ModelError> {
    fields.only("attention_bias", json!(false))?;
    fields.only("layer_types", Value::Null)?;
    let form = Defaults { family: Family::Mistral, max_context: 4096 * 32, n_kv_heads: Some(8), ..Defaults::LLAMA };
    let base = form.read(fields)?;
    let size = window_size(fields, Some(4096))?;
    Ok(ModelConfig { windows: windows(fields, base.n_layers, size, |_| true)?, ..base })
}

pub(super) fn qwen2(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let form = Defaults { family: Family::Qwen2, max_context: 32_768, n_kv_heads: Some(32), ..Defaults::LLAMA };
    let base = form.read(fields)?;
    let attention = AttentionConfig { qkv_bias: true, out_bias: false, ..base.attention };
    Ok(ModelConfig { windows: qwen_windows(fields, base.n_layers)?, attention, ..base })
}

pub(super) fn qwen3(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let d_head = Some(128);
    let form = Defaults { family: Family::Qwen3, max_context: 32_768, n_kv_heads: Some(32), d_head, ..Defaults::LLAMA };
    let base = form.read(fields)?;
    let attention = AttentionConfig { qk_norm: Some(QkNorm::PerHead), ..base.attention };
    Ok(ModelConfig { windows: qwen_windows(fields, base.n_layers)?, attention, ..base })
}

/// Upper blocks have windows, where `use_sliding_window` says so.
fn qwen_windows(fields: &Fields, n_layers: usize) -> Result<Option<Windows>, ModelError> {
    let used = fields.bool_or("use_sliding_window", false)?;
    let size = window_size(fields, Some(4096))?.filter(|_| used);
    let first = match fields.get("max_window_layers") {
        None => 28,
        Some(value) => value.as_u64().ok_or_else(|| fields.refuse("max_window_layers", "a whole number"))?,
    };
    windows(fields, n_layers, size, |layer| layer as u64 >= first)
}

pub(super) fn gemma(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let form = Defaults { family: Family::Gemma, n_kv_heads: Some(16), ..GEMMA };
    let mut config = as_gemma(form.read(fields)?);
    // The first checkpoints say `gelu` and mean the approximation that they were trained with.
    if config.mlp.activation == Activation::Gelu {
        config.mlp.activation = Activation::GeluTanh;
    }
    Ok(config)
}

/// What the Gemma classes have in common.
const GEMMA: Defaults = Defaults {
    max_context: 8192,
    d_head: Some(256),
    activation: ("hidden_act", "gelu_pytorch_tanh"),
    tied: true,
    ..Defaults::LLAMA
};

/// Embeddings scaled by sqrt(d_model), and norms with weights learned as a distance from 1.
fn as_gemma(base: ModelConfig) -> ModelConfig {
    let norm = NormConfig { offset: 1.0, scale_in_f32: true, ..base.norm };
    ModelConfig { embed_scale: Some((base.d_model as f64).sqrt()), norm, ..base }
}

pub(super) fn gemma2(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let activation = ("hidden_activation", "gelu_pytorch_tanh");
    let form = Defaults { family: Family::Gemma2, n_kv_heads: Some(4), activation, ..GEMMA };
    let base = as_gemma(form.read(fields)?);
    let attention = AttentionConfig {
        scale: fields.positive_or("query_pre_attn_scalar", 256.0)?.powf(-0.5),
        softcap: fields.positive_or_null("attn_logit_softcapping", Some(50.0))?,
        ..base.attention
    };
    Ok(ModelConfig {
        attention,
        windows: windows(fields, base.n_layers, window_size(fields, Some(4096))?, |layer| layer % 2 == 0)?,
        norm_places: NormPlaces::Around,
        logit_softcap: fields.positive_or_null("final_logit_softcapping", Some(30.0))?,
        ..base
    })
}

pub(super) fn gemma3(fields: &Fields) -> Result<ModelConfig, ModelError> {
    fields.only("attn_logit_softcapping", Value::Null)?; // the class has the field and its attention does not use it
    let activation = ("hidden_activation", "gelu_pytorch_tanh");
    let form = Defaults {
        family: Family::Gemma3,
        max_context: 131_072,
        n_kv_heads: Some(4),
        activation,
        angles: Angles::GEMMA3_GLOBAL,
        ..GEMMA
    };
    let base = as_gemma(form.read(fields)?);
    let local = rotary(fields, &Angles::GEMMA3_LOCAL, base.attention.d_head, base.max_context)?;
    let attention = AttentionConfig {
        scale: fields.positive_or("query_pre_attn_scalar", 256.0)?.powf(-0.5),
        qk_norm: Some(QkNorm::PerHead),
        ..base.attention
    };
    let every = fields.size_or("sliding_window_pattern", MAX_LAYERS, 6)?;
    let size = window_size(fields, Some(4096))?;
    let windows = windows(fields, base.n_layers, size, |layer| !(layer + 1).is_multiple_of(every))?;
    Ok(ModelConfig {
        attention,
        windows: windows.map(|windows| Windows { rotary: Some(local), ..windows }),
        norm_places: NormPlaces::Around,
        logit_softcap: fields.positive_or_null("final_logit_softcapping", None)?,
        ..base
    })
}

pub(super) fn olmo2(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let base = Defaults { family: Family::Olmo2, eps: 1e-5, ..Defaults::LLAMA }.read(fields)?;
    Ok(ModelConfig {
        attention: AttentionConfig { qk_norm: Some(QkNorm::WholeProjection), ..base.attention },
        norm: NormConfig { scale_in_f32: true, ..base.norm },
        norm_places: NormPlaces::After,
        ..base
    })
}

/// The projections are fused in the checkpoint; LongRoPE in the models of long context.
pub(super) fn phi3(fields: &Fields) -> Result<ModelConfig, ModelError> {
    fields.only("attention_bias", json!(false))?;
    fields.only("layer_types", Value::Null)?;
    let form = Defaults { family: Family::Phi3, max_context: 4096, eps: 1e-5, angles: Angles::PHI3, ..Defaults::LLAMA };
    let base = form.read(fields)?;
    let size = window_size(fields, None)?;
    Ok(ModelConfig { windows: windows(fields, base.n_layers, size, |_| true)?, ..base })
}
