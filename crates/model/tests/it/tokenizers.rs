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

/// The tokenizer of a directory with these files beside `tokenizer.json`.
fn with(own: Value, beside: &[(&str, Value)]) -> Tokenizer {
    let files = [&[("tokenizer.json", own)], beside].concat();
    load(directory(&files).path(), 20).unwrap()
}

/// A listed token that is not marked as special.
fn ordinary(content: &str) -> Value {
    json!({"content": content, "special": false})
}

#[test]
fn classes_that_transformers_builds_are_built() {
    let with_unknown = |pre_tokenizer: Value| {
        let vocab = json!({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "▁": 4, "▁a": 5, "Ġ": 6, "Ġa": 7});
        let model = json!({"type": "BPE", "vocab": vocab, "merges": ["▁ a", "Ġ a"]});
        tokenizer_json(json!({"model": model, "pre_tokenizer": pre_tokenizer}))
    };
    let of = |class: &str, more: Value| {
        let mut config = json!({"tokenizer_class": class});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(with_unknown(Value::Null), &[("tokenizer_config.json", config), ("config.json", json!({}))])
    };
    // As transformers 5.24 has them.
    let code = of("CodeLlamaTokenizerFast", json!({}));
    assert_eq!(code.encode("  a a</s>a").unwrap(), [4, 5, 5, 2, 3]);
    let names = ["▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>", "<FILL_ME>"];
    assert_eq!((8..13).map(|id| code.token_text(id)).collect::<Vec<_>>(), names);
    let own = json!({"prefix_token": "<P>", "suffix_token": null, "zz_token": "<z>", "aa_token": "<aa>",
        "additional_special_tokens": ["<add>"], "add_prefix_space": false});
    let own = of("CodeLlamaTokenizer", own);
    assert_eq!(own.encode("a<P>▁<EOT><aa><z><add>").unwrap(), [3, 8, 10, 12, 13, 14]);
    for class in ["RobertaTokenizer", "CodeGenTokenizer", "GPT2Tokenizer"] {
        assert_eq!(of(class, json!({"add_prefix_space": true})).encode("a a").unwrap(), [7, 7], "{class}");
        assert_eq!(of(class, json!({})).encode("a a").unwrap(), [3, 7], "{class}");
    }
    let mask = of("RobertaTokenizer", json!({})).encode("<pad><mask>").unwrap();
    assert_eq!(mask, [8, 9]);
    let note = |class: &str| of(class, json!({})).note().map(str::to_owned);
    assert!(
        note("CohereTokenizerFast").unwrap().contains("tokenizer.json: transformers makes a tokenizer of the class Co")
    );
    assert_eq!((note("Unheard"), note("CodeLlamaTokenizer")), (None, None));
}

#[test]
fn new_special_tokens_get_ids_in_the_order_of_the_file() {
    let ids = |beside: &[(&str, Value)], text: &str| with(tokenizer_json(json!({})), beside).encode(text).unwrap();
    // Not through a map of serde_json, which sorts.
    let dir = directory(&[("tokenizer.json", tokenizer_json(json!({})))]);
    let config = r#"{"z_token": "<z>", "extra_special_tokens": {"y_token": "<y>", "b_token": "<b>"}, "a_token": "<aa>",
        "pad_token": "<pad>"}"#;
    std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
    let tokenizer = load(dir.path(), 20).unwrap();
    assert_eq!(tokenizer.encode("<pad><z><aa><y><b>").unwrap(), [6, 7, 8, 9, 10]);
    for empty in [json!([]), json!({}), Value::Null] {
        let config = json!({"extra_special_tokens": empty, "additional_special_tokens": ["<m>", "<l>"]});
        assert_eq!(ids(&[("tokenizer_config.json", config)], "<m><l>"), [6, 7], "{empty}");
    }
    let added = r#"{"<p>": 7, "<z>": 6, "<c>": 6}"#;
    std::fs::write(dir.path().join("tokenizer_config.json"), "{}").unwrap();
    std::fs::write(dir.path().join("added_tokens.json"), added).unwrap();
    let tokenizer = load(dir.path(), 20).unwrap();
    assert_eq!(tokenizer.encode("<c><p>").unwrap(), [6, 7], "the last of two tokens with one id");
    let padding = json!({"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<x>"});
    assert_eq!(with(tokenizer_json(json!({"padding": padding})), &[]).encode("a<x>").unwrap(), [2, 6]);
}

