//! What stands around a decoder in weight files: heads, wrappers, adapters.

use crate::support::{copy_of, fixture, read_tensors, refusal};
use std::fs;
use std::path::Path;
use tch::{Kind, Tensor};
use untangle_model::{LanguageModel, LoadOptions, ModelError, NoHook};

/// Rewrites a model's tensors, each with its name.
fn rewrite(dir: &Path, change: impl Fn(String, Tensor) -> Vec<(String, Tensor)>) {
    let path = dir.join("model.safetensors");
    let tensors: Vec<(String, Tensor)> =
        read_tensors(&path).into_iter().flat_map(|(name, tensor)| change(name, tensor)).collect();
    Tensor::write_safetensors(&tensors, &path).unwrap();
}

fn load(dir: &Path) -> LanguageModel {
    LanguageModel::load(dir, &LoadOptions::default()).unwrap()
}

fn logits(model: &LanguageModel) -> Tensor {
    model.forward(&Tensor::from_slice(&[1i64, 5, 3]).unsqueeze(0), &mut NoHook).unwrap().unwrap()
}

#[test]
fn a_tied_head_may_have_either_name_or_both() {
    let right = logits(&fixture("gpt2"));
    let moved = copy_of("gpt2");
    rewrite(moved.path(), |name, tensor| match name.as_str() {
        "transformer.wte.weight" => vec![("lm_head.weight".into(), tensor)],
        _ => vec![(name, tensor)],
    });
    assert_eq!(logits(&load(moved.path())), right);

    let bare = copy_of("gpt2");
    rewrite(bare.path(), |name, tensor| match name.strip_prefix("transformer.").unwrap_or(&name) {
        "wte.weight" => vec![("lm_head.weight".into(), tensor)],
        plain => vec![(plain.to_owned(), tensor)],
    });
    assert_eq!(logits(&load(bare.path())), right, "without the prefix that the other names have");

    let both = |factor: f64| {
        let dir = copy_of("gpt2");
        rewrite(dir.path(), |name, tensor| match name.as_str() {
            "transformer.wte.weight" => vec![("lm_head.weight".into(), &tensor * factor), (name, tensor)],
            _ => vec![(name, tensor)],
        });
        load(dir.path())
    };
    let same = both(1.0);
    assert!(logits(&same) == right && same.notes().is_empty());
    let other = both(2.0);
    assert!(logits(&other).allclose(&(right * 2.0), 1e-6, 1e-6, false));
    assert!(other.notes()[0].contains("`lm_head.weight` differs from `transformer.wte.weight`"), "{:?}", other.notes());
}

#[test]
fn wrappers_and_other_heads_do_not_change_the_model() {
    let right = logits(&fixture("gpt2"));
    let dir = copy_of("gpt2");
    rewrite(dir.path(), |name, tensor| {
        let head = (name == "transformer.ln_f.bias").then(|| ("v_head.summary.weight".into(), tensor.copy()));
        head.into_iter().chain([(format!("base_model.model.{name}"), tensor)]).collect()
    });
    let model = load(dir.path());
    assert_eq!(logits(&model), right);
    assert!(model.notes()[0].ends_with("`v_head.summary.weight`"), "{:?}", model.notes());
}

#[test]
fn an_adapter_is_refused_by_name() {
    let dir = copy_of("gpt2");
    rewrite(dir.path(), |name, tensor| match name.as_str() {
        "transformer.ln_f.bias" => {
            vec![("transformer.h.0.attn.c_attn.lora_A.weight".into(), tensor.copy()), (name, tensor)]
        }
        _ => vec![(name, tensor)],
    });
    assert!(refusal(dir.path()).contains("c_attn.lora_A.weight` is one of an adapter"));
    let alone = tempfile::tempdir().unwrap();
    fs::write(alone.path().join("adapter_config.json"), "{}").unwrap();
    assert!(refusal(alone.path()).contains("holds an adapter (PEFT, LoRA) and not its model"));
    let beside = copy_of("gpt2");
    fs::write(beside.path().join("adapter_config.json"), "{}").unwrap();
    let found = refusal(beside.path());
    assert!(found.contains("adapter_config.json: there is an adapter (PEFT, LoRA) beside the model"), "{found}");
}

#[test]
fn two_names_of_one_parameter_are_told() {
    let dir = copy_of("gpt2");
    rewrite(dir.path(), |name, tensor| match name.as_str() {
        "transformer.ln_f.bias" => vec![(format!("module.{name}"), tensor.copy()), (name, tensor)],
        _ => vec![(name, tensor)],
    });
    let expected =
        "model.safetensors: tensors `transformer.ln_f.bias` and `module.transformer.ln_f.bias` mean the same";
    assert!(refusal(dir.path()).contains(expected), "{}", refusal(dir.path()));
}

#[test]
fn a_model_without_a_head_gives_no_logits() {
    let dir = copy_of("gpt2");
    let path = dir.path().join("config.json");
    let config = fs::read_to_string(&path).unwrap().replacen('{', "{\"tie_word_embeddings\": false, ", 1);
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["tie_word_embeddings"] = false.into();
    fs::write(&path, config.to_string()).unwrap();
    let model = load(dir.path()).in_kind(Kind::Float).unwrap();
    assert!(!model.has_unembedding());
    let tokens = Tensor::from_slice(&[1i64, 5]).unsqueeze(0);
    let error = model.forward(&tokens, &mut NoHook).unwrap_err();
    assert!(matches!(error, ModelError::NoHead { .. }), "{error}");
}

#[test]
fn a_missing_shard_names_the_remedy() {
    let dir = copy_of("llama");
    let shard = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let shard = shard.filter(|path| path.to_string_lossy().contains("-of-")).min().unwrap();
    fs::remove_file(shard).unwrap();
    let found = refusal(dir.path());
    assert!(found.contains("this shard is missing") && found.contains("fetch it again"), "{found}");
}
