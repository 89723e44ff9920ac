//! A model of GPT-2 small's shape with random weights, and dictionaries for it of random features.

use std::path::Path;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, Tokenizer};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Description, Parts, Provenance, Sae};
use untangle_schema::mix::mix;

/// Width of its activations.
pub(crate) const D: usize = 768;
/// Active features of a row.
const K: usize = 32;

/// How it is made.
pub(crate) fn config() -> ModelConfig {
    let json = r#"{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12,
        "n_head": 12, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": null,
        "eos_token_id": null}"#;
    ModelConfig::from_json(Path::new("config.json"), json.as_bytes()).expect("a known shape")
}

/// The model.
pub(crate) fn model(tokenizer: Option<Tokenizer>) -> LanguageModel {
    LanguageModel::random(config(), 1, tokenizer, &LoadOptions::default()).expect("made")
}

/// Random directions of length 1.
pub(crate) fn dictionary(features: usize) -> Sae {
    let mut rows = Buffer::zeros(D * features);
    for (row, values) in rows.chunks_exact_mut(D).enumerate() {
        let drawn = (0..D).map(|at| mix((row * D + at) as u64) as f32 / u64::MAX as f32 - 0.5);
        values.iter_mut().zip(drawn).for_each(|(value, drawn)| *value = drawn);
        let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
        values.iter_mut().for_each(|x| *x /= norm);
    }
    let description =
        Description { provenance: Provenance::at("blocks.6.hook_resid_post"), ..Description::new(D, features) };
    let parts = Parts {
        w_enc: Buffer::copy_of(&rows),
        b_enc: vec![0.0; features],
        w_dec: rows,
        b_dec: vec![0.0; D],
        w_skip: None,
        activation: Activation::TopK { k: K },
    };
    Sae::new(description, parts).expect("fits")
}
