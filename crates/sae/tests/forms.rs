//! Dictionaries of older versions and other tools: what they compute is what is recorded for the same tensors in the form of
//! today (`tests/parity/make_sae_fixtures.py` writes all of them), and what they say that is not used is noted.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use untangle_sae::{Activation, Codes, Sae};
use untangle_schema::Classify;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/sae")
}

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let data = file.tensor(name).expect("the file has it").data();
    data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Whether `sae` gives the features and reconstructions that are recorded in the fixture `of`.
fn computes(sae: &Sae, of: &str) {
    let bytes = fs::read(fixtures().join(of).join("io.safetensors")).expect("the recorded results");
    let io = SafeTensors::deserialize(&bytes).expect("whole");
    let (x, expected) = (numbers(&io, "x"), numbers(&io, "features"));
    let (mut codes, mut x_hat) = (Codes::new(), vec![0f32; x.len()]);
    sae.encode(&x, &mut codes).expect("rows fit");
    sae.reconstruct(&x, &codes, &mut x_hat).expect("rows fit");
    for (row, expected) in expected.chunks_exact(sae.d_sae()).enumerate() {
        for (feature, expected) in expected.iter().enumerate() {
            let found = codes.activation(row, feature);
            assert!((found - expected).abs() <= 1e-4, "{of}: row {row}, feature {feature}: {found}, not {expected}");
        }
    }
    let worst = x_hat.iter().zip(numbers(&io, "reconstruction")).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= 1e-4, "{of}: reconstructions differ by {worst}");
}

#[test]
fn older_saelens_is_read_as_saelens_reads_it() {
    for name in ["older-standard", "older-topk", "older-jumprelu", "older-gated", "older-layer-norm", "older-v2"] {
        let sae = Sae::load(&fixtures().join(name)).expect("an older form");
        computes(&sae, name);
        let (provenance, kept) = (sae.provenance(), &sae.description().kept);
        assert_eq!(provenance.hook(), Some("blocks.0.hook_resid_pre"), "{name}");
        assert_eq!((provenance.model(), provenance.context_size), (Some("gpt2-small"), Some(128)), "{name}");
        assert_eq!((kept.settings["dtype"].as_str(), sae.notes()), (Some("float32"), &[][..]), "{name}");
    }
    let topk = Sae::load(&fixtures().join("older-topk")).expect("an older form");
    assert_eq!((topk.architecture().as_str(), topk.k()), ("topk", Some(5)));
    assert_eq!(topk.description().kept.metadata["neuronpedia_id"], "gpt2-small/0-res-jb");
    assert_eq!(topk.provenance().prepend_bos, Some(true));
}

#[test]
fn sparsify_is_read() {
    let sae = Sae::load(&fixtures().join("sparsify/layers.3.mlp")).expect("of sparsify");
    computes(&sae, "topk");
    let provenance = sae.provenance();
    assert_eq!(provenance.hook(), Some("blocks.3.hook_mlp_out"));
    assert_eq!((provenance.model(), provenance.context_size), (Some("fixture/model"), Some(64)));
    assert_eq!(sae.parts().activation, Activation::TopK { k: 5 });
}

#[test]
fn gemma_scope_is_read() {
    for (name, hook, model) in [
        ("gemma-scope-2b-pt-res/layer_7/width_40/average_l0_5", "blocks.7.hook_resid_post", "gemma-2-2b"),
        ("gemma-scope-2b-pt-res/layer_7/width_40/compressed", "blocks.7.hook_resid_post", "gemma-2-2b"),
        ("gemma-scope-2-1b-pt/resid_post/layer_7_width_40", "blocks.7.hook_resid_post", "gemma-3-1b-pt"),
    ] {
        let sae = Sae::load(&fixtures().join(name)).expect("of Gemma Scope");
        computes(&sae, "jumprelu");
        assert_eq!((sae.provenance().hook(), sae.provenance().model()), (Some(hook), Some(model)), "{name}");
    }
    let message = Sae::load(&fixtures().join("gemma-scope-2b-pt-res")).expect_err("two below").to_string();
    assert!(message.contains("average_l0_5") && message.contains("name one of them"), "{message}");
}

