//! What each family's `config.json` says: Hugging Face fields to [`ModelConfig`].
//!
//! Defaults are those of the family's configuration class in transformers, which leaves fields out that equal them.

mod gpt;
mod llama;
mod rotary;
mod shared;

use crate::config::{Family, ModelConfig};
use crate::error::ModelError;
use crate::fields::Fields;
use serde_json::json;
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
        refuse_what_no_family_has(&fields)?;
        let config = match family {
            Family::Gpt2 => gpt::gpt2(&fields)?,
            Family::GptNeox => gpt::gpt_neox(&fields)?,
            Family::Llama => llama::llama(&fields)?,
            Family::Mistral => llama::mistral(&fields)?,
            Family::Qwen2 => llama::qwen2(&fields)?,
            Family::Qwen3 => llama::qwen3(&fields)?,
            Family::Gemma => llama::gemma(&fields)?,
            Family::Gemma2 => llama::gemma2(&fields)?,
            Family::Gemma3 => llama::gemma3(&fields)?,
            Family::Olmo2 => llama::olmo2(&fields)?,
            Family::Phi3 => llama::phi3(&fields)?,
        };
        config.validate(path)?;
        Ok(config)
    }
}

fn refuse_what_no_family_has(fields: &Fields) -> Result<(), ModelError> {
    if fields.get("quantization_config").is_some() {
        return Err(fields.refuse("quantization_config", "null: weights in f32, f16 or bf16"));
    }
    for experts in ["num_local_experts", "num_experts", "n_routed_experts"] {
        if fields.get(experts).is_some() {
            return Err(fields.refuse(experts, "null: one MLP in every block, no experts"));
        }
    }
    for switch in ["add_cross_attention", "is_encoder_decoder", "use_bidirectional_attention"] {
        fields.only(switch, json!(false))?;
    }
    Ok(())
}
