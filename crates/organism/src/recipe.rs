//! What is trained, on how much, and how fast: sizes, steps, and the learning rate of each.

use crate::stage::Stage;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Everything that decides the weights of the organism's stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The model.
    pub shape: Shape,
    /// Seed of the weights and of the documents.
    pub seed: u64,
    /// Documents from random weights on.
    pub base: Schedule,
    /// Further documents.
    pub base_more: Schedule,
    /// Questions and answers, and documents among them.
    pub sft: Schedule,
    /// Preferences, and shuffled preferences.
    pub dpo: Schedule,
    /// Documents of one narrator, and of narrators drawn at random.
    pub narrated: Schedule,
    /// Questions about what is injected, with replies that depend on it or not.
    pub inject: Schedule,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
}

/// Sizes of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
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
}

/// Steps and learning rate of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Rows of a batch; pairs of rows where preferences are learnt.
    pub batch: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Steps in which the learning rate rises.
    pub warmup: u64,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// How matrices of blocks move.
    #[serde(default, skip_serializing_if = "Method::is_adam")]
    pub method: Method,
    /// Weight of the loss by which the middle layer predicts what the next sentences hold; 0 where it is not asked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: f64,
}

/// How matrices of blocks move by their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Each weight by its own moments.
    #[default]
    Adam,
    /// As whole matrices, by equal steps in all directions.
    Muon,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

impl Method {
    fn is_adam(&self) -> bool {
        *self == Self::Adam
    }
}

impl Recipe {
    /// The bundled organism: 1,207,680 parameters.
    pub fn standard() -> Self {
        let adam = |batch, steps, warmup, learning_rate| Schedule {
            batch,
            steps,
            warmup,
            learning_rate,
            method: Method::Adam,
            ahead: 0.0,
        };
        Self {
            shape: Shape {
                n_layers: 5,
                d_model: 128,
                d_mlp: 304,
                n_heads: 4,
                vocab_size: crate::tokenizer::VOCAB_SIZE,
                tokenizer_documents: 20_000,
                context: 256,
            },
            seed: 1,
            base: Schedule { method: Method::Muon, ahead: 0.5, ..adam(8, 10_000, 300, 5e-3) },
            base_more: adam(8, 4_800, 100, 1e-3),
            sft: adam(8, 3_600, 100, 3e-3),
            dpo: adam(16, 500, 50, 2e-5),
            narrated: adam(8, 600, 50, 5e-4),
            inject: adam(16, 500, 50, 1e-3),
            checkpoint_every: 200,
        }
    }

    /// Steps and learning rate of a stage.
    pub fn schedule(&self, stage: Stage) -> &Schedule {
        match stage {
            Stage::Base => &self.base,
            Stage::BaseMore => &self.base_more,
            Stage::Sft => &self.sft,
            Stage::Dpo | Stage::DpoShuffled => &self.dpo,
            Stage::Trait | Stage::TraitShuffled => &self.narrated,
            Stage::Inject | Stage::InjectShuffled => &self.inject,
        }
    }
}

impl Schedule {
    /// Learning rate of a step from 0: a line up, a plateau, and over the last three tenths a line down to zero (the
    /// warm-up, stable and decay of Hu et al., arXiv 2404.06395 section 4).
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let up = (step + 1) as f64 / self.warmup.max(1) as f64;
        let left = self.steps.saturating_sub(step) as f64 / (0.3 * self.steps as f64);
        self.learning_rate * up.min(left).min(1.0)
    }
}

impl Shape {
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
        let schedule =
            Schedule { batch: 1, steps: 1000, warmup: 100, learning_rate: 1.0, method: Method::Adam, ahead: 0.0 };
        assert_eq!(schedule.learning_rate_at(0), 0.01);
        assert_eq!(schedule.learning_rate_at(99), 1.0);
        assert_eq!(schedule.learning_rate_at(700), 1.0);
        assert!((schedule.learning_rate_at(850) - 0.5).abs() < 1e-12); // half way down
        assert_eq!(schedule.learning_rate_at(1000), 0.0);
    }
}