/// A copy of a fixture whose files `change` may rewrite.
fn changed(name: &str, change: impl Fn(&mut Value, &mut Vec<(String, Vec<usize>, Vec<f32>)>)) -> Result<Sae, String> {
    let dir = tempfile::tempdir().expect("a folder");
    let from = fixtures().join(name);
    let text = fs::read_to_string(from.join("cfg.json")).expect("a configuration");
    let mut config: Value = serde_json::from_str(&text).expect("json");
    let bytes = fs::read(from.join("sae_weights.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let mut tensors: Vec<_> = file
        .names()
        .into_iter()
        .map(|name| (name.to_owned(), file.tensor(name).expect("there").shape().to_vec(), numbers(&file, name)))
        .collect();
    change(&mut config, &mut tensors);
    fs::write(dir.path().join("cfg.json"), config.to_string()).expect("written");
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("fits")));
    let packed = safetensors::serialize(views, None).expect("packed");
    fs::write(dir.path().join("sae_weights.safetensors"), packed).expect("written");
    Sae::load(dir.path()).map_err(|error| error.to_string())
}

#[test]
fn tensors_that_nobody_reads_are_refused_unless_they_count_training() {
    let with = |name: &'static str, tensor: &'static str| {
        changed(name, |_, tensors| tensors.push((tensor.to_owned(), vec![2], vec![1.0, 2.0])))
    };
    for tensor in ["W_skip", "threshold", "running_mean", "b_dec_out", "b_gate"] {
        let message = with("standard", tensor).expect_err("may change numbers");
        let said = format!("tensor `{tensor}` is not part of the architecture `standard`");
        assert!(message.contains(&said) && message.contains("cfg.json"), "{message}");
    }
    for tensor in ["sparsity", "act_freq_scores", "n_forward_passes_since_fired"] {
        with("standard", tensor).expect("says nothing of activations");
    }
    let message = with("jumprelu", "log_threshold").expect_err("one threshold too many");
    assert!(message.contains("`log_threshold`"), "{message}");
}

#[test]
fn a_logarithm_of_thresholds_is_one_of_thresholds() {
    let sae = changed("jumprelu", |_, tensors| {
        for (name, _, values) in tensors.iter_mut().filter(|(name, ..)| name == "threshold") {
            *name = "log_threshold".to_owned();
            values.iter_mut().for_each(|theta| *theta = theta.ln());
        }
    });
    computes(&sae.expect("a training state"), "jumprelu");
}

#[test]
fn finetuned_scales_are_part_of_the_decoder_where_the_file_says_so() {
    let scaled = |name: &'static str, used: bool, factor: f32| {
        changed("standard", move |config, tensors| {
            config["finetuning_scaling_factor"] = json!(used);
            tensors.push((name.to_owned(), vec![40], vec![factor; 40]));
        })
    };
    let plain = Sae::load(&fixtures().join("standard")).expect("loads");
    for name in ["scaling_factor", "finetuning_scaling_factor"] {
        let twice = scaled(name, true, 2.0).expect("used");
        assert!(twice.decoder_row(3).iter().zip(plain.decoder_row(3)).all(|(twice, once)| *twice == 2.0 * once));
        computes(&scaled(name, false, 1.0).expect("of ones"), "standard");
        let message = scaled(name, false, 2.0).expect_err("used or not?");
        assert!(message.contains(&format!("`{name}` scales activations")), "{message}");
    }
}

