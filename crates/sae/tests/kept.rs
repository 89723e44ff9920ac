//! What a dictionary's file says and nothing computes: it is written again, in the format that it is of, and in no other.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use untangle_sae::{Description, Sae};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/sae")
}

/// A fixture whose configuration `change` may rewrite.
fn changed(name: &str, change: impl Fn(&mut Value)) -> Sae {
    let (dir, from) = (tempfile::tempdir().expect("a folder"), fixtures().join(name));
    let text = fs::read_to_string(from.join("cfg.json")).expect("a configuration");
    let mut config: Value = serde_json::from_str(&text).expect("json");
    change(&mut config);
    fs::write(dir.path().join("cfg.json"), config.to_string()).expect("written");
    let weights = "sae_weights.safetensors";
    fs::copy(from.join(weights), dir.path().join(weights)).expect("copied");
    Sae::load(dir.path()).expect("loads")
}

#[test]
fn what_a_file_says_is_written_again_whether_it_is_known_or_not() {
    let (dir, in_full) = (tempfile::tempdir().expect("a folder"), json!({"a": [1, 2.5, null]}));
    let sae = changed("jumprelu", |config| {
        config["noise"] = json!(0.1);
        config["later"] = in_full.clone();
        config["dtype"] = json!("bfloat16");
        config["reshape_activations"] = json!("hook_z");
        // No setting of this architecture.
        config["k"] = json!(7);
        config["rescale_acts_by_decoder_norm"] = json!(true);
        config["metadata"] = json!({
            "model_name": "gpt2-small", "hook_name": "blocks.0.attn.hook_z", "context_size": 8, "prepend_bos": false,
            "hook_name_out": "blocks.0.hook_mlp_out", "sae_lens_version": "6.1.0", "untangle_version": "0.0.1",
            "training_architecture": "batchtopk", "model_weights_sha256": "ab", "later": in_full,
            "model_from_pretrained_kwargs": {"center_writing_weights": true, "later": 1},
        });
    });
    let provenance = sae.provenance();
    assert!(provenance.centred_weights && provenance.prepend_bos == Some(false));
    assert_eq!((provenance.model_weights(), provenance.trained_as.as_deref()), (Some("ab"), Some("batchtopk")));
    sae.save(dir.path()).expect("saves");
    let text = fs::read_to_string(dir.path().join("cfg.json")).expect("written");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    for (key, value) in [
        ("noise", json!(0.1)),
        ("later", json!({"a": [1, 2.5, null]})),
        ("dtype", json!("bfloat16")),
        ("reshape_activations", json!("hook_z")),
        ("k", json!(7)),
        ("architecture", json!("jumprelu")),
        // What was passed over is not asked for again.
        ("rescale_acts_by_decoder_norm", json!(false)),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    let metadata = &found["metadata"];
    assert_eq!(metadata["later"], json!({"a": [1, 2.5, null]}));
    assert_eq!(metadata["model_from_pretrained_kwargs"], json!({"center_writing_weights": true, "later": 1}));
    assert_eq!(
        (&metadata["hook_name_out"], &metadata["sae_lens_version"]),
        (&json!("blocks.0.hook_mlp_out"), &json!("6.1.0"))
    );
    assert_eq!(metadata.as_object().map(serde_json::Map::len), Some(11), "{metadata}");
    let again = Sae::load(dir.path()).expect("loads again");
    assert_eq!((again.description(), again.written()), (sae.description(), sae.written()));
    let shown = serde_json::to_value(sae.written()).expect("JSON");
    assert!(shown.get("noise").is_none() && shown["metadata"]["later"].is_object(), "{shown}");
}

#[test]
fn what_another_tool_says_is_written_as_saelens_says_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let sparsify = Sae::load(&fixtures().join("sparsify/layers.3.mlp")).expect("of sparsify");
    sparsify.save(dir.path()).expect("saves");
    let text = fs::read_to_string(dir.path().join("cfg.json")).expect("written");
    let expected = json!({
        "d_in": 12, "d_sae": 40, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": true,
        "normalize_activations": "none", "reshape_activations": "none", "architecture": "topk", "k": 5,
        "rescale_acts_by_decoder_norm": false,
        "metadata": {"model_name": "fixture/model", "hook_name": "blocks.3.hook_mlp_out", "context_size": 64,
            "prepend_bos": null, "sae_lens_version": "6.0.0"},
    });
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), expected);
    let again = Sae::load(dir.path()).expect("loads");
    assert_eq!((again.written(), &again.parts().activation), (sparsify.written(), &sparsify.parts().activation));
    assert!(
        again.parts().w_enc[..] == sparsify.parts().w_enc[..] && again.parts().w_dec[..] == sparsify.parts().w_dec[..]
    );
    let layer = Description { d_out: Some(12), ..sparsify.description().clone() };
    let across = Sae::new(layer, sparsify.parts().clone()).expect("fits");
    let message = across.save(dir.path()).expect_err("SAELens has none").to_string();
    assert!(message.contains("no architecture `topk_transcoder`"), "{message}");
}
