//! `config.json` of GPT-2 and GPT-NeoX: LayerNorm, biases everywhere, a plain MLP.

use crate::config::{AttentionConfig, Family, MlpConfig, ModelConfig, NormConfig, NormKind, NormPlaces, Positions};
use crate::error::ModelError;
use crate::families::rotary::{Angles, rotary};
use crate::families::shared::{activation, head_width, token_ids};
use crate::fields::Fields;
use crate::validate::{MAX_CONTEXT, MAX_HEAD, MAX_LAYERS, MAX_SIZE};

pub(super) fn gpt2(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let d_model = fields.size("n_embd", MAX_SIZE)?;
    let n_heads = fields.size("n_head", MAX_HEAD)?;
    let d_head = head_width(fields, d_model, "n_head", n_heads)?;
    let scaled = fields.bool_or("scale_attn_weights", true)?;
    let vocab_size = fields.size("vocab_size", MAX_SIZE)?;
    let eps = fields.positive_or("layer_norm_epsilon", 1e-5)?;
    Ok(ModelConfig {
        family: Family::Gpt2,
        n_layers: fields.size("n_layer", MAX_LAYERS)?,
        d_model,
        d_mlp: fields.size_or("n_inner", MAX_SIZE, d_model.saturating_mul(4))?,
        vocab_size,
        max_context: fields.size_or("n_positions", MAX_CONTEXT, 1024)?,
        attention: AttentionConfig {
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            scale: if scaled { (d_head as f64).powf(-0.5) } else { 1.0 },
            // `reorder_and_upcast_attn` beside it says in which arithmetic scores are computed, and changes no formula.
            scale_by_depth: fields.bool_or("scale_attn_by_inverse_layer_idx", false)?,
            qkv_bias: true,
            out_bias: true,
            qk_norm: None,
            softcap: None,
        },
        windows: None,
        norm: NormConfig::plain(NormKind::LayerNorm, eps),
        norm_places: NormPlaces::Before,
        parallel: false,
        positions: Positions::Learned,
        mlp: MlpConfig { gated: false, activation: activation(fields, "activation_function", "gelu_new")?, bias: true },
        embed_scale: None,
        logit_softcap: None,
        tied_unembedding: fields.bool_or("tie_word_embeddings", true)?,
        bos_token: token_ids(fields, "bos_token_id", vocab_size)?.first().copied(),
        eos_tokens: token_ids(fields, "eos_token_id", vocab_size)?,
    })
}

/// Rotary on a part of each head, and attention and MLP side by side.
pub(super) fn gpt_neox(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let d_model = fields.size("hidden_size", MAX_SIZE)?;
    let n_heads = fields.size("num_attention_heads", MAX_HEAD)?;
    let d_head = head_width(fields, d_model, "num_attention_heads", n_heads)?;
    let max_context = fields.size_or("max_position_embeddings", MAX_CONTEXT, 2048)?;
    let angles = Angles { theta_field: "rotary_emb_base", share: Some(("rotary_pct", 0.25)), ..Angles::LLAMA };
    let attention_bias = fields.bool_or("attention_bias", true)?;
    let vocab_size = fields.size("vocab_size", MAX_SIZE)?;
    let eps = fields.positive_or("layer_norm_eps", 1e-5)?;
    Ok(ModelConfig {
        family: Family::GptNeox,
        n_layers: fields.size("num_hidden_layers", MAX_LAYERS)?,
        d_model,
        d_mlp: fields.size("intermediate_size", MAX_SIZE)?,
        vocab_size,
        max_context,
        attention: AttentionConfig {
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            scale: (d_head as f64).powf(-0.5),
            scale_by_depth: false,
            qkv_bias: attention_bias,
            out_bias: attention_bias,
            qk_norm: None,
            softcap: None,
        },
        windows: None,
        norm: NormConfig::plain(NormKind::LayerNorm, eps),
        norm_places: NormPlaces::Before,
        parallel: fields.bool_or("use_parallel_residual", true)?,
        positions: Positions::Rotary(rotary(fields, &angles, d_head, max_context)?),
        mlp: MlpConfig { gated: false, activation: activation(fields, "hidden_act", "gelu")?, bias: true },
        embed_scale: None,
        logit_softcap: None,
        tied_unembedding: fields.bool_or("tie_word_embeddings", false)?,
        bos_token: token_ids(fields, "bos_token_id", vocab_size)?.first().copied(),
        eos_tokens: token_ids(fields, "eos_token_id", vocab_size)?,
    })
}