#[test]
fn decoder_norms_are_folded_where_saelens_folds_them_and_nowhere_else() {
    // SAELens' jumprelu has no such setting: activations and thresholds stay, and the setting is said to be passed over.
    for name in ["jumprelu", "standard", "gated"] {
        let sae = changed(name, |config, _| config["rescale_acts_by_decoder_norm"] = json!(true)).expect("loads");
        computes(&sae, name);
        assert!(sae.notes()[0].contains("`rescale_acts_by_decoder_norm` is not used"), "{:?}", sae.notes());
    }
    let across = changed("jumprelu-transcoder", |config, _| config["rescale_acts_by_decoder_norm"] = json!(true));
    let (plain, across) = (Sae::load(&fixtures().join("jumprelu-transcoder")).expect("loads"), across.expect("loads"));
    assert_eq!(plain.parts().w_dec[..], across.parts().w_dec[..], "rows of d_out = 9 stay whole");
}

#[test]
fn what_changes_numbers_and_is_not_used_is_noted() {
    let notes = |change: &dyn Fn(&mut Value)| {
        changed("standard", |config, _| change(config)).expect("loads").notes().join("\n")
    };
    assert_eq!(notes(&|_| {}), "");
    for (key, value, said) in [
        ("seqpos_slice", json!([0, 8]), "positions [0,8]"),
        ("hook_head_index", json!(3), "head 3"),
        ("ignore_tokens", json!([1, 2]), "tokens [1,2]"),
        ("mystery", json!(2), "`metadata.mystery`"),
        (
            "model_from_pretrained_kwargs",
            json!({"center_writing_weights": true}),
            "the mean over the width is taken off",
        ),
        ("model_from_pretrained_kwargs", json!({"checkpoint_index": 7}), "checkpoint_index 7"),
        ("model_from_pretrained_kwargs", json!({"odd": true}), "`metadata.model_from_pretrained_kwargs.odd`"),
    ] {
        let found = notes(&|config| config["metadata"][key] = value.clone());
        assert!(found.contains(said), "{key}: `{found}` does not say `{said}`");
    }
    for (key, value) in [
        ("seqpos_slice", json!([null])),
        ("exclude_special_tokens", json!(true)),
        (
            "model_from_pretrained_kwargs",
            json!({"center_writing_weights": false, "fold_ln": true, "center_unembed": true}),
        ),
    ] {
        assert_eq!(notes(&|config| config["metadata"][key] = value.clone()), "", "{key} changes nothing here");
    }
    assert!(notes(&|config| config["noise"] = json!(0.1)).contains("`noise` of cfg.json is not known"));
    assert_eq!(notes(&|config| config["l1_coefficient"] = json!(0.1)), "");
    let average = notes(&|config| config["normalize_activations"] = json!("expected_average_only_in"));
    assert!(average.contains("rows are taken as they are"), "{average}");
    let values = |config: &mut Value| {
        config["metadata"]["hook_name"] = json!("blocks.0.attn.hook_z");
        config["metadata"]["model_from_pretrained_kwargs"] = json!({"fold_value_biases": true});
    };
    assert!(notes(&values).contains("loaded with fold_value_biases"));
}

