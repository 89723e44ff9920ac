//! A model's `tokenizer.json`, and text that goes through it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;
use untangle_fuzz::two;
use untangle_model::{ModelConfig, Tokenizer, TokenizerFiles};

static CONFIG: LazyLock<ModelConfig> = LazyLock::new(|| {
    let json = br#"{"model_type": "llama", "vocab_size": 1000, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}"#;
    ModelConfig::from_json(Path::new("config.json"), json).expect("a small configuration")
});

fuzz_target!(init: untangle_fuzz::catch_as_the_readers_do(), |data: &[u8]| {
    let (tokenizer, text) = two(data);
    if let Ok(tokenizer) = Tokenizer::new(&TokenizerFiles::in_memory(tokenizer), &CONFIG)
        && let Ok(ids) = tokenizer.encode(&String::from_utf8_lossy(text))
    {
        let _ = tokenizer.decode(&ids);
    }
});
