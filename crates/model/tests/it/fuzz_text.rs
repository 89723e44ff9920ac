//! Damaged and invented tokenizers, templates and answers of a hub never make a reader panic or hang.

use crate::hub_server::{COMMIT, Hub, Mishap};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use untangle_model::hub::{DatasetSpec, HubOptions, Retry, fetch_config, list_dataset};
use untangle_model::{ChatTemplate, Conversation, ModelConfig, Tokenizer, TokenizerFiles};
use untangle_schema::Silent;

static CONFIG: LazyLock<ModelConfig> = LazyLock::new(|| {
    let path = crate::support::fixture_dir("llama").join("config.json");
    ModelConfig::from_json(&path, &fs::read(&path).unwrap()).unwrap()
});

/// A tokenizer with a part of every kind, and many fields whose values can be others.
fn tokenizer() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 0, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": " "}, "content": "Ġ"},
            {"type": "Prepend", "prepend": "Ġ"}]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a+|b"}, "behavior": "Isolated", "invert": false},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0],
            "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<s>": 0, "a": 2, "b": 3, "Ġ": 4, "Ġa": 5}, "merges": ["Ġ a"]}
    })
}

/// Paths of everything within a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let mut below = |key: &str, inner: &Value| places(inner, &format!("{at}/{key}"), found);
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, inner)| below(&i.to_string(), inner)),
        Value::Object(fields) => fields.iter().for_each(|(key, inner)| below(key, inner)),
        _ => {}
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![0, 1, 1 << 32, u64::MAX]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "ByteLevel", "WordPiece", "Unigram", "Metaspace", "(", "a*", "[[:"])
            .prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"type": "Strip", "content": "a", "start": u64::MAX, "stop": 1})),
    ]
}

/// An answer of the hub whose body is of this length, and says so.
fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn damaged(mut bytes: Vec<u8>, changes: &[(Index, u8)], cut: Option<Index>) -> Vec<u8> {
    changes.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
    bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]()%|\"'0-<>:,\r\n ".to_vec())];
    prop::collection::vec((any::<Index>(), byte), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn tokenizers_with_other_values(changes in prop::collection::vec((any::<Index>(), anything()), 1..3), text in "[ab <s>Ġ]{0,20}") {
        let mut json = tokenizer();
        for (at, value) in changes {
            let mut found = Vec::new();
            places(&json, "", &mut found);
            let place: &String = at.get(&found);
            *json.pointer_mut(place).unwrap() = value;
        }
        if let Ok(tokenizer) = Tokenizer::new(&TokenizerFiles::in_memory(json.to_string().as_bytes()), &CONFIG)
            && let Ok(ids) = tokenizer.encode(&text)
        {
            let _ = tokenizer.decode(&ids);
        }
    }

    #[test]
    fn damaged_templates(which in any::<Index>(), changes in changes(), cut in prop::option::weighted(0.2, any::<Index>())) {
        static TEMPLATES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/chat_templates");
            fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
        });
        let text = damaged(which.get(&TEMPLATES).clone(), &changes, cut);
        let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
        let path = Path::new("chat_template.jinja");
        if let Ok(template) = ChatTemplate::new(path, &String::from_utf8_lossy(&text), &special) {
            let _ = template.render(&Conversation::of_user("hello"), true, &Silent);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn damaged_answers_of_a_hub(which in 0usize..3, changes in changes(), cut in prop::option::weighted(0.3, any::<Index>())) {
        let revision = json!({"sha": COMMIT, "siblings": [{"rfilename": "config.json"}, {"rfilename": "a/b.parquet"}]});
        let page = json!([{"type": "file", "path": "a/b.parquet", "size": 3}, {"type": "directory", "path": "a"}]);
        let answers = [
            answer("", revision.to_string().as_bytes()),
            answer("Link: </x?cursor=1>; rel=\"next\"\r\n", page.to_string().as_bytes()),
            answer("ETag: \"ab\"\r\n", b"{}"),
        ];
        let (hub, cache) = (Hub::start(), tempfile::tempdir().unwrap());
        for (at, path) in ["/revision/", "/tree/", "config.json"].into_iter().enumerate() {
            let bytes = answers[at].clone();
            hub.mishap(path, 9, Mishap::Raw(if at == which { damaged(bytes, &changes, cut) } else { bytes }));
        }
        let second = Duration::from_secs(1);
        let retry = Retry { attempts: 1, first_wait: second, longest_wait: second, silence: second, answer: second };
        let options = HubOptions { endpoint: hub.endpoint(), retry, ..HubOptions::with_cache(cache.path().into()) };
        let spec = DatasetSpec::parse("dataset:o/n").unwrap().unwrap();
        let _ = (list_dataset(&spec, &options, &Silent), fetch_config("o/n", None, &options, &Silent));
        let outside = cache.path().parent().unwrap().join("b.parquet");
        prop_assert!(!outside.exists());
    }
}
