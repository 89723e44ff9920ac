//! Is a real model captured as its reference says?

mod common;

use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};
use untangle_capture::{CaptureConfig, CapturePlan, Corpus, capture};
use untangle_model::{LanguageModel, LoadOptions};
use untangle_schema::{Silent, StoreDtype};
use untangle_store::{ActivationSet, RowBlock};

/// Test material that lies beside the project; none where it is absent.
fn shared(what: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("UNTANGLE_SHARED").map_or_else(beside, PathBuf::from).join(what);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is absent; set UNTANGLE_SHARED", path.display());
    std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {} is absent\n", path.display()).as_bytes())
        .expect("a standard error");
    None
}

#[test]
fn rows_of_stories_are_those_of_single_contexts() {
    let (Some(dir), Some(text)) = (shared("models/stories260k"), shared("corpora/tinystories.txt")) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let model = LanguageModel::load(&dir, &LoadOptions::default()).expect("loaded");
    let config = CaptureConfig {
        tokens: Some(20_000),
        store: StoreDtype::F32,
        ..CaptureConfig::new(common::hooks(&["blocks.2.hook_resid_post"]), folder.path().join("x.h5"))
    };
    let plan = CapturePlan::new(&config, &model).expect("planned");
    let captured = capture(&plan, &model, &Corpus::open(&[text]).expect("opened"), &Silent).expect("captured");
    assert_eq!((captured.manifest.n_rows, captured.manifest.bos_token), (20_000, Some(1)));
    let set = ActivationSet::open(&[captured.path.to_str().expect("text")]).expect("opened");
    let mut block = RowBlock::default();
    for context in [0u64, 31, 32, 155] {
        set.read_rows(context * 128..((context + 1) * 128).min(20_000), &[0], &mut block).expect("read");
        assert_eq!((block.tokens[0], block.positions[0]), (1, 0), "every context begins with <s>");
        let ids: Vec<i64> = block.tokens.iter().map(|token| i64::from(*token)).collect();
        let mut recorder = untangle_model::Recorder::new(vec![captured.manifest.hooks[0].hook]);
        tch::no_grad(|| model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut recorder)).expect("a pass");
        let expected = Tensor::from_slice(recorder.columns()[0]);
        let far = (Tensor::from_slice(&block.columns[0]) - &expected).abs().max().double_value(&[]);
        let rms = expected.square().mean(Kind::Float).sqrt().double_value(&[]);
        assert!(far < 1e-4 * rms, "context {context}: {far} of {rms}");
    }
}
