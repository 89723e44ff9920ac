//! What each family's `config.json` says: Hugging Face fields to [`ModelConfig`].
//!
//! Defaults are those of the family's configuration class in transformers, which leaves fields out that equal them.

use crate::config::{
    Activation, AttentionConfig, Family, MlpConfig, ModelConfig, NormConfig, NormKind, Positions, Rotary, RotaryScaling,
};
use crate::error::ModelError;
use crate::fields::Fields;
use serde_json::{Value, json};
use std::path::Path;

impl ModelConfig {
    /// Reads the text of a `config.json`; `path` is the file that errors name.
    ///
    /// # Errors
    /// The text is not JSON, `model_type` is not supported, or a field has a value that is not.
    pub fn from_json(path: &Path, text: &[u8]) -> Result<Self, ModelError> {
        let fields = Fields::parse(path, text)?;
        let model_type = fields.text("model_type")?;
        let family = Family::ALL
            .into_iter()
            .find(|family| Some(family.model_type()) == model_type)
            .ok_or_else(|| fields.refuse("model_type", Family::ALL.map(Family::model_type).join(", ")))?;
        if fields.get("quantization_config").is_some() {
            return Err(fields.refuse("quantization_config", "null: weights in f32, f16 or bf16"));
        }
        let config = match family {
            Family::Gpt2 => gpt2(&fields)?,
            Family::Llama => llama(&fields)?,
        };
        config.validate(path)?;
        Ok(config)
    }
}

fn gpt2(fields: &Fields) -> Result<ModelConfig, ModelError> {
    fields.only("scale_attn_by_inverse_layer_idx", json!(false))?;
    fields.only("add_cross_attention", json!(false))?;
    let d_model = fields.size("n_embd")?;
    let n_heads = fields.size("n_head")?;
    let d_head = head_width(fields, d_model, "n_head", n_heads)?;
    let scaled = fields.bool_or("scale_attn_weights", true)?;
    let vocab_size = fields.size("vocab_size")?;
    Ok(ModelConfig {
        family: Family::Gpt2,
        n_layers: fields.size("n_layer")?,
        d_model,
        d_mlp: fields.size_or("n_inner", d_model.saturating_mul(4))?,
        vocab_size,
        max_context: fields.size_or("n_positions", 1024)?,
        attention: AttentionConfig {
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            scale: if scaled { (d_head as f64).powf(-0.5) } else { 1.0 },
            qkv_bias: true,
            out_bias: true,
        },
        norm: NormConfig { kind: NormKind::LayerNorm, eps: fields.number_or("layer_norm_epsilon", 1e-5)? },
        positions: Positions::Learned,
        mlp: MlpConfig { gated: false, activation: activation(fields, "activation_function", "gelu_new")?, bias: true },
        tied_unembedding: fields.bool_or("tie_word_embeddings", true)?,
        bos_token: token_ids(fields, "bos_token_id", vocab_size)?.first().copied(),
        eos_tokens: token_ids(fields, "eos_token_id", vocab_size)?,
    })
}

fn llama(fields: &Fields) -> Result<ModelConfig, ModelError> {
    let d_model = fields.size("hidden_size")?;
    let n_heads = fields.size("num_attention_heads")?;
    let d_head = match fields.size_or_none("head_dim")? {
        Some(d_head) => d_head,
        None => head_width(fields, d_model, "num_attention_heads", n_heads)?,
    };
    let attention_bias = fields.bool_or("attention_bias", false)?;
    let vocab_size = fields.size("vocab_size")?;
    Ok(ModelConfig {
        family: Family::Llama,
        n_layers: fields.size("num_hidden_layers")?,
        d_model,
        d_mlp: fields.size("intermediate_size")?,
        vocab_size,
        max_context: fields.size_or("max_position_embeddings", 2048)?,
        attention: AttentionConfig {
            n_heads,
            n_kv_heads: fields.size_or("num_key_value_heads", n_heads)?,
            d_head,
            scale: (d_head as f64).powf(-0.5),
            qkv_bias: attention_bias,
            out_bias: attention_bias,
        },
        norm: NormConfig { kind: NormKind::RmsNorm, eps: fields.number_or("rms_norm_eps", 1e-6)? },
        positions: Positions::Rotary(rotary(fields)?),
        mlp: MlpConfig {
            gated: true,
            activation: activation(fields, "hidden_act", "silu")?,
            bias: fields.bool_or("mlp_bias", false)?,
        },
        tied_unembedding: fields.bool_or("tie_word_embeddings", false)?,
        bos_token: token_ids(fields, "bos_token_id", vocab_size)?.first().copied(),
        eos_tokens: token_ids(fields, "eos_token_id", vocab_size)?,
    })
}

fn head_width(fields: &Fields, d_model: usize, field: &str, n_heads: usize) -> Result<usize, ModelError> {
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(fields.refuse(field, format!("a divisor of the model width {d_model}")));
    }
    Ok(d_model / n_heads)
}