#[test]
fn a_centred_target_and_a_hook_point_that_is_not_known_are_noted() {
    let notes = |name: &str, hook: &str, out: Option<&str>, model: &str| {
        let read = changed(name, |config, _| {
            let metadata = &mut config["metadata"];
            metadata["hook_name"] = json!(hook);
            metadata["hook_name_out"] = json!(out);
            metadata["model_name"] = json!(model);
            metadata["model_from_pretrained_kwargs"] = json!({"center_writing_weights": true});
        });
        read.expect("loads").notes().join("\n")
    };
    let across = |hook: &str, out: &str| notes("jumprelu-transcoder", hook, Some(out), "gpt2-small");
    let (rows, target) = ("is taken off every row", "what is predicted is compared without its");
    let off = across("blocks.2.mlp.hook_post", "blocks.2.hook_mlp_out");
    assert!(off.contains(target) && !off.contains(rows), "{off}");
    let both = across("blocks.2.hook_resid_mid", "blocks.2.hook_mlp_out");
    assert!(both.contains(target) && both.contains(rows), "{both}");
    let read = across("blocks.2.hook_resid_mid", "blocks.2.mlp.hook_post");
    assert!(!read.contains("compared") && read.contains(rows), "{read}");
    assert_eq!(across("blocks.2.attn.hook_z", "blocks.2.mlp.hook_post"), "");
    assert!(across("blocks.2.hook_mlp_in", "blocks.2.hook_mlp_out").contains(rows), "the MLP reads the stream");
    let unknown = "activations at blocks.2.hook_attn_in were centred with them is not known";
    assert!(notes("standard", "blocks.2.hook_attn_in", None, "gpt2-small").contains(unknown));
    assert!(across("blocks.2.hook_attn_in", "blocks.2.hook_mlp_out").contains(unknown));
    let passed = notes("standard", "blocks.2.hook_resid_pre", None, "openai/gpt-oss-20b");
    assert!(passed.contains("passed over"), "{passed}");
}

#[test]
fn configurations_of_python_are_read_and_what_is_no_text_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let from = fixtures().join("standard");
    fs::copy(from.join("sae_weights.safetensors"), dir.path().join("sae_weights.safetensors")).expect("copied");
    let text = fs::read_to_string(from.join("cfg.json")).expect("a configuration");
    let with = |bytes: &[u8]| {
        fs::write(dir.path().join("cfg.json"), bytes).expect("written");
        Sae::load(dir.path())
    };
    // As json.dumps writes floats that are not finite.
    let python = text.replacen('{', r#"{"lr": NaN, "l1_coefficient": -Infinity, "#, 1);
    computes(&with(python.as_bytes()).expect("as SAELens reads it"), "standard");
    let latin = text.replacen('{', r#"{"run_name": "caf?", "#, 1).replace('?', "\u{1}");
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == 1 { 0xE9 } else { byte }).collect();
    for (bytes, said) in [(&latin[..], "cfg.json: is not UTF-8"), (b"{", "cfg.json: is not JSON (EOF")] {
        let error = with(bytes).expect_err("refused");
        assert_eq!(error.fault(), untangle_schema::Fault::BadInput, "{error}");
        assert!(error.to_string().contains(said), "`{error}` does not say `{said}`");
    }
}

#[test]
fn rows_of_an_embedding_are_scaled_as_the_model_reads_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().join("gemma-scope-2b-pt-res/embedding/width_40/average_l0_5");
    fs::create_dir_all(&place).expect("made");
    let plain = "gemma-scope-2b-pt-res/layer_7/width_40/average_l0_5";
    fs::copy(fixtures().join(plain).join("params.npz"), place.join("params.npz")).expect("copied");
    let (plain, scaled) = (Sae::load(&fixtures().join(plain)).expect("loads"), Sae::load(&place).expect("loads"));
    assert_eq!(scaled.provenance().hook(), Some("hook_embed"));
    // It was trained on rows of the table; what passes `hook_embed` is sqrt(d) times those.
    let (d, rows) = (plain.d_in(), (0..24).map(|i| ((i * 7 % 11) as f32 - 2.0) / 2.0).collect::<Vec<f32>>());
    let root = (d as f32).sqrt();
    let passing: Vec<f32> = rows.iter().map(|x| x * root).collect();
    let (mut bare, mut codes) = (Codes::new(), Codes::new());
    plain.encode(&rows, &mut bare).expect("rows fit");
    scaled.encode(&passing, &mut codes).expect("rows fit");
    assert!(!bare.features().is_empty());
    assert_eq!(bare.features(), codes.features());
    assert!(bare.activations().iter().zip(codes.activations()).all(|(a, b)| (a - b).abs() < 1e-4));
    for (wide, narrow) in scaled.decoder_row(3).iter().zip(plain.decoder_row(3)) {
        assert!((wide - narrow * root).abs() < 1e-5);
    }
}

