//! A run that is killed at any moment and started again ends with the bytes of a run that was never disturbed.

use crate::support::{TinyModel, Untangle, corpus_text, kill_after, scratch, timed};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Kills before the run is left in peace.
const KILLS: u32 = 4;

/// Runs `command` to the end once for the reference, and again with kills at random moments of that run's length.
/// Returns how many kills met a running process.
fn disturb(what: &str, reference: Untangle, command: impl Fn() -> Untangle) -> u32 {
    let (_, length) = timed(|| reference.succeed());
    // The moments differ from test run to test run; the message names them, so that a failure can be repeated.
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    let mut state = clock.as_nanos() as u64 | 1;
    let mut met = 0;
    let mut delays = Vec::new();
    for _ in 0..KILLS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let fraction = 0.05 + 0.3 * ((state >> 33) as f64 / f64::from(1_u32 << 31));
        let delay = Duration::from_secs_f64(length.as_secs_f64() * fraction);
        delays.push(delay);
        met += u32::from(kill_after(command().start(), delay));
    }
    let outcome = command().run();
    let finished_before = outcome.code == Some(2) || outcome.code == Some(4) || outcome.code == Some(3);
    assert!(
        outcome.code == Some(0) || (finished_before && outcome.stderr.contains("--force")),
        "{what}, killed after {delays:?} of {length:?}: {}",
        outcome.stderr
    );
    met
}

/// Fails unless two files hold the same bytes.
fn same_bytes(a: &Path, b: &Path) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (left, right) = (read(a), read(b));
    let first = left.iter().zip(&right).position(|(l, r)| l != r);
    assert!(
        left == right,
        "{} ({} bytes) and {} ({} bytes) differ, first at {first:?}",
        a.display(),
        left.len(),
        b.display(),
        right.len()
    );
}

fn capture(model: &TinyModel, text: &Path, out: &Path) -> Untangle {
    Untangle::new("capture --context 64 --batch 4 --threads 1")
        .arg(&model.path)
        .option("--text", text)
        .words(&format!("--hook {} --hook blocks.0.hook_mlp_out", TinyModel::HOOK))
        .option("--out", out)
}

#[test]
fn a_killed_capture_continues_to_the_same_bytes() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 400);
    let [plain, disturbed] = ["plain.h5", "disturbed.h5"].map(|name| folder.path().join(name));
    let met = disturb("capture", capture(&model, &text, &plain), || capture(&model, &text, &disturbed));
    assert!(met > 0, "no kill met a running capture");
    same_bytes(&plain, &disturbed);
}

#[test]
fn a_killed_training_run_continues_to_the_same_bytes() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let store = folder.path().join("store.h5");
    capture(&model, &corpus_text(folder.path(), 300), &store).succeed();
    let train = |out: &PathBuf| {
        Untangle::new(
            "train --d-sae 512 --k 8 --tokens 400000 --batch 512 --checkpoint-every 50 --threads 2 --dtype f32",
        )
        .arg(&store)
        .words(&format!("--hook {}", TinyModel::HOOK))
        .option("--out", out)
    };
    let [plain, disturbed] = ["plain", "disturbed"].map(|name| folder.path().join(name));
    let met = disturb("train", train(&plain), || train(&disturbed));
    assert!(met > 0, "no kill met a running training run");
    for file in ["sae_weights.safetensors", "cfg.json"] {
        same_bytes(&plain.join(file), &disturbed.join(file));
    }
}

#[test]
fn a_killed_live_run_continues_to_the_same_bytes() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 300);
    // Rows take 25 MB, so there are some thirty windows of the text, of which a run that goes on computes its own again.
    let train = |out: &PathBuf| {
        Untangle::new(
            "train --d-sae 256 --k 8 --tokens 400000 --batch 512 --checkpoint-every 50 --threads 2 --dtype f32 --pad",
        )
        .option("--model", &model.path)
        .option("--text", &text)
        .words(&format!("--hook {} --shuffle-memory 2", TinyModel::HOOK))
        .option("--out", out)
    };
    let [plain, disturbed] = ["plain", "disturbed"].map(|name| folder.path().join(name));
    let met = disturb("live training", train(&plain), || train(&disturbed));
    assert!(met > 0, "no kill met a running training run");
    for file in ["sae_weights.safetensors", "cfg.json", "training.json"] {
        same_bytes(&plain.join(file), &disturbed.join(file));
    }
}

/// Every kind of dictionary; the second table's names show that a grid's members may differ in everything but the batches.
const GRID: &str = r#"
[[sae]]
arch = ["topk", "batch-topk", "matryoshka", "jump-relu", "relu", "gated", "p-anneal"]
k = 8

[[sae]]
name = "wide"
arch = "batch-topk"
d-sae = 300
l0 = 5.5
seed = [1, 2]

[[sae]]
arch = ["transcoder", "skip-transcoder"]
k = 8
hook-out = "blocks.0.hook_mlp_out"

[[sae]]
arch = ["crosscoder", "crosscoder-l1"]
k = 8
hooks = ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"]
"#;

#[test]
fn a_killed_grid_continues_to_the_same_bytes() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let store = folder.path().join("store.h5");
    capture(&model, &corpus_text(folder.path(), 300), &store).succeed();
    let grid = folder.path().join("grid.toml");
    fs::write(&grid, GRID).expect("the scratch folder is writable");
    let train = |out: &PathBuf| {
        Untangle::new("train --d-sae 256 --tokens 60000 --batch 512 --checkpoint-every 10 --threads 2 --dtype f32")
            .arg(&store)
            .words(&format!("--hook {}", TinyModel::HOOK))
            .option("--grid", &grid)
            .option("--out", out)
    };
    let [plain, disturbed] = ["plain", "disturbed"].map(|name| folder.path().join(name));
    let met = disturb("train --grid", train(&plain), || train(&disturbed));
    assert!(met > 0, "no kill met a running grid");
    same_bytes(&plain.join("report.html"), &disturbed.join("report.html"));
    let entries = fs::read_dir(&plain).expect("a folder").map(|entry| entry.expect("an entry"));
    let members: Vec<_> = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect();
    assert_eq!(members.len(), 13, "{members:?}");
    for member in members {
        for file in ["sae_weights.safetensors", "cfg.json", "training.json"] {
            same_bytes(&plain.join(&member).join(file), &disturbed.join(&member).join(file));
        }
    }
}
