//! A model's `config.json`.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use untangle_model::ModelConfig;

fuzz_target!(|data: &[u8]| {
    let _ = ModelConfig::from_json(Path::new("config.json"), data);
});
