//! A model's `model.safetensors`, of a configuration that is right.
#![no_main]
use libfuzzer_sys::fuzz_target;
use untangle_model::{LanguageModel, LoadOptions, ModelFiles};

const CONFIG: &[u8] = include_bytes!("../../tests/parity/fixtures/model/gpt2/config.json");

fuzz_target!(|data: &[u8]| {
    let files = ModelFiles { name: "x", config: CONFIG, tokenizer: None, chat_template: None, weights: data };
    let _ = LanguageModel::from_memory(&files, &LoadOptions::default());
});
