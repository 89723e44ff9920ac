//! Damaged files and impossible requests are named: one clear error each, never a panic.

use crate::support::{FIXTURES, Recorder, copy_of, fixture, fixture_dir, refusal, refusal_with};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor};
use untangle_model::{Input, KvCache, LanguageModel, LoadOptions, ModelError, ModelFiles, NoHook};
use untangle_schema::{Classify, Fault, HookPoint, Site};

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
        ("llama", json!({"attention_bias": false}), "tensor `model.layers.0.self_attn.k_proj.bias` has no place"),
        (
            "phi3",
            json!({"num_key_value_heads": 3}),
            "tensor `model.layers.0.self_attn.qkv_proj.weight` has shape [40, 24], config.json asks for [72, 24]",
        ),
        (
            "phi3",
            json!({"intermediate_size": 20}),
            "tensor `model.layers.0.mlp.gate_up_proj.weight` has shape [42, 24], config.json asks for [40, 24]",
        ),
        ("gpt_neox", json!({"attention_bias": false}), "tensor `gpt_neox.layers.0.attention.dense.bias` has no place"),
        ("gpt_neox", json!({"hidden_size": 24}), "has shape [37, 20], config.json asks for [37, 24]"),
        ("qwen3", json!({"model_type": "llama"}), "tensor `model.layers.0.self_attn.k_norm.weight` has no place"),
        ("llama", json!({"model_type": "olmo2", "mlp_bias": false}), "self_attn.q_norm.weight` [48] is missing"),
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
fn pointers_of_git_are_named_whichever_file_they_stand_for() {
    let tokenizer = json!({"model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}}).to_string();
    for name in
        ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"]
    {
        let dir = copy_of("gpt2");
        fs::write(dir.path().join("tokenizer.json"), &tokenizer).unwrap();
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        fs::write(dir.path().join(name), pointer).unwrap();
        assert_eq!(refusal(dir.path()), format!("{name} {}", untangle_schema::git_lfs::REMEDY));
    }
}

#[test]
fn missing_files_are_named() {
    let dir = copy_of("llama");
    fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    let error = LanguageModel::load(dir.path(), &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("model-00002-of-00003.safetensors: this shard is missing"), "{error}");
    assert!(error.to_string().contains("model.safetensors.index.json names it; fetch it again"), "{error}");
    assert_eq!(error.fault(), Fault::BadInput);
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
fn a_tensor_in_two_files_is_refused() {
    let dir = copy_of("llama");
    let first = dir.path().join("model-00001-of-00003.safetensors");
    fs::copy(&first, dir.path().join("again.safetensors")).unwrap();
    let path = dir.path().join("model.safetensors.index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["weight_map"]["extra"] = json!("again.safetensors");
    fs::write(&path, index.to_string()).unwrap();
    let found = refusal(dir.path());
    assert!(found.starts_with("model-00001-of-00003.safetensors: tensor `"), "{found}");
    assert!(found.ends_with("is in again.safetensors too"), "{found}");
}

#[test]
fn doubles_are_rounded_and_that_is_told() {
    let dir = copy_of("gpt2");
    let path = dir.path().join("model.safetensors");
    let sum = |dir: &std::path::Path| {
        let model = LanguageModel::load(dir, &LoadOptions::default()).expect("loads");
        let sum = model.parameters().iter().map(|(_, tensor)| tensor.abs().sum(Kind::Double).double_value(&[])).sum();
        (model.notes().join("\n"), sum)
    };
    let (notes, right): (_, f64) = sum(dir.path());
    assert_eq!(notes, "");
    let tensors = Tensor::read_safetensors(&path).unwrap();
    let doubles: Vec<_> = tensors.into_iter().map(|(name, tensor)| (name, tensor.to_kind(Kind::Double))).collect();
    Tensor::write_safetensors(&doubles, &path).unwrap();
    let (notes, found) = sum(dir.path());
    assert!(notes.ends_with("model.safetensors: its float64 weights are rounded"), "{notes}");
    assert_eq!(found, right);
}

#[test]
fn tensors_of_other_types_are_refused_unless_they_hold_nothing_learned() {
    let embed = Tensor::zeros([53, 24], (Kind::Int8, Device::Cpu));
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
    assert!(
        found.starts_with("model.safetensors: tensor `transformer.wte.weight` is of type I8, not F64, F32"),
        "{found}"
    );
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
    let files = ModelFiles { name: "llama3", config: &config, tokenizer: None, chat_template: None, weights: &weights };
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
        let n = model.n_layers();
        let point = HookPoint::block(n, Site::ResidPost);
        let expected =
            format!("the model has no hook point `blocks.{n}.hook_resid_post`: its blocks are 0 to {}", n - 1);
        assert_no_hook(&model, point, &expected);
    }
    let neox = fixture("gpt_neox");
    assert_eq!(neox.hook_points_of("blocks.*.hook_*").unwrap().len(), 10);
    let error = neox.hook_points_of("blocks.*.hook_resid_mid").unwrap_err();
    assert!(error.to_string().starts_with("`blocks.*.hook_resid_mid` is no hook point of this model; it has hook_e"));
    assert_eq!(error.fault(), Fault::BadInput);
    let point = HookPoint::block(1, Site::ResidMid);
    let expected = "the model has no hook point `blocks.1.hook_resid_mid`: its attention and MLP run side by side";
    assert_no_hook(&neox, point, expected);
    let olmo = fixture("olmo2");
    assert!(olmo.hook_points().iter().all(|point| !point.to_string().starts_with("blocks.0.ln")));
    let expected = "the model has no hook point `blocks.0.ln2.hook_scale`: it norms what attention and MLP write, not what \
                    they read";
    assert_no_hook(&olmo, HookPoint::block(0, Site::Ln2Scale), expected);
}

#[track_caller]
fn assert_no_hook(model: &LanguageModel, point: HookPoint, expected: &str) {
    assert_eq!(model.check_hook(point).unwrap_err().to_string(), expected);
    assert_eq!(model.width_of(point).unwrap_err().fault(), Fault::BadInput);
    assert!(!model.hook_points().contains(&point));
    let mut recorder = Recorder { last: Some(point), ..Recorder::default() };
    let tokens = crate::support::tokens(model, 1, 3);
    assert_eq!(model.forward(&tokens, &mut recorder).unwrap_err().to_string(), expected);
    assert!(recorder.order.is_empty());
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
