//! A two-layer Llama with seeded random weights, so that the tests need no downloaded model.

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const D_MODEL: usize = 16;
const D_MLP: usize = 32;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const LAYERS: usize = 2;
const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];
const CHARACTERS: &str = " abcdefghijklmnopqrstuvwxyz.,!?\nABCDEFGHIJKLMNOPQRSTUVWXYZ<>|";

/// A model directory in Hugging Face form.
#[derive(Debug)]
pub(crate) struct TinyModel {
    /// The directory.
    pub(crate) path: PathBuf,
}

impl TinyModel {
    /// A hook point that the model has.
    pub(crate) const HOOK: &str = "blocks.1.hook_resid_post";

    /// Writes the model into `folder`/tiny.
    pub(crate) fn write(folder: &Path) -> Self {
        let path = folder.join("tiny");
        fs::create_dir(&path).expect("the scratch folder is writable");
        let write = |name: &str, value: serde_json::Value| {
            fs::write(path.join(name), value.to_string()).expect("the scratch folder is writable");
        };
        write("config.json", config());
        write("tokenizer.json", tokenizer());
        write("tokenizer_config.json", json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}));
        write_weights(&path.join("model.safetensors"));
        TinyModel { path }
    }
}

fn vocabulary() -> Vec<String> {
    SPECIAL.map(str::to_owned).into_iter().chain(CHARACTERS.chars().map(String::from)).collect()
}

fn config() -> serde_json::Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": D_MODEL / HEADS,
        "vocab_size": vocabulary().len(), "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    })
}

fn tokenizer() -> serde_json::Value {
    let vocabulary: BTreeMap<_, _> = vocabulary().into_iter().enumerate().map(|(id, token)| (token, id)).collect();
    let special = |(id, content): (usize, &str)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let added: Vec<_> = SPECIAL.into_iter().enumerate().map(special).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": {"type": "Fuse"}, "added_tokens": added,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": []},
    })
}

/// Names and shapes of a Llama's tensors, `[out, in]` for projections.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let kv = KV_HEADS * D_MODEL / HEADS;
    let of_layer = [
        ("input_layernorm", vec![D_MODEL]),
        ("self_attn.q_proj", vec![D_MODEL, D_MODEL]),
        ("self_attn.k_proj", vec![kv, D_MODEL]),
        ("self_attn.v_proj", vec![kv, D_MODEL]),
        ("self_attn.o_proj", vec![D_MODEL, D_MODEL]),
        ("post_attention_layernorm", vec![D_MODEL]),
        ("mlp.gate_proj", vec![D_MLP, D_MODEL]),
        ("mlp.up_proj", vec![D_MLP, D_MODEL]),
        ("mlp.down_proj", vec![D_MODEL, D_MLP]),
    ];
    let layers = (0..LAYERS)
        .flat_map(|layer| of_layer.clone().map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    let ends = [
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary().len(), D_MODEL]),
        ("model.norm.weight".to_owned(), vec![D_MODEL]),
    ];
    ends.into_iter().chain(layers).collect()
}

fn write_weights(path: &Path) {
    let mut state = 7_u64;
    // Uniform in [-0.5, 0.5): enough for activations that differ from token to token.
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    let tensors: Vec<_> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let norm = shape.len() == 1;
            let values = (0..shape.iter().product()).map(|_| if norm { 1.0 } else { draw() });
            let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes fit the shape"))
    });
    serialize_to_file(views, None, path).expect("the scratch folder is writable");
}
