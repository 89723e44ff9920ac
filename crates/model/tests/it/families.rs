//! What `config.json` says of a model, family by family: class defaults, old and new places of a field, refusals.

use crate::support::{fixture, refusal_with};
use serde_json::{Value, json};
use std::path::Path;
use untangle_model::ModelConfig;
use untangle_model::config::{
    Activation, Family, MlpConfig, NormConfig, NormKind, NormPlaces, Positions, QkNorm, Rotary, RotaryScaling,
};

fn read(json: &Value) -> ModelConfig {
    ModelConfig::from_json(Path::new("config.json"), json.to_string().as_bytes()).unwrap()
}

/// The sizes that every file has, and nothing else: 2 blocks, width 64, 4 heads.
fn small(model_type: &str, extra: Value) -> ModelConfig {
    let mut json = json!({"model_type": model_type, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100});
    json.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    read(&json)
}

fn unscaled(theta: f64, d_rotary: usize) -> Rotary {
    Rotary { theta, d_rotary, scaling: RotaryScaling::Unscaled }
}

#[test]
fn what_gpt2_leaves_out_is_its_class_default() {
    let sizes = json!({"model_type": "gpt2", "n_embd": 24, "n_layer": 2, "n_head": 3, "vocab_size": 60000,
        "bos_token_id": 50256, "eos_token_id": [7, 70000]});
    let config = read(&sizes);
    assert_eq!((config.d_mlp, config.max_context, config.tied_unembedding), (96, 1024, true));
    assert_eq!(config.mlp, MlpConfig { gated: false, activation: Activation::GeluTanh, bias: true });
    assert_eq!(config.norm, NormConfig::plain(NormKind::LayerNorm, 1e-5));
    assert_eq!((config.attention.d_head, config.attention.scale), (8, 8f64.powf(-0.5)));
    assert_eq!((config.bos_token, config.eos_tokens), (Some(50256), vec![7]));
}

#[test]
fn what_others_leave_out_is_their_class_default() {
    // Family, context, d_head, key-value heads, epsilon, tied; a class with more key-value heads than 4 heads is given 2.
    let kv = json!({"num_key_value_heads": 2});
    let cases = [
        ("gpt_neox", json!({}), (2048, 16, 4, 1e-5, false)),
        ("llama", json!({}), (2048, 16, 4, 1e-6, false)),
        ("mistral", kv.clone(), (131_072, 16, 2, 1e-6, false)),
        ("qwen2", kv.clone(), (32_768, 16, 2, 1e-6, false)),
        ("qwen3", kv.clone(), (32_768, 128, 2, 1e-6, false)),
        ("gemma", kv, (8192, 256, 2, 1e-6, true)),
        ("gemma2", json!({}), (8192, 256, 4, 1e-6, true)),
        ("gemma3_text", json!({}), (131_072, 256, 4, 1e-6, true)),
        ("olmo2", json!({}), (2048, 16, 4, 1e-5, false)),
        ("phi3", json!({}), (4096, 16, 4, 1e-5, false)),
    ];
    for (name, extra, expected) in cases {
        let c = small(name, extra);
        let a = &c.attention;
        let found = (c.max_context, a.d_head, a.n_kv_heads, c.norm.eps, c.tied_unembedding);
        assert_eq!(found, expected, "{name}");
        assert_eq!(c.family.model_type(), name);
    }
    assert_eq!(Family::ALL.len(), 11);
}

#[test]
fn each_family_has_what_makes_it_itself() {
    let neox = small("gpt_neox", json!({}));
    assert!(neox.parallel && neox.attention.qkv_bias && neox.attention.out_bias && neox.mlp.bias);
    assert_eq!(neox.positions, Positions::Rotary(unscaled(1e4, 4)), "a quarter of each head");
    assert!(!small("gpt_neox", json!({"use_parallel_residual": false})).parallel);

    let mistral = small("mistral", json!({"num_key_value_heads": 4})).windows.unwrap();
    assert_eq!((mistral.size, mistral.layers), (4096, vec![true, true]));
    assert_eq!(small("mistral", json!({"num_key_value_heads": 4, "sliding_window": null})).windows, None);

    let qwen2 = small("qwen2", json!({"num_key_value_heads": null}));
    assert!(qwen2.attention.qkv_bias && !qwen2.attention.out_bias && !qwen2.mlp.bias);
    assert_eq!((qwen2.attention.n_kv_heads, qwen2.windows), (4, None), "null is as many as heads");
    let on = json!({"num_key_value_heads": 4, "use_sliding_window": true, "max_window_layers": 1, "sliding_window": 8});
    assert_eq!(small("qwen3", on).windows.unwrap().layers, [false, true]);
    let named = json!({"num_key_value_heads": 4, "use_sliding_window": true, "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"]});
    let qwen3 = small("qwen3", named);
    assert_eq!(qwen3.windows.unwrap().layers, [true, false]);
    assert_eq!(qwen3.attention.qk_norm, Some(QkNorm::PerHead));

    let olmo2 = small("olmo2", json!({}));
    assert_eq!((olmo2.attention.qk_norm, olmo2.norm_places), (Some(QkNorm::WholeProjection), NormPlaces::After));
}

