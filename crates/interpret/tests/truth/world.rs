//! What the tests share: numbers that look random, dictionaries, and a small model with a tokenizer.

use std::path::Path;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, Tokenizer, TokenizerFiles};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Description, Parts, Provenance, Sae};

/// A number in 0..1 that is a function of two.
pub(crate) fn noise(a: u64, b: u64) -> f64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..2 {
        z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

/// Unit vectors, `[n, d]`.
pub(crate) fn unit_rows(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..n * d).map(|at| noise(seed, at as u64) as f32 - 0.5).collect();
    for row in rows.chunks_exact_mut(d) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    rows
}

/// A relu dictionary without biases.
pub(crate) fn dictionary(d_in: usize, w_enc: &[f32], w_dec: &[f32]) -> Sae {
    biased(d_in, w_enc, &vec![0.0; w_enc.len() / d_in], w_dec, "blocks.0.hook_resid_post")
}

/// A relu dictionary at a hook point.
pub(crate) fn biased(d_in: usize, w_enc: &[f32], b_enc: &[f32], w_dec: &[f32], hook_name: &str) -> Sae {
    let d_sae = w_enc.len() / d_in;
    let provenance = Provenance::at(hook_name);
    let description = Description { subtracts_b_dec: true, provenance, ..Description::new(d_in, d_sae) };
    let (w_enc, w_dec) = (Buffer::copy_of(w_enc), Buffer::copy_of(w_dec));
    let (b_enc, b_dec) = (b_enc.to_vec(), vec![0.0; d_in]);
    let parts = Parts { w_enc, b_enc, w_dec, b_dec, w_skip: None, activation: Activation::Relu };
    Sae::new(description, parts).expect("shapes fit")
}

/// The vocabulary: `<s>` first, then words with their leading space.
pub(crate) const VOCABULARY: [&str; 12] =
    ["<s>", "the", "golden", "gate", "bridge", "dog", "cat", "saw", "a", "ran", "far", "home"];
/// Width of the model.
pub(crate) const D_MODEL: usize = 16;
/// Largest context of the model.
pub(crate) const CONTEXT: usize = 12;

/// A random two-block model that speaks [`VOCABULARY`].
pub(crate) fn model(seed: u64) -> LanguageModel {
    let n = VOCABULARY.len();
    let json = format!(
        r#"{{"model_type": "gpt2", "vocab_size": {n}, "n_positions": {CONTEXT}, "n_embd": {D_MODEL}, "n_layer": 2,
            "n_head": 2, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 0,
            "eos_token_id": 0}}"#
    );
    let config = ModelConfig::from_json(Path::new("config.json"), json.as_bytes()).expect("valid");
    let words = VOCABULARY.iter().enumerate();
    let vocabulary: Vec<String> =
        words.map(|(id, word)| format!("\"{}{word}\": {id}", if id == 0 { "" } else { "\u{2581}" })).collect();
    let metaspace = r#"{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true}"#;
    let tokenizer = format!(
        r#"{{"version": "1.0", "added_tokens": [{{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}}], "normalizer": null, "pre_tokenizer": {metaspace},
            "post_processor": null, "decoder": {metaspace},
            "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "<s>"}}}}"#,
        vocabulary.join(", ")
    );
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(tokenizer.as_bytes()), &config).expect("valid");
    LanguageModel::random(config, seed, Some(tokenizer), &LoadOptions::default()).expect("made")
}
