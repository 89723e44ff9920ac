//! What is trained, on how much, and how fast: sizes, steps, and the learning rate of each.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// Everything that decides the weights of a model trained from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of the MLP's hidden layer.
    pub d_mlp: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Tokens of the tokenizer.
    pub vocab_size: usize,
    /// Documents that the tokenizer is trained on.
    pub tokenizer_documents: u64,
    /// Tokens of a row, and the largest number of positions.
    pub context: usize,
    /// Rows of a batch.
    pub batch: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Steps in which the learning rate rises.
    pub warmup: u64,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Seed of the weights and of the documents.
    pub seed: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
}

impl Recipe {
    /// The bundled organism: 1,142,144 parameters.
    pub fn base() -> Self {
        Self {
            n_layers: 5,
            d_model: 128,
            d_mlp: 304,
            n_heads: 4,
            vocab_size: crate::tokenizer::VOCAB_SIZE,
            tokenizer_documents: 20_000,
            context: 256,
            batch: 32,
            steps: 6_000,
            warmup: 200,
            learning_rate: 3e-3,
            seed: 1,
            checkpoint_every: 100,
        }
    }

    /// Learning rate of a step from 0: linear to the largest, then a half cosine down to a twentieth of it.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / self.warmup as f64;
        }
        let done = (step - self.warmup) as f64 / (self.steps - self.warmup).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
        self.learning_rate * (0.05 + 0.95 * cosine)
    }

    /// `config.json` of the model. The boundary token, id 0, begins and ends every text.
    pub fn config_json(&self) -> String {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.d_model,
            "intermediate_size": self.d_mlp,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_heads,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.context,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": true,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "torch_dtype": "float16",
        });
        format!("{config:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let recipe = Recipe { steps: 1000, warmup: 100, learning_rate: 1.0, ..Recipe::base() };
        assert_eq!(recipe.learning_rate_at(0), 0.01);
        assert_eq!(recipe.learning_rate_at(99), 1.0);
        assert!((recipe.learning_rate_at(550) - 0.525).abs() < 1e-12); // half way down
        assert!((recipe.learning_rate_at(1000) - 0.05).abs() < 1e-12);
    }
}