#[test]
fn gemmas_scale_embeddings_count_norms_from_one_and_differ_in_windows_and_caps() {
    let gemma = small("gemma", json!({"num_key_value_heads": 1, "hidden_act": "gelu"}));
    assert_eq!(gemma.mlp.activation, Activation::GeluTanh, "the first files say gelu and mean its approximation");
    assert_eq!((gemma.embed_scale, gemma.norm.offset, gemma.norm_places), (Some(8.0), 1.0, NormPlaces::Before));
    assert_eq!((gemma.attention.softcap, gemma.logit_softcap, gemma.windows), (None, None, None));

    let gemma2 = small("gemma2", json!({"query_pre_attn_scalar": 144}));
    assert_eq!((gemma2.attention.softcap, gemma2.logit_softcap), (Some(50.0), Some(30.0)));
    assert_eq!((gemma2.attention.scale, gemma2.norm_places), (1.0 / 12.0, NormPlaces::Around));
    assert_eq!(gemma2.windows.unwrap().layers, [true, false]);
    let uncapped = small("gemma2", json!({"attn_logit_softcapping": null, "final_logit_softcapping": null}));
    assert_eq!((uncapped.attention.softcap, uncapped.logit_softcap), (None, None));

    let gemma3 = small("gemma3_text", json!({"num_hidden_layers": 7}));
    assert_eq!((gemma3.attention.softcap, gemma3.logit_softcap), (None, None));
    assert_eq!((gemma3.attention.scale, gemma3.attention.qk_norm), (1.0 / 16.0, Some(QkNorm::PerHead)));
    assert_eq!(gemma3.positions, Positions::Rotary(unscaled(1e6, 256)));
    let windows = gemma3.windows.unwrap();
    assert_eq!(windows.layers, [true, true, true, true, true, false, true], "five of six");
    assert_eq!((windows.size, windows.rotary), (4096, Some(unscaled(1e4, 256))));
    let pattern = small("gemma3_text", json!({"sliding_window_pattern": 2})).windows.unwrap();
    assert_eq!(pattern.layers, [true, false]);
}