#[test]
fn centred_weights_mean_centred_rows() {
    let centred = changed("standard", |config, _| {
        config["metadata"]["model_from_pretrained_kwargs"] = json!({"center_writing_weights": true});
    });
    let (centred, plain) = (centred.expect("loads"), Sae::load(&fixtures().join("standard")).expect("loads"));
    let rows: Vec<f32> = (0..24).map(|i| ((i * 7 % 11) as f32 - 2.0) / 2.0).collect();
    let without: Vec<f32> = rows
        .chunks_exact(12)
        .flat_map(|row| {
            let mean = row.iter().sum::<f32>() / 12.0;
            row.iter().map(move |x| x - mean).collect::<Vec<_>>()
        })
        .collect();
    let run = |sae: &Sae, rows: &[f32]| {
        let (mut codes, mut x_hat) = (Codes::new(), vec![0f32; rows.len()]);
        sae.encode(rows, &mut codes).expect("rows fit");
        sae.reconstruct(rows, &codes, &mut x_hat).expect("rows fit");
        (codes, x_hat)
    };
    let ((a, mut a_hat), (b, b_hat)) = (run(&centred, &rows), run(&plain, &without));
    assert_eq!(a.features(), b.features());
    assert!(a.activations().iter().zip(b.activations()).all(|(a, b)| (a - b).abs() < 1e-5));
    // Judged without the mean, both are off by the same.
    let mut judged = rows.clone();
    assert!(centred.judges_centred() && !plain.judges_centred());
    centred.centre_judged(&mut judged, &mut a_hat);
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&judged, &without) && close(&a_hat, &b_hat));
}

#[test]
fn what_is_no_configuration_and_what_lacks_its_tensors_is_said() {
    let told = |config: &str, weights: Option<&[u8]>| {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("cfg.json"), config).expect("written");
        if let Some(weights) = weights {
            fs::write(dir.path().join("sae_weights.safetensors"), weights).expect("written");
        }
        Sae::load(dir.path()).expect_err("no dictionary").to_string()
    };
    let whole = r#"{"d_in": 2, "d_sae": 3, "architecture": "standard"}"#;
    for (config, weights, said) in [
        (r#"{"act_size": 2, "dict_size": 3}"#, None, "of another tool (act_size"),
        (r#"{"d_in": 2, "x": 3}"#, None, "has no `d_sae`"),
        ("[1]", None, "no object of keys"),
        ("null", None, "no object of keys"),
        (whole, None, "has cfg.json and no sae_weights.safetensors"),
        (whole, Some(&b"version https://git-lfs.github.com/spec/v1"[..]), "git lfs pull"),
        ("version https://git-lfs.github.com/spec/v1\n", None, "is a pointer of Git LFS and not the file itself"),
        (whole, Some(&b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"[..]), "not a whole safetensors file"),
        (r#"{"d_in": 2, "d_sae": 3, "metadata": 7}"#, None, "`metadata` is not an object"),
        (r#"{"d_in": -2, "d_sae": 3}"#, None, "-2"),
        (r#"{"d_in": 2147483648, "d_sae": 2147483648}"#, None, "out of range"),
        (r#"{"d_in": 2, "d_sae": 3, "d_out": 0, "architecture": "transcoder"}"#, None, "`d_out` is 0"),
    ] {
        let message = told(config, weights);
        assert!(message.contains(said) && !message.contains("os error"), "`{message}` does not say `{said}`");
    }
    // A hole of 8 TiB, of which nothing is allocated.
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("cfg.json"), whole).expect("written");
    let weights = fs::File::create(dir.path().join("sae_weights.safetensors")).expect("made");
    if weights.set_len(1 << 43).is_ok() {
        let message = Sae::load(dir.path()).expect_err("no such memory").to_string();
        assert!(message.contains("8796093022208 bytes are more than the tensors"), "{message}");
    }
}
