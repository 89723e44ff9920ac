//! Parity with SAELens, on dictionaries that SAELens saved and codes that it computed
//! (`tests/parity/make_sae_fixtures.py` writes both).

use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use untangle_sae::{Codes, Sae};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/sae")
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let data = file.tensor(name).expect("the fixture has it").data();
    data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

fn check(name: &str) {
    let dir = fixtures().join(name);
    let sae = Sae::load(&dir).expect("a SAELens directory");
    let bytes = std::fs::read(dir.join("io.safetensors")).expect("the recorded results");
    let io = SafeTensors::deserialize(&bytes).expect("whole");
    let (x, features) = (tensor(&io, "x"), tensor(&io, "features"));
    let mut codes = Codes::new();
    sae.encode(&x, &mut codes).expect("rows fit");
    let mut dense = vec![0f32; codes.n_rows() * sae.d_sae()];
    for row in 0..codes.n_rows() {
        let (features, activations) = codes.row(row);
        for (&feature, &activation) in features.iter().zip(activations) {
            dense[row * sae.d_sae() + feature as usize] = activation;
        }
    }
    let scale = features.iter().fold(0f32, |m, f| m.max(f.abs()));
    assert!(largest_difference(&dense, &features) <= 1e-5 * scale, "{name}: encode");
    let mut x_hat = vec![0f32; codes.n_rows() * sae.d_out()];
    sae.reconstruct(&x, &codes, &mut x_hat).expect("rows fit");
    let scale = x_hat.iter().fold(0f32, |m, f| m.max(f.abs()));
    assert!(largest_difference(&x_hat, &tensor(&io, "reconstruction")) <= 1e-5 * scale, "{name}: decode");
}

#[test]
fn dictionaries_of_saelens_encode_and_decode_as_there() {
    let autoencoders =
        ["topk", "topk-rescaled", "topk-trained", "standard", "jumprelu", "gated", "layer-norm", "constant-norm"];
    for name in autoencoders.iter().chain(&TRANSCODERS) {
        check(name);
        assert_eq!(Sae::load(&fixtures().join(name)).expect("loads").notes(), [""; 0], "{name}");
    }
}

const TRANSCODERS: [&str; 4] = ["transcoder", "skip-transcoder", "jumprelu-transcoder", "jumprelu-skip-transcoder"];

#[test]
fn a_transcoder_says_what_it_reads_and_what_it_predicts() {
    for name in TRANSCODERS {
        let sae = Sae::load(&fixtures().join(name)).expect("loads");
        assert_eq!((sae.d_in(), sae.d_out(), sae.decoder_row(3).len()), (12, 9, 9), "{name}");
        assert_eq!(sae.provenance().predicts.as_deref(), Some("blocks.0.hook_mlp_out"));
        assert_eq!(sae.parts().w_skip.is_some(), name.contains("skip"), "{name}");
        let rows = vec![0f32; 24];
        let (mut codes, mut narrow) = (Codes::new(), vec![0f32; 24]);
        sae.encode(&rows, &mut codes).expect("rows fit");
        let error = sae.decode(&codes, &mut narrow).expect_err("two rows of 9 are not 24").to_string();
        assert!(error.contains("[2, 9]"), "{error}");
    }
}

#[test]
fn a_dictionary_survives_saving_and_loading_to_the_byte() {
    let (first, second) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    for name in
        ["topk-trained", "jumprelu", "standard", "gated", "layer-norm", "constant-norm"].iter().chain(&TRANSCODERS)
    {
        Sae::load(&fixtures().join(name)).expect("loads").save(first.path()).expect("saves");
        Sae::load(first.path()).expect("loads again").save(second.path()).expect("saves again");
        for file in ["cfg.json", "sae_weights.safetensors"] {
            let read = |dir: &Path| std::fs::read(dir.join(file)).expect("written");
            assert!(read(first.path()) == read(second.path()), "{name}/{file} changed");
        }
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let refused_of = |name: &str, change: &dyn Fn(&Path), expected: &str| {
        let dir = tempfile::tempdir().expect("dir");
        for file in ["cfg.json", "sae_weights.safetensors"] {
            std::fs::copy(fixtures().join(name).join(file), dir.path().join(file)).expect("copied");
        }
        change(dir.path());
        let message = Sae::load(dir.path()).expect_err("must be refused").to_string();
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
    };
    let refused = |change: &dyn Fn(&Path), expected: &str| refused_of("topk", change, expected);
    let edit = |from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let path = dir.join("cfg.json");
            let text = std::fs::read_to_string(&path).expect("config");
            let value: serde_json::Value = serde_json::from_str(&text).expect("json");
            let compact = value.to_string();
            assert!(compact.contains(from), "{compact} has no {from}");
            std::fs::write(&path, compact.replace(from, to)).expect("written");
        }
    };
    refused(&edit("\"k\":5", "\"k\":41"), "k = 41 is not between 1 and d_sae = 40");
    refused(&edit("\"architecture\":\"topk\"", "\"architecture\":\"temporal\""), "`temporal` is not supported");
    let normalized = |how| format!("\"normalize_activations\":\"{how}\"");
    for how in ["covariance_whitening", "constant_scalar_rescale", "batch_norm"] {
        let to: &'static str = Box::leak(normalized(how).into_boxed_str());
        refused(&edit("\"normalize_activations\":\"none\"", to), &format!("normalize_activations `{how}`"));
    }
    refused(&edit("\"d_in\":12", "\"d_in\":13"), "`W_enc` has shape [12, 40] where [13, 40] is expected");
    refused(&edit("\"d_in\":12", "\"d_in\":99999999999999"), "out of range");
    refused(&edit("\"d_in\":12", "\"d_in\":0"), "`d_in` is 0");
    refused(&edit("\"d_sae\":40", "\"d_sae\":2147483648"), "`W_enc` has shape [12, 40] where [12, 2147483648]");
    refused(&edit("\"d_in\":12", "\"d_in\":12,\"activation_fn\":\"tanh-relu\""), "tanh-relu");
    refused(&edit("\"topk\"", "\"batchtopk\""), "`batchtopk` is not supported");
    refused(&edit("\"reshape_activations\":\"none\"", "\"reshape_activations\":\"hook_q\""), "hook_q");
    let skipping = |change: &dyn Fn(&Path), expected: &str| refused_of("jumprelu-skip-transcoder", change, expected);
    skipping(&edit("\"d_out\":9,", ""), "needs `d_out`");
    skipping(&edit("\"d_out\":9", "\"d_out\":10"), "`W_dec` has shape [40, 9] where [40, 10] is expected");
    skipping(&edit("\"apply_b_dec_to_input\":false", "\"apply_b_dec_to_input\":true"), "apply_b_dec_to_input");
    refused(&edit("\"d_in\":12", "\"d_in\":12,\"d_out\":12"), "has no `d_out`");
    refused_of("jumprelu-transcoder", &edit("\"jumprelu_transcoder\"", "\"skip_transcoder\""), "`W_skip` is missing");
    let cut = |dir: &Path| {
        let path = dir.join("sae_weights.safetensors");
        let bytes = std::fs::read(&path).expect("weights");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cut");
    };
    refused(&cut, "not a whole safetensors file");
    refused(&|dir: &Path| std::fs::remove_file(dir.join("cfg.json")).expect("removed"), "cfg.json");
}