fn activation(fields: &Fields, field: &str, default: &str) -> Result<Activation, ModelError> {
    match fields.text(field)?.unwrap_or(default) {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(fields.refuse(field, "gelu, gelu_new, gelu_pytorch_tanh, silu, swish, relu")),
    }
}

/// Ids that are not below the vocabulary size are left out: small models often keep their class's default (50256).
fn token_ids(fields: &Fields, field: &str, vocab_size: usize) -> Result<Vec<u32>, ModelError> {
    let ids = fields.ids(field)?;
    Ok(ids.into_iter().filter(|id| (*id as usize) < vocab_size).collect())
}

/// `rope_theta` and `rope_scaling`, or both in `rope_parameters` as transformers 5 writes them.
fn rotary(fields: &Fields) -> Result<Rotary, ModelError> {
    const DEFAULT_THETA: f64 = 10_000.0;
    if let Some(parameters) = fields.object("rope_parameters")? {
        let theta = parameters.number_or("rope_theta", fields.number_or("rope_theta", DEFAULT_THETA)?)?;
        return Ok(Rotary { theta, scaling: rotary_scaling(&parameters)? });
    }
    let scaling = fields.object("rope_scaling")?;
    Ok(Rotary {
        theta: fields.number_or("rope_theta", DEFAULT_THETA)?,
        scaling: scaling.map_or(Ok(RotaryScaling::Unscaled), |scaling| rotary_scaling(&scaling))?,
    })
}

fn rotary_scaling(fields: &Fields) -> Result<RotaryScaling, ModelError> {
    fields.only("partial_rotary_factor", Value::from(1.0))?;
    let field = if fields.has("rope_type") { "rope_type" } else { "type" };
    match fields.text(field)? {
        Some("default") => Ok(RotaryScaling::Unscaled),
        Some("linear") => Ok(RotaryScaling::Linear { factor: fields.number("factor")? }),
        Some("llama3") => Ok(RotaryScaling::Llama3 {
            factor: fields.number("factor")?,
            low_freq_factor: fields.number("low_freq_factor")?,
            high_freq_factor: fields.number("high_freq_factor")?,
            original_context: fields.number("original_max_position_embeddings")?,
        }),
        _ => Err(fields.refuse(field, "default, linear, llama3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: Value) -> ModelConfig {
        ModelConfig::from_json(Path::new("config.json"), json.to_string().as_bytes()).expect("supported")
    }

    fn small_llama(extra: Value) -> ModelConfig {
        let mut json = json!({"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "vocab_size": 100});
        json.as_object_mut().expect("object").extend(extra.as_object().expect("object").clone());
        read(json)
    }

    #[test]
    fn what_gpt2_leaves_out_is_its_class_default() {
        let sizes = json!({"model_type": "gpt2", "n_embd": 24, "n_layer": 2, "n_head": 3, "vocab_size": 60000,
            "bos_token_id": 50256, "eos_token_id": [7, 70000]});
        let config = read(sizes);
        assert_eq!((config.d_mlp, config.max_context, config.tied_unembedding), (96, 1024, true));
        assert_eq!(config.mlp, MlpConfig { gated: false, activation: Activation::GeluTanh, bias: true });
        assert_eq!(config.norm, NormConfig { kind: NormKind::LayerNorm, eps: 1e-5 });
        assert_eq!((config.attention.d_head, config.attention.scale), (8, 8f64.powf(-0.5)));
        assert_eq!((config.bos_token, config.eos_tokens), (Some(50256), vec![7]));
    }

    #[test]
    fn what_llama_leaves_out_is_its_class_default() {
        let config = small_llama(json!({}));
        assert_eq!((config.max_context, config.tied_unembedding), (2048, false));
        assert_eq!((config.attention.n_kv_heads, config.attention.d_head), (4, 16));
        assert!(!config.attention.qkv_bias && !config.mlp.bias && config.mlp.gated);
        assert_eq!(config.norm, NormConfig { kind: NormKind::RmsNorm, eps: 1e-6 });
        let unscaled = Rotary { theta: 1e4, scaling: RotaryScaling::Unscaled };
        assert_eq!(config.positions, Positions::Rotary(unscaled));
    }

    #[test]
    fn rotary_fields_are_read_in_the_old_and_the_new_place() {
        let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        let scaling = RotaryScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        };
        let expected = Positions::Rotary(Rotary { theta: 5e5, scaling });
        let old = json!({"rope_theta": 500000.0, "rope_scaling": llama3});
        assert_eq!(small_llama(old).positions, expected);
        let mut new = llama3;
        new["rope_theta"] = json!(500000);
        assert_eq!(small_llama(json!({"rope_parameters": new})).positions, expected);
        let linear = small_llama(json!({"rope_scaling": {"type": "linear", "factor": 2}}));
        let expected = Rotary { theta: 1e4, scaling: RotaryScaling::Linear { factor: 2.0 } };
        assert_eq!(linear.positions, Positions::Rotary(expected));
    }
}