#[test]
fn rotary_fields_are_read_in_the_old_and_the_new_place() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let scaling =
        RotaryScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192.0 };
    let expected = Positions::Rotary(Rotary { theta: 5e5, d_rotary: 16, scaling });
    let old = json!({"rope_theta": 500000.0, "rope_scaling": llama3});
    assert_eq!(small("llama", old).positions, expected);
    let mut new = llama3;
    new["rope_theta"] = json!(500000);
    assert_eq!(small("llama", json!({"rope_parameters": new})).positions, expected);
    let linear = small("llama", json!({"rope_scaling": {"type": "linear", "factor": 2}}));
    let scaling = RotaryScaling::Linear { factor: 2.0 };
    assert_eq!(linear.positions, Positions::Rotary(Rotary { theta: 1e4, d_rotary: 16, scaling }));

    let expected = Positions::Rotary(unscaled(100.0, 8));
    assert_eq!(small("gpt_neox", json!({"rotary_pct": 0.5, "rotary_emb_base": 100})).positions, expected);
    let new = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 100, "partial_rotary_factor": 0.5}});
    assert_eq!(small("gpt_neox", new).positions, expected);

    let old = small(
        "gemma3_text",
        json!({"rope_theta": 500.0, "rope_local_base_freq": 50.0, "rope_scaling":
        {"rope_type": "linear", "factor": 8.0}}),
    );
    let new = small(
        "gemma3_text",
        json!({"rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}}),
    );
    assert_eq!(old, new);
    assert_eq!(old.windows.unwrap().rotary, Some(unscaled(50.0, 256)));
}

#[test]
fn longrope_takes_its_original_context_and_amplitude_from_where_phi3_keeps_them() {
    let (short, long) = (vec![1.0; 8], vec![2.0; 8]);
    let read = |outside: Value, inside: Value| {
        let mut rope = json!({"type": "su", "short_factor": short, "long_factor": long});
        rope.as_object_mut().unwrap().extend(inside.as_object().unwrap().clone());
        let mut fields = json!({"rope_scaling": rope, "max_position_embeddings": 16384});
        fields.as_object_mut().unwrap().extend(outside.as_object().unwrap().clone());
        let Positions::Rotary(rotary) = small("phi3", fields).positions else { panic!("rotary") };
        let RotaryScaling::Long { original_context, amplitude, .. } = rotary.scaling else { panic!("longrope") };
        (original_context, amplitude)
    };
    // sqrt(1 + ln(16384 / 4096) / ln(4096)) = sqrt(1 + 2 / 12)
    let (context, amplitude) = read(json!({}), json!({"original_max_position_embeddings": 1}));
    assert_eq!(context, 4096, "the class's default outside goes before what stands inside");
    assert!((amplitude - (7f64 / 6.0).sqrt()).abs() < 1e-12);
    let given = read(json!({"original_max_position_embeddings": 64}), json!({"attention_factor": 1.5}));
    assert_eq!(given, (64, 1.5));
    assert_eq!(read(json!({"max_position_embeddings": 2048}), json!({})).1, 1.0, "no amplitude without stretching");
}

#[test]
fn fields_that_are_not_supported_are_named_with_what_is() {
    let cases = [
        ("gpt2", json!({"model_type": "mamba"}), "`model_type` is \"mamba\"; supported: gpt2, gpt_neox, llama"),
        ("gpt2", json!({"model_type": null}), "`model_type` is null; supported: gpt2, gpt_neox, llama"),
        ("gpt2", json!({"activation_function": "mish"}), "`activation_function` is \"mish\"; supported: gelu, "),
        ("gpt2", json!({"n_embd": "wide"}), "`n_embd` is \"wide\"; supported: a whole number"),
        ("gpt2", json!({"n_head": 5}), "`n_head` is 5; supported: a divisor of the model width 24"),
        ("gpt2", json!({"n_head": 0}), "`n_head` is 0; supported: a whole number from 1 to 65536"),
        ("gpt2", json!({"n_layer": 0}), "`n_layer` is 0; supported: a whole number from 1 to 4096"),
        ("gpt2", json!({"vocab_size": 1u64 << 40}), "`vocab_size` is 1099511627776; supported: a whole number from 1"),
        ("gpt2", json!({"n_layer": -2}), "`n_layer` is -2; supported: a whole number"),
        ("gpt2", json!({"layer_norm_epsilon": 0}), "`layer_norm_epsilon` is 0; supported: a positive number"),
        ("gpt2", json!({"scale_attn_by_inverse_layer_idx": 2}), "`scale_attn_by_inverse_layer_idx` is 2"),
        ("gpt2", json!({"add_cross_attention": true}), "`add_cross_attention` is true; supported: false"),
        ("gpt2", json!({"quantization_config": {"bits": 4}}), "`quantization_config` is {\"bits\":4}; supported: null"),
        ("llama", json!({"num_key_value_heads": 3}), "`num_key_value_heads` is 3; supported: a divisor of the 4 heads"),
        ("llama", json!({"head_dim": 11}), "`head width` is 11; supported: an even number"),
        ("llama", json!({"rope_parameters": {"rope_type": "yarn"}}), "`rope_parameters.rope_type` is \"yarn\""),
        (
            "llama",
            json!({"rope_parameters": null, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
            "`rope_scaling.type` is \"dynamic\"; supported: default, linear, llama3, longrope",
        ),
        ("llama", json!({"rope_parameters": {"rope_type": "llama3"}}), "`rope_parameters.factor` is missing"),
        ("llama", json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor` is 0.5; supported: 1: this model"),
        ("llama", json!({"attention_bias": "yes"}), "`attention_bias` is \"yes\"; supported: true or false"),
        ("llama", json!({"eos_token_id": ["x"]}), "`eos_token_id` is [\"x\"]; supported: a token id, a list"),
        ("llama", json!({"num_local_experts": 8}), "`num_local_experts` is 8; supported: null: one MLP"),
        ("llama", json!({"rope_parameters": {"full_attention": {}}}), "`rope_parameters` is {\"full_attention\":{}}"),
        ("llama", json!({"bos_token_id": -1}), "`bos_token_id` is -1; supported: a token id"),
        ("gpt_neox", json!({"num_attention_heads": 3}), "`num_attention_heads` is 3; supported: a divisor"),
        (
            "gpt_neox",
            json!({"rope_parameters": {"partial_rotary_factor": 1.5}}),
            "`rope_parameters.partial_rotary_factor` is 1.5; supported: a number up to 1",
        ),
        ("gpt_neox", json!({"rope_parameters": {"partial_rotary_factor": 0.01}}), "`rope_parameters.partial_rotary_"),
        ("mistral", json!({"attention_bias": true}), "`attention_bias` is true; supported: false"),
        ("mistral", json!({"sliding_window": 0}), "`sliding_window` is 0; supported: a whole number from 1"),
        (
            "mistral",
            json!({"layer_types": ["full_attention"]}),
            "`layer_types` is [\"full_attention\"]; supported: null",
        ),
        ("qwen2", json!({"max_window_layers": -1}), "`max_window_layers` is -1; supported: a whole number"),
        ("qwen3", json!({"layer_types": ["chunked_attention", "x"]}), "`layer_types` is [\"chunked_attention\",\"x\"]"),
        (
            "qwen3",
            json!({"layer_types": ["full_attention"]}),
            "`layer_types` is [\"full_attention\"]; supported: a list of 2",
        ),
        (
            "qwen3",
            json!({"use_sliding_window": false}),
            "`sliding_window` is 2; supported: a number of keys: layer_types",
        ),
        (
            "gemma2",
            json!({"final_logit_softcapping": 0}),
            "`final_logit_softcapping` is 0; supported: a positive number",
        ),
        ("gemma2", json!({"attn_logit_softcapping": "x"}), "`attn_logit_softcapping` is \"x\"; supported: a positive"),
        ("gemma2", json!({"query_pre_attn_scalar": -1}), "`query_pre_attn_scalar` is -1; supported: a positive number"),
        ("gemma3_text", json!({"use_bidirectional_attention": true}), "`use_bidirectional_attention` is true"),
        ("gemma3_text", json!({"attn_logit_softcapping": 50.0}), "`attn_logit_softcapping` is 50.0; supported: null"),
        ("gemma3_text", json!({"rope_parameters": {"rope_theta": 1.5}}), "`rope_parameters` is {\"rope_theta\":1.5}"),
        (
            "phi3",
            json!({"rope_parameters": {"type": "longrope", "short_factor": [1.0], "partial_rotary_factor": 0.75}}),
            "`rope_parameters.short_factor` is [1.0]; supported: a list of 3 positive numbers",
        ),
        ("phi3", json!({"original_max_position_embeddings": 1}), "`factor of rope_scaling` is inf; supported"),
    ];
    for (name, changes, expected) in cases {
        let found = refusal_with(name, changes);
        assert!(found.starts_with(&format!("config.json: {expected}")), "{found} is not {expected}");
    }
}

#[test]
fn configurations_made_by_hand_are_checked_too() {
    let base = || fixture("gemma2").config().clone();
    let refusal = |config: ModelConfig| config.validate(Path::new("config.json")).unwrap_err().to_string();
    let mut config = base();
    config.windows.as_mut().unwrap().layers.pop();
    assert!(refusal(config).contains("`layer_types` is a list of 1; supported: one entry for each of the 2 layers"));
    let mut config = base();
    config.attention.softcap = Some(-1.0);
    assert!(refusal(config).contains("`cap of the attention scores` is -1"));
    let mut config = base();
    config.positions = Positions::Rotary(unscaled(1.0, 6));
    assert!(refusal(config).contains("`rope_theta` is 1; supported: numbers above 1"));
    let mut config = base();
    config.positions = Positions::Rotary(unscaled(1e4, 7));
    assert!(refusal(config).contains("`rotary width` is 7; supported: 1 to 6"));
}
