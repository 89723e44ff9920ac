//! Damaged files and impossible requests are named: one clear error each, never a panic.

use crate::support::{FIXTURES, Recorder, fixture, fixture_dir};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use untangle_model::{Input, KvCache, LanguageModel, LoadOptions, ModelConfig, ModelError, ModelFiles, NoHook};
use untangle_schema::{Classify, Fault, HookPoint, Site};

/// A copy of a fixture that can be damaged.
fn copy_of(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture_dir(name)).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, dir.path().join(from.file_name().unwrap())).unwrap();
    }
    dir
}

/// The error of loading `dir`, without the folder's path.
fn refusal(dir: &Path) -> String {
    let error = LanguageModel::load(dir, &LoadOptions::default()).expect_err("damaged");
    assert_eq!(error.fault(), Fault::BadInput, "{error}");
    error.to_string().replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

/// Writes the fixture's config with some fields replaced, and returns the error.
fn refusal_with(name: &str, changes: Value) -> String {
    let dir = copy_of(name);
    let path = dir.path().join("config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        json[field] = value.clone();
    }
    fs::write(&path, json.to_string()).unwrap();
    refusal(dir.path())
}

#[test]
fn fields_that_are_not_supported_are_named_with_what_is() {
    let cases = [
        ("gpt2", json!({"model_type": "mamba"}), "`model_type` is \"mamba\"; supported: gpt2, llama"),
        ("gpt2", json!({"model_type": null}), "`model_type` is null; supported: gpt2, llama"),
        ("gpt2", json!({"activation_function": "mish"}), "`activation_function` is \"mish\"; supported: gelu, "),
        ("gpt2", json!({"n_embd": "wide"}), "`n_embd` is \"wide\"; supported: a whole number"),
        ("gpt2", json!({"n_head": 5}), "`n_head` is 5; supported: a divisor of the model width 24"),
        ("gpt2", json!({"n_head": 0}), "`n_head` is 0; supported: a divisor"),
        ("gpt2", json!({"n_layer": 0}), "`number of layers` is 0; supported: 1 to"),
        ("gpt2", json!({"vocab_size": 1u64 << 40}), "`vocabulary size` is 1099511627776; supported: 1 to"),
        ("gpt2", json!({"n_layer": -2}), "`n_layer` is -2; supported: a whole number"),
        ("gpt2", json!({"layer_norm_epsilon": 0}), "`epsilon of the norm` is 0; supported: positive numbers"),
        ("gpt2", json!({"scale_attn_by_inverse_layer_idx": true}), "`scale_attn_by_inverse_layer_idx` is true"),
        ("gpt2", json!({"add_cross_attention": true}), "`add_cross_attention` is true; supported: false"),
        ("gpt2", json!({"quantization_config": {"bits": 4}}), "`quantization_config` is {\"bits\":4}; supported: null"),
        ("llama", json!({"num_key_value_heads": 3}), "`number of key-value heads` is 3; supported: a divisor of the 4"),
        ("llama", json!({"head_dim": 11}), "`head width` is 11; supported: an even number"),
        ("llama", json!({"rope_parameters": {"rope_type": "yarn"}}), "`rope_parameters.rope_type` is \"yarn\""),
        (
            "llama",
            json!({"rope_parameters": null, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
            "`rope_scaling.type` is \"dynamic\"; supported: default, linear, llama3",
        ),
        ("llama", json!({"rope_parameters": {"rope_type": "llama3"}}), "`rope_parameters.factor` is missing"),
        ("llama", json!({"attention_bias": "yes"}), "`attention_bias` is \"yes\"; supported: true or false"),
        ("llama", json!({"eos_token_id": ["x"]}), "`eos_token_id` is [\"x\"]; supported: a token id, a list"),
    ];
    for (name, changes, expected) in cases {
        let found = refusal_with(name, changes);
        assert!(found.starts_with(&format!("config.json: {expected}")), "{found} is not {expected}");
    }
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_named() {
    let cases = [
        (
            "gpt2",
            json!({"n_inner": 36}),
            "tensor `transformer.h.0.mlp.c_fc.weight` has shape [24, 37], config.json asks for [24, 36]",
        ),
        ("gpt2", json!({"n_layer": 3}), "tensor `transformer.h.2.ln_1.weight` [24] is missing"),
        ("gpt2", json!({"n_layer": 1}), "tensor `transformer.h.1.attn.c_attn.bias` has no place"),
        ("gpt2", json!({"tie_word_embeddings": false}), "tensor `lm_head.weight` [53, 24] is missing"),
        ("llama", json!({"attention_bias": false}), "tensor `model.layers.0.self_attn.k_proj.bias` has no place"),
        ("llama3", json!({"mlp_bias": true}), "tensor `model.layers.0.mlp.gate_proj.bias` [40] is missing"),
    ];
    for (name, changes, expected) in cases {
        let found = refusal_with(name, changes);
        assert!(found.contains(expected), "{found} is not {expected}");
    }
}

#[test]
fn damaged_weight_files_are_named() {
    let dir = copy_of("gpt2");
    let path = dir.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header_len = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let damage = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).unwrap();
        let found = refusal(dir.path());
        assert!(found.starts_with("model.safetensors: not a complete safetensors file: "), "{found}");
        assert!(found.contains(expected) && found.ends_with("fetch it again"), "{found} is not {expected}");
    };
    let promised = whole.len() - header_len;
    damage(&whole[..whole.len() / 2], &format!("promises {promised} bytes of tensors, "));
    damage(&whole[..whole.len() - 1], &format!("{} are there", promised - 1));
    damage(&whole[..header_len / 2], "its header claims");
    damage(&whole[..5], "it has 5 bytes");
    damage(&[], "it has 0 bytes");
    damage(&[255; 64], "its header claims 18446744073709551615 bytes, the file has 64");
    damage(&[&whole[..], b"x"].concat(), &format!("{} are there", promised + 1));
    damage(&[&whole[..8], &vec![b'{'; whole.len() - 8]].concat(), "its header is damaged: ");
}

#[test]
fn missing_files_are_named() {
    let dir = copy_of("llama");
    fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    let error = LanguageModel::load(dir.path(), &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("model-00002-of-00003.safetensors: No such file"), "{error}");
    assert_eq!(error.fault(), Fault::Io);
    fs::remove_file(dir.path().join("model.safetensors.index.json")).unwrap();
    assert!(refusal(dir.path()).starts_with("DIR: no `model.safetensors` in this directory"));
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(refusal(dir.path()).starts_with("DIR: no `config.json` in this directory; a model is"));
    assert!(refusal(Path::new("/nowhere")).contains("no `config.json`"));
}

#[test]
fn an_index_names_only_files_beside_it() {
    let dir = copy_of("llama");
    for name in ["../model.safetensors", "/etc/passwd", "a/b", ".."] {
        let index = json!({"weight_map": {"x": name}}).to_string();
        fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        let found = refusal(dir.path());
        assert!(found.starts_with("model.safetensors.index.json: `weight_map` is "), "{found}");
    }
}

#[test]
fn tensors_of_other_types_are_refused_unless_they_hold_nothing_learned() {
    let embed = Tensor::zeros([53, 24], (Kind::Double, Device::Cpu));
    let mask = Tensor::ones([1, 1, 16, 16], (Kind::Bool, Device::Cpu));
    let dir = copy_of("gpt2");
    let path = dir.path().join("model.safetensors");
    let with = |name: &str, tensor: &Tensor| {
        let fixture = fixture_dir("gpt2").join("model.safetensors");
        let mut tensors = Tensor::read_safetensors(fixture).unwrap();
        tensors.retain(|(old, _)| old != name);
        tensors.push((name.into(), tensor.shallow_clone()));
        Tensor::write_safetensors(&tensors, &path).unwrap();
    };
    with("transformer.wte.weight", &embed);
    let found = refusal(dir.path());
    assert_eq!(found, "model.safetensors: tensor `transformer.wte.weight` is of type F64; supported: F32, F16, BF16");
    with("transformer.h.0.attn.bias", &mask);
    LanguageModel::load(dir.path(), &LoadOptions::default()).expect("the causal mask of old versions is passed over");
}

#[test]
fn names_without_the_familys_prefix_load_too() {
    let dir = copy_of("gpt2");
    let path = dir.path().join("model.safetensors");
    let tensors = Tensor::read_safetensors(&path).unwrap();
    let bare: Vec<_> = tensors.into_iter().map(|(name, t)| (name.replace("transformer.", ""), t)).collect();
    Tensor::write_safetensors(&bare, &path).unwrap();
    let loaded = LanguageModel::load(dir.path(), &LoadOptions::default()).unwrap();
    let tokens = crate::support::tokens(&loaded, 1, 5);
    let logits = |model: &LanguageModel| model.forward(&tokens, &mut NoHook).unwrap().unwrap();
    assert!(logits(&loaded).equal(&logits(&fixture("gpt2"))));
}

#[test]
fn a_model_from_memory_is_the_same_model() {
    let read = |name: &str| fs::read(fixture_dir("llama3").join(name)).unwrap();
    let (config, weights) = (read("config.json"), read("model.safetensors"));
    let files = ModelFiles { name: "llama3", config: &config, tokenizer: None, weights: &weights };
    let model = LanguageModel::from_memory(&files, &LoadOptions::default()).unwrap();
    assert_eq!(model.identity(), fixture("llama3").identity());
    assert_eq!(model.identity().weights_sha256.len(), 64);
    assert_eq!(model.identity().name, "llama3");
    assert!(matches!(model.tokenizer(), Err(ModelError::NoTokenizer { .. })));
    let cut = ModelFiles { weights: &weights[..1000], ..files };
    assert!(matches!(LanguageModel::from_memory(&cut, &LoadOptions::default()), Err(ModelError::Weights { .. })));
}

#[test]
fn hooks_that_do_not_exist_are_named_with_the_range() {
    for name in FIXTURES {
        let model = fixture(name);
        let point = HookPoint::block(2, Site::ResidPost);
        let expected = "the model has no hook point `blocks.2.hook_resid_post`: its blocks are 0 to 1";
        assert_eq!(model.check_hook(point).unwrap_err().to_string(), expected);
        assert_eq!(model.width_of(point).unwrap_err().fault(), Fault::BadInput);
        let mut recorder = Recorder { last: Some(point), ..Recorder::default() };
        let tokens = crate::support::tokens(&model, 1, 3);
        assert_eq!(model.forward(&tokens, &mut recorder).unwrap_err().to_string(), expected);
        assert!(recorder.order.is_empty());
    }
}

#[test]
fn passes_that_do_not_fit_the_model_are_refused() {
    let model = fixture("gpt2");
    let ids = |size: &[i64]| Tensor::zeros(size, (Kind::Int64, Device::Cpu));
    let error = |input: &Input<'_>, cache: Option<&mut KvCache>| {
        model.forward_with(input, cache, &mut NoHook).unwrap_err().to_string()
    };
    for tokens in [ids(&[3]), ids(&[0, 3]), ids(&[1, 0]), ids(&[1, 3]).to_kind(Kind::Float)] {
        assert!(error(&Input::new(&tokens), None).starts_with("tokens is "));
    }
    assert_eq!(error(&Input::new(&ids(&[1, 17])), None), "17 tokens do not fit into the model's context of 16");
    let negative = ids(&[1, 2]) - 1;
    assert_eq!(error(&Input::new(&negative), None), "tokens is -1 among them; expected ids from 0 to 52");
    let (tokens, mask) = (ids(&[2, 3]), ids(&[2, 3]));
    assert!(error(&Input { mask: Some(&mask), ..Input::new(&tokens) }, None).starts_with("mask is Int64 [2, 3]"));
    let mut cache = KvCache::new(model.config());
    model.forward_with(&Input::new(&tokens), Some(&mut cache), &mut NoHook).unwrap();
    assert!(error(&Input::new(&ids(&[1, 3])), Some(&mut cache)).starts_with("cache is of 2 layers and 2 rows"));
    assert!(error(&Input::new(&ids(&[2, 14])), Some(&mut cache)).starts_with("17 tokens do not fit"));
    let options = LoadOptions { kind: Kind::Half, ..LoadOptions::default() };
    let half = LanguageModel::load(&fixture_dir("gpt2"), &options).unwrap_err().to_string();
    assert_eq!(half, "the kind of the parameters is Half; expected Float or BFloat16");
}

/// Bytes with some replaced, and perhaps cut.
fn mutated(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let (len, changes) = (bytes.len(), proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6));
    (changes, 0..=len).prop_map(move |(changes, keep)| {
        let mut bytes = bytes.clone();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        // Half of the cases keep their length, so that damage inside is met too.
        bytes.truncate(if keep % 2 == 0 { bytes.len() } else { keep });
        bytes
    })
}

fn read(name: &str) -> Vec<u8> {
    fs::read(fixture_dir("gpt2").join(name)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn mutated_headers_give_errors_or_models_but_never_panics(weights in mutated(read("model.safetensors")[..3000].to_vec())) {
        let whole = read("model.safetensors");
        let weights = [&weights[..], &whole[3000..]].concat();
        let config = read("config.json");
        let files = ModelFiles { name: "x", config: &config, tokenizer: None, weights: &weights };
        let _ = LanguageModel::from_memory(&files, &LoadOptions::default());
    }

    #[test]
    fn mutated_configurations_give_errors_or_configurations_but_never_panics(config in mutated(read("config.json"))) {
        let (path, weights) = (Path::new("config.json"), read("model.safetensors"));
        if ModelConfig::from_json(path, &config).is_ok() {
            let files = ModelFiles { name: "x", config: &config, tokenizer: None, weights: &weights };
            let _ = LanguageModel::from_memory(&files, &LoadOptions::default());
        }
    }
}