#[test]
fn a_listed_token_with_a_name_is_special() {
    let listed = json!({"pad_token": "<p>", "extra_special_tokens": ["<e>"],
        "added_tokens_decoder": {"7": ordinary("<p>"), "6": ordinary("<e>")}});
    let tokenizer = with(tokenizer_json(json!({})), &[("tokenizer_config.json", listed)]);
    assert_eq!([6, 7].map(|id| tokenizer.is_special(id)), [false, true], "as in transformers, names alone count");
    let own = json!([{"id": 6, "content": "<p>", "special": false, "normalized": true, "single_word": false,
        "lstrip": false, "rstrip": false}]);
    let own = tokenizer_json(json!({"added_tokens": own}));
    let named = |more: Value| with(own.clone(), &[("tokenizer_config.json", more)]).is_special(6);
    assert!(named(json!({"pad_token": "<p>"})));
    assert!(!named(json!({})));
}

#[test]
fn the_identity_covers_every_file_that_decides() {
    let own = tokenizer_json(json!({"added_tokens": []}));
    let sha = |beside: &[(&str, Value)]| with(own.clone(), beside).sha256().to_owned();
    let plain = sha(&[]);
    let listed = |special: bool| json!({"added_tokens_decoder": {"6": {"content": "<t>", "special": special}}});
    let config = |value: Value| ("tokenizer_config.json", value);
    let model = ("config.json", json!({}));
    let same = [
        vec![config(json!({"model_max_length": 8, "tokenizer_class": "PreTrainedTokenizerFast"})), model.clone()],
        vec![
            config(
                json!({"tokenizer_class": "GPT2Tokenizer", "unk_token": null, "bos_token": null, "eos_token": null}),
            ),
            model.clone(),
        ],
        vec![("special_tokens_map.json", json!({})), ("added_tokens.json", json!({}))],
        vec![("generation_config.json", json!({"eos_token_id": 19}))],
    ];
    for files in same {
        assert_eq!(sha(&files), plain, "{files:?}");
    }
    let differing = [
        vec![config(listed(true))],
        vec![config(listed(false))],
        vec![config(json!({"pad_token": "</s>"}))],
        vec![config(json!({"split_special_tokens": true}))],
        vec![config(json!({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true})), model.clone()],
        vec![config(json!({})), ("config.json", json!({"tokenizer_class": "Qwen2Tokenizer"}))],
        vec![("added_tokens.json", json!({"<v>": 6}))],
        vec![("added_tokens.json", json!({"<u>": 6}))],
        vec![("special_tokens_map.json", json!({"bos_token": "<w>"}))],
        vec![("generation_config.json", json!({"eos_token_id": 3}))],
    ];
    let mut seen = vec![plain];
    for files in differing {
        let found = sha(&files);
        assert!(!seen.contains(&found), "{files:?}");
        seen.push(found);
    }
}

#[test]
fn a_template_knows_the_names_that_transformers_knows() {
    let shown = "{{ image_token }}|{{ pad_token }}|{{ bos_token }}|{{ eos_token }}";
    let rendered = |mut config: Value, model: Value| {
        config["chat_template"] = shown.into();
        let files =
            [("tokenizer.json", tokenizer_json(json!({}))), ("tokenizer_config.json", config), ("config.json", model)];
        let dir = directory(&files);
        let path = crate::support::fixture_dir("llama").join("config.json");
        let config = ModelConfig::from_json(&path, &std::fs::read(&path).unwrap()).unwrap();
        let config = ModelConfig { vocab_size: 20, bos_token: Some(0), eos_tokens: vec![1], ..config };
        let tokenizer = Tokenizer::new(&TokenizerFiles::read(dir.path()).unwrap().unwrap(), &config).unwrap();
        let talk = untangle_model::Conversation::of_user("x");
        tokenizer.chat_template().unwrap().render(&talk, false, &untangle_schema::Silent).unwrap()
    };
    assert_eq!(rendered(json!({"image_token": "<s>"}), json!({})), "<s>|||", "ids of config.json have no name");
    assert_eq!(
        rendered(json!({"extra_special_tokens": {"image_token": "i"}, "bos_token": "<s>"}), json!({})),
        "i||<s>|"
    );
    assert_eq!(rendered(json!({"tokenizer_class": "RobertaTokenizer"}), json!({})), "|<pad>|<s>|</s>");
}

