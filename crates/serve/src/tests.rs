//! Laws of what is taken in and of what is said of it.

use crate::fuzz::request;
use crate::problem::Problem;
use crate::routes::PATHS;
use crate::routes::about::OPENAPI;
use crate::wire::chat::{
    ChatChoice, ChatChunk, ChatCompletion, ChatLogprobs, ChatRequest, ChunkChoice, Delta, Reply, TokenLogprob,
    TopLogprob,
};
use crate::wire::completions::{Completion, CompletionChoice, CompletionLogprobs, CompletionRequest, Prompt};
use crate::wire::models::{DictionaryCard, Health, ModelCard, ModelList};
use crate::wire::tokens::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokenized, TokenizerInfo};
use crate::wire::writing::{FinishReason, Seed, Stop, StreamOptions, Usage, WritingRequest};
use crate::wire::{read, steering};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn api() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
}

/// The fields of a type are those of its schema, and those that are always there are required.
pub(crate) fn is_described(name: &str, full: &[Value], optional: &[&str]) {
    let schema = &api()["components"]["schemas"][name];
    let fields: BTreeSet<String> = full.iter().flat_map(names).collect();
    assert_eq!(names(&schema["properties"]), fields, "{name}");
    let required = schema["required"].as_array().map(|all| all.iter().map(|name| name.as_str().unwrap().to_owned()));
    let required: BTreeSet<String> = required.into_iter().flatten().collect();
    let always: BTreeSet<String> = fields.into_iter().filter(|field| !optional.contains(&field.as_str())).collect();
    if !name.ends_with("Request") && name != "StreamOptions" {
        assert_eq!(required, always, "required of {name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
}

pub(crate) fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("JSON")
}

fn writing() -> WritingRequest {
    WritingRequest {
        model: Some("m".into()),
        max_tokens: Some(1),
        temperature: Some(1.0),
        top_p: Some(1.0),
        top_k: Some(1),
        min_p: Some(0.0),
        repetition_penalty: Some(1.0),
        seed: Some(Seed(1)),
        n: Some(1),
        stop: Some(Stop::One("x".into())),
        stream: Some(true),
        stream_options: Some(StreamOptions { include_usage: Some(true) }),
        steering: Some(json!([])),
        frequency_penalty: Some(0.0),
        presence_penalty: Some(0.0),
        logit_bias: Some(BTreeMap::new()),
    }
}

#[test]
fn the_description_has_every_field_of_every_request() {
    let completion = CompletionRequest {
        prompt: Some(Prompt::Text("x".into())),
        echo: Some(true),
        logprobs: Some(1),
        best_of: Some(1),
        suffix: Some(String::new()),
    };
    let chat = ChatRequest {
        messages: Some(vec![Map::new()]),
        max_completion_tokens: Some(1),
        logprobs: Some(true),
        top_logprobs: Some(1),
        tools: Some(vec![]),
        functions: Some(vec![]),
        response_format: Some(Map::new()),
    };
    is_described("CompletionRequest", &[value(&writing()), value(&completion)], &[]);
    is_described("ChatRequest", &[value(&writing()), value(&chat)], &[]);
    let tokenize = TokenizeRequest { prompt: Some(String::new()), add_special_tokens: Some(true) };
    is_described("TokenizeRequest", &[value(&tokenize)], &[]);
    is_described("DetokenizeRequest", &[value(&DetokenizeRequest { tokens: Some(vec![]) })], &[]);
    is_described("StreamOptions", &[value(&StreamOptions { include_usage: Some(true) })], &[]);
    let described = names(&api()["components"]["schemas"]["InterventionObject"]["properties"]);
    let known =
        steering::OTHERS.iter().chain(&steering::WITH_AMOUNT).chain(&steering::WITHOUT).chain([&steering::SWAP]);
    assert_eq!(described, known.map(|name| (*name).to_owned()).collect());
}

#[test]
fn seeds_are_whole_numbers_of_64_bits() {
    let seed = |text: &str| read::<WritingRequest>(format!("{{\"seed\": {text}}}").as_bytes());
    for (text, expected) in [("7", 7), ("-1", u64::MAX), ("18446744073709551615", u64::MAX)] {
        assert_eq!(seed(text).expect("a seed").seed, Some(Seed(expected)), "{text}");
    }
    for text in ["1.5", "18446744073709551616", "\"7\""] {
        assert_eq!(value(&seed(text).expect_err("none").body())["error"]["param"], "seed", "{text}");
    }
}

#[test]
fn the_description_has_every_field_of_every_answer() {
    let usage = Usage::new(1, 2);
    let logprobs = CompletionLogprobs::default();
    let (id, object, model, system_fingerprint) = (String::new(), "", String::new(), String::new());
    let choice =
        CompletionChoice { index: 0, text: String::new(), logprobs: None, finish_reason: Some(FinishReason::Stop) };
    let steering = vec!["12:add=2x".to_owned()];
    let completion = Completion {
        id: id.clone(),
        object,
        created: 0,
        model: model.clone(),
        system_fingerprint: system_fingerprint.clone(),
        choices: vec![choice.clone()],
        usage: Some(usage),
        steering: steering.clone(),
    };
    is_described("Usage", &[value(&usage)], &[]);
    is_described("CompletionLogprobs", &[value(&logprobs)], &[]);
    is_described("CompletionChoice", &[value(&choice)], &[]);
    is_described("Completion", &[value(&completion)], &["steering"]);
    let top = TopLogprob { token: String::new(), logprob: 0.0, bytes: vec![] };
    let token = TokenLogprob { token: String::new(), logprob: 0.0, bytes: vec![], top_logprobs: vec![top.clone()] };
    let logprobs = ChatLogprobs { content: vec![token.clone()], refusal: None };
    let reply = Reply { role: "assistant", content: String::new(), refusal: None };
    let choice = ChatChoice { index: 0, message: reply.clone(), logprobs: None, finish_reason: FinishReason::Length };
    let delta = Delta { role: Some("assistant"), content: Some(String::new()) };
    let part = ChunkChoice { index: 0, delta: delta.clone(), logprobs: None, finish_reason: None };
    let (choices, created) = (vec![choice.clone()], 0);
    let whole = ChatCompletion {
        id: id.clone(),
        object,
        created,
        model: model.clone(),
        system_fingerprint: system_fingerprint.clone(),
        choices,
        usage,
        steering: steering.clone(),
    };
    let chunk = ChatChunk {
        id,
        object,
        created,
        model,
        system_fingerprint,
        choices: vec![part.clone()],
        usage: None,
        steering,
    };
    is_described("TopLogprob", &[value(&top)], &[]);
    is_described("TokenLogprob", &[value(&token)], &[]);
    is_described("ChatLogprobs", &[value(&logprobs)], &[]);
    is_described("Reply", &[value(&reply)], &[]);
    is_described("ChatChoice", &[value(&choice)], &[]);
    is_described("Delta", &[value(&delta)], &["role", "content"]);
    is_described("ChunkChoice", &[value(&part)], &[]);
    is_described("ChatCompletion", &[value(&whole)], &["steering"]);
    is_described("ChatChunk", &[value(&chunk)], &["steering"]);
    let dictionary = DictionaryCard { name: String::new(), features: 1, has_database: true };
    let card = ModelCard {
        id: String::new(),
        object: "model",
        created: 0,
        owned_by: "untangle",
        context_length: 1,
        chat: true,
        dictionaries: vec![dictionary.clone()],
        vectors: vec![],
        steering: vec![],
    };
    is_described("DictionaryCard", &[value(&dictionary)], &[]);
    is_described("ModelCard", &[value(&card)], &[]);
    is_described("ModelList", &[value(&ModelList { object: "list", data: vec![card] })], &[]);
    is_described("Health", &[value(&Health { status: "ok", writing: 0, waiting: 0, questions: 0, queue: 1 })], &[]);
    let tokenized = Tokenized { tokens: vec![], count: 0, max_model_len: 0 };
    is_described("Tokenized", &[value(&tokenized)], &[]);
    is_described("Detokenized", &[value(&Detokenized { prompt: String::new() })], &[]);
    is_described("TokenizerInfo", &[value(&TokenizerInfo { bos_token: None, eos_token: None })], &[]);
    let fallen = value(&Problem::invalid("x").body());
    is_described("ErrorBody", std::slice::from_ref(&fallen), &[]);
    is_described("Error", &[fallen["error"].clone()], &[]);
}

#[test]
fn the_description_has_every_path() {
    let api = api();
    let described: BTreeSet<(String, String)> = api["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| names(methods).into_iter().map(|method| (path.clone(), method.to_uppercase())))
        .collect();
    assert_eq!(described, PATHS.map(|(path, method)| (path.to_owned(), method.to_owned())).into());
    // Every reference leads somewhere.
    let text = OPENAPI.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().expect("a name"));
    for name in text {
        assert!(api["components"]["schemas"][name].is_object(), "{name}");
    }
    assert_eq!(api["openapi"], "3.1.0");
}

/// What entries of `steering` mean, or what is wrong with them, and where.
fn understood(field: Value) -> Result<Vec<String>, (String, String)> {
    let vectors = [PathBuf::from("deep/calm.gguf")];
    match steering::read(Some(&field), &vectors) {
        Ok(specs) => Ok(specs.iter().map(ToString::to_string).collect()),
        Err(problem) => {
            let told = value(&problem.body())["error"].clone();
            assert_eq!((problem.status.as_u16(), &told["type"]), (400, &json!("invalid_request_error")));
            Err((
                told["param"].as_str().expect("a place").to_owned(),
                told["message"].as_str().expect("why").to_owned(),
            ))
        }
    }
}

#[test]
fn steering_has_the_words_of_the_command_line() {
    let point = "blocks.1.hook_resid_post";
    let same = [
        (json!({"feature": 12, "add": "2x"}), "12:add=2x".to_owned()),
        (json!({"feature": 12}), "12:add=1x".to_owned()),
        (json!({"feature": "late#12", "set": 3, "at": "generated"}), "late#12:set=3 at generated".to_owned()),
        (
            json!({"feature": "rude", "ablate": true, "when": "'anger'>0.5x"}),
            "'rude':ablate when 'anger'>0.5x".to_owned(),
        ),
        (json!({"feature": "a: b at c", "mul": 0.5}), "'a: b at c':mul=0.5".to_owned()),
        (
            json!({"token": " cat", "in": point, "add-direction": "0.3n"}),
            format!("token ' cat' in {point}:add-direction=0.3n"),
        ),
        (json!({"vector": "calm.gguf"}), "vector 'deep/calm.gguf':add-direction=1x".to_owned()),
        (
            json!({"vector": "deep/calm.gguf", "in": point, "cap": 2}),
            format!("vector 'deep/calm.gguf' in {point}:cap=2"),
        ),
        (json!({"feature": 3, "swap": 4}), "3:swap=4".to_owned()),
        (json!({"feature": 3, "swap": "vector 'calm.gguf'"}), "3:swap=vector 'deep/calm.gguf'".to_owned()),
        (json!("12:add=2x at prompt[-1]"), "12:add=2x at prompt[-1]".to_owned()),
    ];
    for (entry, words) in same {
        assert_eq!(understood(json!([entry])), Ok(vec![words]), "{entry}");
    }
    assert_eq!((understood(json!([])), understood(Value::Null)), (Ok(vec![]), Ok(vec![])));
}

#[test]
fn what_is_wrong_with_steering_is_said_where_it_is() {
    let wrong = [
        (json!({"feature": 12, "add": "2x"}), "steering", "is a list"),
        (json!([3]), "steering[0]", "an object or a text"),
        (json!(["12:add=2x", "12:clamp=2"]), "steering[1]", "no operator `clamp`"),
        (json!([{"feature": 12, "ad": 2}]), "steering[0].ad", "there is no `ad`"),
        (json!([{"add": 2}]), "steering[0]", "one of `feature`, `token` and `vector`"),
        (json!([{"feature": 1, "vector": "x"}]), "steering[0].vector", "one of `feature`"),
        (json!([{"feature": 1, "add": 1, "set": 2}]), "steering[0].set", "one operation"),
        (json!([{"feature": -1}]), "steering[0].feature", "count from 0"),
        (json!([{"feature": 1.5}]), "steering[0].feature", "count from 0"),
        (json!([{"feature": [1]}]), "steering[0].feature", "a number, or a text"),
        (json!([{"feature": 1, "add": "nan"}]), "steering[0].add", "not a finite number"),
        (json!([{"feature": 1, "add": 1e300}]), "steering[0].add", "absurd"),
        (json!([{"feature": 1, "add": null}]), "steering[0].add", "a number, or a text"),
        (json!([{"feature": 1, "ablate": false}]), "steering[0].ablate", "true, or left out"),
        (json!([{"feature": 1, "at": "promt"}]), "steering[0].at", "says no tokens"),
        (json!([{"feature": 1, "when": "2"}]), "steering[0].when", "compares nothing"),
        (json!([{"feature": 1, "in": "hook_embed"}]), "steering[0].in", "belongs to tokens and vectors"),
        (json!([{"token": " cat", "cap": 1}]), "steering[0].in", "needs `in`"),
        (json!([{"token": " cat", "in": "blocks.1.hook_resid_post"}]), "steering[0]", "no strength of its own"),
        (json!([{"vector": "calm.gguf", "mul": 2}]), "steering[0]", "mul is for features"),
        (json!([{"vector": "/etc/passwd"}]), "steering[0]", "no vector `/etc/passwd` here; at hand are calm.gguf"),
        (json!([{"vector": "../calm.gguf"}]), "steering[0]", "no vector"),
        (json!(["vector 'other.gguf':cap=1"]), "steering[0]", "no vector"),
        (json!(["3:add=1 when vector 'other.gguf'>1"]), "steering[0]", "no vector"),
        (json!(["3:swap=vector 'other.gguf'"]), "steering[0]", "no vector"),
    ];
    for (field, place, part) in wrong {
        let (at, message) = understood(field.clone()).expect_err("wrong");
        assert!(at == place && message.contains(part), "{field}: {at}: {message}");
    }
    let many: Vec<Value> = (0..65).map(|feature| json!({ "feature": feature })).collect();
    assert!(understood(Value::Array(many)).expect_err("too many").1.contains("at most 64"));
}

#[test]
fn a_fault_of_a_body_names_the_field() {
    let param = |body: &str| {
        let problem = read::<WritingRequest>(body.as_bytes()).expect_err(body);
        (problem.status.as_u16(), value(&problem.body())["error"]["param"].clone())
    };
    assert_eq!(param(r#"{"temperature": "hot"}"#), (400, json!("temperature")));
    assert_eq!(param(r#"{"stream_options": {"include_usage": 3}}"#), (400, json!("stream_options")));
    assert_eq!(param(r#"{"stop": [1]}"#), (400, json!("stop")));
    assert_eq!(param(r#"{"n": -1}"#), (400, json!("n")));
    assert_eq!(param(r#"{"stream_options": [true]}"#), (400, json!("stream_options")));
    for broken in [
        "",
        "{",
        "[]",
        "[\"organism\", 3]",
        "3",
        "{} {}",
        "\u{feff}{}",
        &format!("{}{}", "[".repeat(9999), "]".repeat(9999)),
    ] {
        assert_eq!(param(broken), (400, Value::Null), "{broken:.20}");
    }
    assert!(read::<WritingRequest>(br#"{"unheard_of": [{}]}"#).is_ok(), "as OpenAI does");
}

fn tree() -> impl Strategy<Value = Value> {
    let names = || {
        prop::sample::select(vec![
            "model",
            "prompt",
            "messages",
            "steering",
            "feature",
            "add",
            "at",
            "when",
            "stop",
            "n",
            "seed",
            "role",
            "content",
            "type",
            "text",
            "logprobs",
            "token",
            "in",
            "vector",
            "swap",
            "ablate",
            "stream_options",
            "max_tokens",
            "x",
        ])
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "2x",
            "0.3n",
            "12:add=2x at generated when 3>1",
            "'",
            "a#'b",
            "prompt[-1..",
            "nan",
            "text",
            "vector 'x' in blocks.1.hook_resid_post",
            "user"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(names().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(
        fields in tree(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        request(&bytes);
        let mut body = fields.to_string().into_bytes();
        request(&body);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        request(&body);
        let _ = steering::read(Some(&fields), &[]);
        let _ = steering::read(Some(&json!([fields])), &[]);
    }
}
