//! Is what bf16 costs told as it is?

mod common;

use common::{Recording, hooks, model, run, stories, write};
use std::path::Path;
use tch::Kind;
use untangle_capture::{CaptureConfig, CapturePlan, Corpus, capture_compared};
use untangle_schema::{Silent, StoreDtype};
use untangle_store::{ActivationSet, RowBlock};

const BATCH: u64 = 3 * 16;

/// The first batch of both columns.
fn first_batch(path: &Path) -> Vec<Vec<f32>> {
    let set = ActivationSet::open(&[path.to_str().expect("text")]).expect("opened");
    let mut block = RowBlock::default();
    set.read_rows(0..BATCH, &[0, 1], &mut block).expect("read");
    block.columns
}

#[test]
fn the_first_batch_is_compared_at_every_hook_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(9));
    let config = |name: &str| CaptureConfig {
        context: Some(16),
        batch: Some(3),
        store: StoreDtype::F32,
        ..CaptureConfig::new(hooks(&["blocks.0.attn.hook_z", "blocks.1.hook_resid_post"]), folder.path().join(name))
    };
    let exact = run(&config("exact.h5"), &model(true), std::slice::from_ref(&text), &Silent).expect("captured");
    assert_eq!((exact.manifest.compute_dtype.as_str(), &exact.rounding), ("f32", &None));

    let (reference, recording) = (model(true), Recording::default());
    let rounded = reference.in_kind(Kind::BFloat16).expect("a kind that there is");
    let plan = CapturePlan::new(&config("rounded.h5"), &rounded).expect("possible");
    let corpus = Corpus::open(&[text]).expect("opened");
    let captured = capture_compared(&plan, &rounded, Some(reference), &corpus, &recording).expect("captured");
    assert_eq!(captured.manifest.compute_dtype, "bf16");

    let told = captured.rounding.expect("measured");
    let columns = first_batch(&captured.path).into_iter().zip(first_batch(&exact.path));
    for ((x, y), (told, hook)) in columns.zip(told.iter().zip(&captured.manifest.hooks)) {
        let square = |value: f64| value * value;
        let differences: f64 = x.iter().zip(&y).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
        let expected = (differences / y.iter().map(|y| square(f64::from(*y))).sum::<f64>()).sqrt();
        assert_eq!(told.hook, hook.hook);
        assert!((told.relative_rms / expected - 1.0).abs() < 1e-9, "{} {expected}", told.relative_rms);
        // bf16 has 8 significant bits: one rounding costs 2^-9 at most, and there are a few.
        assert!((1e-4..2e-2).contains(&expected), "{expected}");
    }
    let lines = recording.lines.into_inner().expect("no panic");
    let note = lines.iter().find(|line| line.starts_with("note: computed in bf16, ")).expect("a note");
    assert!(note.contains("% at blocks.0.attn.hook_z, ") && note.contains("% at blocks.1.hook_resid_post"), "{note}");
}
