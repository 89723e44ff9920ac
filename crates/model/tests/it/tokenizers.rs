//! Tokenizers of real directories: tokens in every file, vocabularies that are not the embedding's, damage.

use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;
use untangle_model::{ModelConfig, ModelError, Tokenizer, TokenizerFiles};
use untangle_schema::{BosPolicy, Classify, Fault};

fn added(content: &str) -> Value {
    json!({"content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false})
}

/// A tokenizer of six tokens, ids 0 to 5, with some of its fields replaced.
fn tokenizer_json(changes: Value) -> Value {
    let mut json = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [], "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "Ġ": 4, "Ġa": 5}, "merges": ["Ġ a"]}
    });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

fn directory(files: &[(&str, Value)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in files {
        std::fs::write(dir.path().join(name), value.to_string()).unwrap();
    }
    dir
}

fn load(dir: &Path, vocab_size: usize) -> Result<Tokenizer, ModelError> {
    let path = crate::support::fixture_dir("llama").join("config.json");
    let config = ModelConfig::from_json(&path, &std::fs::read(&path).unwrap()).unwrap();
    let config = ModelConfig { vocab_size, bos_token: None, eos_tokens: vec![], ..config };
    Tokenizer::new(&TokenizerFiles::read(dir).unwrap().unwrap(), &config)
}

#[test]
fn tokens_of_every_file_are_tokens() {
    let own = ("tokenizer.json", tokenizer_json(json!({})));
    let cases: [(&[(&str, Value)], &str); 5] = [
        (
            &[("tokenizer_config.json", json!({"added_tokens_decoder": {"6": added("<|turn|>")}}))],
            "added_tokens_decoder",
        ),
        (&[("added_tokens.json", json!({"<|turn|>": 6}))], "added_tokens.json"),
        (&[("special_tokens_map.json", json!({"pad_token": "<|turn|>"}))], "special_tokens_map.json"),
        (&[("tokenizer_config.json", json!({"extra_special_tokens": ["<|turn|>"]}))], "extra_special_tokens"),
        (&[("tokenizer_config.json", json!({"image_token": "<|turn|>"}))], "a name of its own"),
    ];
    for (files, name) in cases {
        let dir = directory(&[std::slice::from_ref(&own), files].concat());
        let tokenizer = load(dir.path(), 10).unwrap();
        assert_eq!(tokenizer.encode("<|turn|>a").unwrap(), [6, 2], "{name}");
    }
    let both = [
        own,
        ("tokenizer_config.json", json!({"added_tokens_decoder": {}, "eos_token": {"content": "</s>"}})),
        ("added_tokens.json", json!({"ab": 6})),
    ];
    let dir = directory(&both);
    let tokenizer = load(dir.path(), 10).unwrap();
    assert_eq!(tokenizer.encode("ab").unwrap(), [2, 3], "added_tokens_decoder takes the place of older files");
    assert_eq!(tokenizer.encode("a</s>").unwrap(), [2, 1], "a named token is found in text");
    assert!(tokenizer.eos().contains(&1));
}

#[test]
fn truncation_and_padding_of_the_file_are_not_applied() {
    let truncation = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 9});
    let padding = json!({"strategy": {"Fixed": 1_000_000_000}, "direction": "Right", "pad_to_multiple_of": 1u64 << 40,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>"});
    let dir = directory(&[("tokenizer.json", tokenizer_json(json!({"truncation": truncation, "padding": padding})))]);
    assert_eq!(load(dir.path(), 6).unwrap().encode("aabb").unwrap(), [2, 2, 3, 3]);
}

#[test]
fn only_a_token_that_the_text_has_can_be_beyond_the_embedding() {
    let config = json!({"added_tokens_decoder": {"6": added("<image>")}, "bos_token": "<image>"});
    let dir = directory(&[("tokenizer.json", tokenizer_json(json!({}))), ("tokenizer_config.json", config)]);
    let tokenizer = load(dir.path(), 6).unwrap();
    assert_eq!(tokenizer.encode_with_bos("a a", BosPolicy::Never).unwrap(), [2, 5]);
    for error in [tokenizer.encode("a<image>").unwrap_err(), tokenizer.bos_for(BosPolicy::Auto).unwrap_err()] {
        assert_eq!(error.fault(), Fault::BadInput);
        let said = error.to_string();
        let expected =
            "the text has the token `<image>` (id 6), and the model's embedding ends at 5; take it out of the text";
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(tokenizer.decode(&[2, 9, 5]).unwrap(), "a a");
}

#[test]
fn a_class_of_transformers_brings_its_own_normalizer() {
    let spaced = json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "▁": 4, "▁a": 5}, "merges": ["▁ a"]});
    let file = tokenizer_json(json!({"model": spaced, "pre_tokenizer": null, "decoder": null}));
    let of = |class: &str, more: Value| {
        let mut config = json!({"tokenizer_class": class});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let files = [("tokenizer.json", file.clone()), ("tokenizer_config.json", config), ("config.json", json!({}))];
        load(directory(&files).path(), 10).unwrap().encode("a</s>a").unwrap()
    };
    assert_eq!(of("LlamaTokenizerFast", json!({})), [5, 2, 3], "a space before the first word only");
    assert_eq!(of("LlamaTokenizer", json!({"legacy": true})), [5, 2, 5], "and before every part");
    assert_eq!(of("LlamaTokenizer", json!({"add_prefix_space": false})), [3, 2, 3]);
    assert_eq!(of("PreTrainedTokenizerFast", json!({})), of("Unheard", json!({})), "the file as it is");
}

#[test]
fn a_tokenizer_that_cannot_be_is_bad_input() {
    let doubling: Vec<Value> =
        (0..60).map(|_| json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})).collect();
    let halved = json!({"type": "BPE", "continuing_subword_prefix": "é##", "merges": ["a é##b", "a b"],
        "vocab": {"a": 0, "b": 1, "é##b": 3, "ab": 2}});
    let cases = [
        ("prefix of half a character", json!({"model": halved})),
        ("charsmap", json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}})),
        ("doubling", json!({"normalizer": {"type": "Sequence", "normalizers": doubling}})),
        ("ids", json!({"model": {"type": "BPE", "vocab": {"a": u32::MAX}, "merges": []}})),
        ("no tokens", json!({"model": {"type": "BPE", "vocab": {}, "merges": []}})),
    ];
    for (name, change) in cases {
        let dir = directory(&[("tokenizer.json", tokenizer_json(change))]);
        let tried = load(dir.path(), 6).and_then(|tokenizer| tokenizer.encode("aé##bab"));
        let Err(error) = tried else { continue };
        assert_eq!(error.fault(), Fault::BadInput, "{name}");
        assert!(error.to_string().contains("tokenizer.json: "), "{name}: {error}");
        assert!(!untangle_model::guard::panic_is_caught());
    }
    let dir = directory(&[(
        "tokenizer.json",
        tokenizer_json(json!({"normalizer": {"type": "Sequence", "normalizers":
        (0..60).map(|_| json!({"type": "Prepend", "prepend": "aaaa"})).collect::<Vec<_>>()}})),
    )]);
    assert!(load(dir.path(), 6).unwrap_err().to_string().contains("more than 4096 bytes of one"));
}