#[test]
fn many_special_tokens_take_no_more_than_their_number() {
    let many: Vec<String> = (0..60_000).map(|n| format!("<t{n}>")).collect();
    let decoder: serde_json::Map<String, Value> =
        many.iter().enumerate().map(|(n, content)| ((n + 6).to_string(), ordinary(content))).collect();
    let started = std::time::Instant::now();
    let known = with(tokenizer_json(json!({})), &[("tokenizer_config.json", json!({"added_tokens_decoder": decoder}))]);
    let listed = started.elapsed();
    assert_eq!(known.vocab_size(), 60_006);
    let object: serde_json::Map<String, Value> =
        many.iter().map(|content| (format!("{content}_token"), content.clone().into())).collect();
    let added: serde_json::Map<String, Value> =
        many.iter().enumerate().map(|(n, c)| (c.clone(), (n + 6).into())).collect();
    let kinds = [
        vec![("tokenizer_config.json", json!({"extra_special_tokens": many}))],
        vec![("tokenizer_config.json", json!({"extra_special_tokens": object}))],
        vec![("tokenizer_config.json", json!({"extra_special_tokens": many})), ("added_tokens.json", json!(added))],
    ];
    for files in kinds {
        let started = std::time::Instant::now();
        assert_eq!(with(tokenizer_json(json!({})), &files).vocab_size(), 60_006);
        let taken = started.elapsed();
        assert!(taken < 4 * listed, "{taken:?} against {listed:?} where they are listed");
    }
}

#[test]
fn a_tokenizer_that_cannot_be_is_bad_input() {
    let doubling: Vec<Value> =
        (0..60).map(|_| json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})).collect();
    let bytes =
        vec![json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}); 40];
    let halved = json!({"type": "BPE", "continuing_subword_prefix": "é##", "merges": ["a é##b", "a b"],
        "vocab": {"a": 0, "b": 1, "é##b": 3, "ab": 2}});
    let cases = [
        (json!({"model": halved}), "it contradicts itself"),
        (json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}), "it contradicts itself"),
        (
            json!({"normalizer": {"type": "Sequence", "normalizers": doubling}}),
            "normalizers make more than 4096 bytes of one",
        ),
        (
            json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": bytes}}),
            "pre-tokenizers make more than 4096 bytes",
        ),
        (json!({"decoder": {"type": "Sequence", "decoders": doubling}}), "decoders make more than 4096 bytes of one"),
        (json!({"model": {"type": "BPE", "vocab": {"a": u32::MAX}, "merges": []}}), "a token with the id 4294967295"),
        (json!({"model": {"type": "BPE", "vocab": {}, "merges": []}}), "it has no tokens"),
    ];
    for (change, expected) in cases {
        let dir = directory(&[("tokenizer.json", tokenizer_json(change))]);
        let tried = load(dir.path(), 6).and_then(|tokenizer| tokenizer.encode("aé##bab"));
        let error = tried.expect_err(expected);
        assert_eq!(error.fault(), Fault::BadInput, "{expected}");
        let said = error.to_string();
        assert!(said.contains("tokenizer.json: ") && said.contains(expected), "{expected}: {said}");
        assert!(!untangle_model::guard::panic_is_caught());
    }
}

/// Before `tokenizer.json` there were two files, and the class knew the rest.
#[test]
fn vocabulary_and_merges_make_the_tokenizer_of_their_class() {
    let class = |name: &str| ("tokenizer_config.json", json!({ "tokenizer_class": name }));
    let whole = tokenizer_json(json!({}));
    let texts = ["a b a", "  aa\nb ab", "<s>a</s>", "<|endoftext|> a"];
    for name in ["GPT2Tokenizer", "Qwen2TokenizerFast"] {
        let config = ("config.json", json!({}));
        let new = directory(&[("tokenizer.json", whole.clone()), class(name), config.clone()]);
        let old = directory(&[("vocab.json", whole["model"]["vocab"].clone()), class(name), config]);
        std::fs::write(old.path().join("merges.txt"), "#version: 0.2\n\u{120} a\n").unwrap();
        let (new, old) = (load(new.path(), 10).unwrap(), load(old.path(), 10).unwrap());
        for text in texts {
            assert_eq!(old.encode(text).unwrap(), new.encode(text).unwrap(), "{name} {text}");
        }
        assert_eq!(old.encode("a a").unwrap(), [2, 5]);
    }
    let unknown = directory(&[("vocab.json", whole["model"]["vocab"].clone()), class("LlamaTokenizer")]);
    assert!(TokenizerFiles::read(unknown.path()).unwrap().is_none(), "merges are missing");
    std::fs::write(unknown.path().join("merges.txt"), "a\n").unwrap();
    let error = TokenizerFiles::read(unknown.path()).unwrap_err();
    assert!(error.to_string().contains("merges.txt") && error.fault() == Fault::BadInput, "{error}");
    std::fs::write(unknown.path().join("merges.txt"), "a b\n").unwrap();
    let error = load(unknown.path(), 10).unwrap_err();
    assert!(error.to_string().contains("save_pretrained") && error.fault() == Fault::BadInput, "{error}");
}
