//! Damaged and invented files never make the reader panic: an error that names the file, or a model.

use crate::support::{FIXTURES, fixture_dir};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor};
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, ModelError, ModelFiles, NoHook};

/// Fixtures whose weights are one file.
fn whole() -> impl Strategy<Value = &'static str> {
    prop::sample::select(FIXTURES.into_iter().filter(|name| *name != "llama").collect::<Vec<_>>())
}

fn read(name: &str, file: &str) -> Vec<u8> {
    fs::read(fixture_dir(name).join(file)).unwrap()
}

/// Loads a model and runs it; a refusal that names one of the two files is as good as a model.
fn load(config: &[u8], weights: &[u8]) -> Result<(), TestCaseError> {
    let files = ModelFiles { name: "x", config, tokenizer: None, chat_template: None, weights };
    match LanguageModel::from_memory(&files, &LoadOptions::default()) {
        Ok(model) => {
            let tokens = Tensor::zeros([1, 3.min(model.max_context() as i64)], (Kind::Int64, Device::Cpu));
            // A file that names no head makes a model whose activations can be had, and no logits.
            let passed = model.forward(&tokens, &mut NoHook);
            prop_assert!(matches!(passed, Ok(_) | Err(ModelError::NoHead { .. })), "{:?}", passed.map(drop));
        }
        Err(error) => {
            let text = error.to_string();
            let named = text.starts_with("config.json: ") || text.starts_with("model.safetensors: ");
            prop_assert!(named && !matches!(error, ModelError::Torch { .. }), "{}", text);
        }
    }
    Ok(())
}

/// Changes to some of `len` bytes, and how many bytes are kept.
type Damage = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>);

fn damage() -> impl Strategy<Value = Damage> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (changes, prop::option::weighted(0.3, any::<prop::sample::Index>()))
}

fn damaged(mut bytes: Vec<u8>, within: usize, (changes, keep): &Damage) -> Vec<u8> {
    for (index, byte) in changes {
        bytes[index.index(within)] = *byte;
    }
    if let Some(keep) = keep {
        bytes.truncate(keep.index(bytes.len()));
    }
    bytes
}

/// Any JSON, with the numbers and words that configurations are made of among its leaves.
fn anything() -> impl Strategy<Value = Value> {
    let words = ["default", "linear", "llama3", "longrope", "silu", "gelu", "sliding_attention", "full_attention", ""];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..40).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![0.0, 0.25, 0.5, 1.0, 1e-300, 1e300, 4294967296.0]).prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
    ];
    let keys = ["rope_type", "rope_theta", "factor", "partial_rotary_factor", "full_attention", "short_factor", "x"];
    leaf.prop_recursive(2, 12, 4, move |inner| {
        let object = prop::collection::vec((prop::sample::select(keys.to_vec()), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// One tensor of an invented header.
fn entry() -> impl Strategy<Value = Value> {
    let dtype = prop::sample::select(vec!["F32", "F16", "BF16", "F64", "I8", "BOOL", "F4", "F8_E4M3", "nonsense"]);
    let small_or_any = || prop_oneof![0u64..40, any::<u64>()];
    let shape = prop::collection::vec(small_or_any(), 0..4);
    (dtype, shape, small_or_any(), small_or_any())
        .prop_map(|(dtype, shape, start, end)| json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}))
}

fn safetensors(header: &Value, data: usize) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn damaged_headers(name in whole(), damage in damage()) {
        let weights = read(name, "model.safetensors");
        let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        load(&read(name, "config.json"), &damaged(weights, header, &damage))?;
    }

    #[test]
    fn damaged_configurations(name in whole(), damage in damage()) {
        let config = read(name, "config.json");
        let within = config.len();
        load(&damaged(config, within, &damage), &read(name, "model.safetensors"))?;
    }

    #[test]
    fn configurations_with_other_values(
        name in whole(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), anything()), 1..4),
    ) {
        let mut config: Value = serde_json::from_slice(&read(name, "config.json")).unwrap();
        let fields = config.as_object_mut().unwrap();
        let extra = ["rope_scaling", "rope_theta", "layer_types", "sliding_window", "head_dim", "rotary_pct"];
        let names: Vec<String> = fields.keys().cloned().chain(extra.map(str::to_owned)).collect();
        for (index, value) in changes {
            fields.insert(index.get(&names).clone(), value);
        }
        load(config.to_string().as_bytes(), &read(name, "model.safetensors"))?;
    }

    #[test]
    fn invented_headers(
        name in whole(),
        tensors in prop::collection::btree_map("(model.norm.weight|transformer.wte.weight|[a-z.]{0,9})", entry(), 0..4),
        data in 0usize..200,
    ) {
        let header = Value::from_iter(tensors);
        load(&read(name, "config.json"), &safetensors(&header, data))?;
    }

    #[test]
    fn random_bytes(config in prop::collection::vec(any::<u8>(), 0..64), weights in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(ModelConfig::from_json(Path::new("config.json"), &config).is_err());
        load(&read("gemma2", "config.json"), &weights)?;
    }
}
