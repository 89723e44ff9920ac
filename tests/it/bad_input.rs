//! Everything that can be wrong with what the user gives: one clear message, the right exit code, nothing lost and
//! nothing half-written under the final name.

use crate::support::{TinyModel, Untangle, corpus_text, entries, scratch, skip};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const IO: i32 = 4;

/// A folder with a model and a text, and commands that would succeed on them.
struct Bench {
    folder: TempDir,
    model: TinyModel,
    text: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = scratch();
        let model = TinyModel::write(folder.path());
        let text = corpus_text(folder.path(), 20);
        Bench { folder, model, text }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn capture(&self, hook: &str, out: &Path) -> Untangle {
        let command = Untangle::new("capture --context 64 --threads 1").arg(&self.model.path);
        command.option("--text", &self.text).option("--hook", hook).option("--out", out)
    }

    fn store(&self) -> PathBuf {
        let store = self.path("store.h5");
        self.capture(TinyModel::HOOK, &store).succeed();
        store
    }

    fn train(&self, store: impl AsRef<OsStr>, options: &str, out: &Path) -> Untangle {
        Untangle::new("train --batch 256 --tokens 4096 --threads 1").arg(store).words(options).option("--out", out)
    }

    fn sae(&self, store: &Path) -> PathBuf {
        let sae = self.path("sae");
        self.train(store, "--d-sae 64 --k 4", &sae).succeed();
        sae
    }
}

/// Cuts a file to half its length.
fn halve(path: &Path) {
    let bytes = fs::read(path).expect("the file exists");
    fs::write(path, &bytes[..bytes.len() / 2]).expect("the scratch folder is writable");
}

/// A `.npy` file of `[rows, d]` f32 values, version 1.0.
fn write_npy(path: &Path, rows: usize, d: usize, value: impl Fn(usize, usize) -> f32) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {d}), }}");
    let padded = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.bytes());
    bytes.extend((0..rows * d).flat_map(|i| value(i / d, i % d).to_le_bytes()));
    fs::write(path, bytes).expect("the scratch folder is writable");
}

/// A value that varies from cell to cell, in [-1, 1).
fn noise(row: usize, column: usize) -> f32 {
    let mixed = (row as u64 * 8191 + column as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

#[test]
fn a_truncated_model_file() {
    let bench = Bench::new();
    halve(&bench.model.path.join("model.safetensors"));
    let out = bench.path("out.h5");
    bench.capture(TinyModel::HOOK, &out).run().fails_with(BAD_INPUT, &["model.safetensors"]);
    assert!(!out.exists());
}

#[test]
fn a_truncated_dictionary_file() {
    let bench = Bench::new();
    let store = bench.store();
    let sae = bench.sae(&store);
    halve(&sae.join("sae_weights.safetensors"));
    let evaluate = Untangle::new("evaluate").arg(&sae).option("--store", &store);
    evaluate.run().fails_with(BAD_INPUT, &["sae_weights.safetensors"]);
    let database = bench.path("features.db");
    let features = Untangle::new("features").arg(&sae).option("--store", &store).option("--out", &database);
    features.run().fails_with(BAD_INPUT, &["sae_weights.safetensors"]);
    assert!(!database.exists());
}

#[test]
fn an_activation_file_cut_in_half() {
    let bench = Bench::new();
    let store = bench.store();
    halve(&store);
    let out = bench.path("sae");
    bench.train(&store, "--d-sae 64 --k 4", &out).run().fails_with(BAD_INPUT, &["store.h5"]);
    assert!(!out.exists());
}

#[test]
fn a_hook_that_does_not_exist() {
    let bench = Bench::new();
    let out = bench.path("out.h5");
    bench
        .capture("blocks.1.hook_resid_pots", &out)
        .run()
        .fails_with(BAD_INPUT, &["hook_resid_pots", "hook_resid_post"]);
    bench
        .capture("blocks.7.hook_resid_post", &out)
        .run()
        .fails_with(BAD_INPUT, &["blocks.7.hook_resid_post", "0 to 1"]);
    assert!(!out.exists());
    let store = bench.store();
    let sae = bench.path("sae");
    let options = "--d-sae 64 --k 4 --hook blocks.0.hook_resid_pre";
    bench.train(&store, options, &sae).run().fails_with(BAD_INPUT, &["blocks.0.hook_resid_pre", TinyModel::HOOK]);
    assert!(!sae.exists());
}

#[test]
fn rows_that_are_not_numbers() {
    let bench = Bench::new();
    let matrix = bench.path("rows.npy");
    write_npy(&matrix, 4096, 8, |row, column| if (row, column) == (77, 3) { f32::NAN } else { noise(row, column) });
    let out = bench.path("sae");
    bench.train(&matrix, "--d-sae 64 --k 4", &out).run().fails_with(BAD_INPUT, &["rows.npy", "77", "not finite"]);
    assert!(!out.exists());
}

#[test]
fn more_active_features_than_features() {
    let bench = Bench::new();
    let store = bench.store();
    let out = bench.path("sae");
    bench.train(&store, "--d-sae 64 --k 65", &out).run().fails_with(USAGE, &["65", "64"]);
    assert_eq!(entries(bench.folder.path()), ["corpus-20k.txt", "store.h5", "tiny"]);
}

#[test]
fn settings_of_jump_relu_that_cannot_be_or_belong_to_another_architecture() {
    let bench = Bench::new();
    let (store, out) = (bench.store(), bench.path("sae"));
    let refused = |words: &str, parts: &[&str]| bench.train(&store, words, &out).run().fails_with(USAGE, parts);
    refused("--d-sae 64 --k 4 --threshold 1", &["--threshold", "belongs to jump-relu, not to topk"]);
    refused("--d-sae 64 --l0 4 --arch jump-relu --bandwidth 0", &["--bandwidth", "0 is not a positive number"]);
    refused("--d-sae 64 --l0 4 --arch jump-relu --threshold inf", &["--threshold", "inf is not a positive number"]);
    assert!(!out.exists());
}

#[test]
fn grids_that_cannot_be_are_refused_before_anything_is_written() {
    let bench = Bench::new();
    let store = bench.store();
    let (grid, out) = (bench.path("grid.toml"), bench.path("saes"));
    for (text, words) in [
        ("[[sae]]\nk = [4, 4]", ["topk-k4", "both called"]),
        ("[[sae]]\nk = 4\nbatch = [256, 128]", ["b128", "one grid has one size"]),
        ("[[sae]]\nk = [4, 65]", ["topk-k65", "between 1 and d_sae = 64"]),
        ("[[sae]]\narch = 'relu'\nl0 = -1.0", ["--l0", "-1"]),
        ("[[sae]]\nhook = 'blocks.0.hook_resid_pre'", ["blocks.0.hook_resid_pre", TinyModel::HOOK]),
        ("[[sae]]\nwidth = 64", ["unknown field", "width"]),
        ("[[sae]", ["grid.toml", "line 1"]),
    ] {
        fs::write(&grid, text).expect("the scratch folder is writable");
        bench.train(&store, "--d-sae 64 --k 4", &out).option("--grid", &grid).run().fails_with(BAD_INPUT, &words);
    }
    assert_eq!(entries(bench.folder.path()), ["corpus-20k.txt", "grid.toml", "store.h5", "tiny"]);
}

#[test]
fn a_corpus_without_text() {
    let bench = Bench::new();
    fs::write(&bench.text, " \n<|endoftext|>\n\n").expect("the scratch folder is writable");
    let out = bench.path("out.h5");
    bench.capture(TinyModel::HOOK, &out).run().fails_with(BAD_INPUT, &["corpus-20k.txt"]);
    fs::write(&bench.text, "").expect("the scratch folder is writable");
    bench.capture(TinyModel::HOOK, &out).run().fails_with(BAD_INPUT, &["corpus-20k.txt"]);
    assert_eq!(entries(bench.folder.path()), ["corpus-20k.txt", "tiny"]);
}

#[test]
fn a_dictionary_of_another_width() {
    let bench = Bench::new();
    // Matrices of one name, so that nothing but the width differs.
    let [narrow, wide] = [("narrow", 8), ("wide", 24)].map(|(folder, d)| {
        fs::create_dir(bench.path(folder)).expect("the scratch folder is writable");
        let matrix = bench.path(folder).join("rows.npy");
        write_npy(&matrix, 4096, d, noise);
        matrix
    });
    let sae = bench.path("sae");
    bench.train(&narrow, "--d-sae 32 --k 4", &sae).succeed();
    let evaluate = Untangle::new("evaluate").arg(&sae).option("--store", &wide);
    evaluate.run().fails_with(BAD_INPUT, &["8", "24"]);
    let codes = bench.path("codes.safetensors");
    let encode = Untangle::new("encode").arg(&sae).arg(&wide).option("--out", &codes);
    encode.run().fails_with(BAD_INPUT, &["8", "24"]);
    assert!(!codes.exists());
}

#[test]
fn a_finished_output_is_not_overwritten() {
    let bench = Bench::new();
    let store = bench.store();
    let before = fs::read(&store).expect("a store");
    let other = Untangle::new("capture --context 32 --threads 1").arg(&bench.model.path);
    let other = other.option("--text", &bench.text).option("--hook", "hook_embed").option("--out", &store);
    let outcome = other.run();
    assert!(matches!(outcome.code, Some(2..=4)), "exit code {:?}", outcome.code);
    assert!(outcome.stderr.contains("--force"), "no remedy in: {}", outcome.stderr);
    assert!(fs::read(&store).expect("a store") == before, "the store changed");
}

/// Runs a command inside a mount namespace of its own on a tmpfs of `size` that holds a file `precious` already, and
/// returns what the script saw: the exit code, the error, and the folder after it.
fn on_a_full_disk(folder: &Path, size: &str, words: &str, arguments: &[&OsStr]) -> Option<(String, String)> {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99
        echo kept > "$2/precious"
        disk=$2; shift 2
        "$@" > /dev/null
        echo "code $?"
        echo "precious $(cat "$disk/precious")"
        ls -A "$disk"
    "#;
    let leading = ["-rm", "sh", "-c", SCRIPT, "sh", size].map(OsStr::new);
    let leading: Vec<_> = leading.into_iter().chain([folder.as_os_str()]).collect();
    let mut command = Untangle::under("unshare", &leading, words);
    for argument in arguments {
        command = command.arg(argument);
    }
    let outcome = command.run();
    if outcome.code == Some(99) || outcome.stderr.contains("unshare:") {
        return None;
    }
    Some((outcome.stdout, outcome.stderr))
}

fn may_mount() -> bool {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    probe.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk() {
    if !may_mount() {
        return skip("a_full_disk", "unshare -rm is not permitted here");
    }
    let bench = Bench::new();
    let disk = bench.path("disk");
    fs::create_dir(&disk).expect("the scratch folder is writable");
    let capture = "capture --context 64 --threads 1";
    let hook = TinyModel::HOOK.as_ref();
    let out = disk.join("out.h5");
    let arguments = [
        bench.model.path.as_os_str(),
        "--hook".as_ref(),
        hook,
        "--text".as_ref(),
        bench.text.as_ref(),
        "--out".as_ref(),
        out.as_ref(),
    ];
    let seen = on_a_full_disk(&disk, "128k", capture, &arguments);
    check_full_disk("capture", seen, "out.h5");

    let store = bench.store();
    let train = "train --batch 256 --tokens 4096 --threads 1 --d-sae 4096 --k 4";
    let out = disk.join("sae");
    let seen = on_a_full_disk(&disk, "128k", train, &[store.as_ref(), "--out".as_ref(), out.as_ref()]);
    check_full_disk("train", seen, "sae");
}

fn check_full_disk(what: &str, seen: Option<(String, String)>, output: &str) {
    let Some((stdout, stderr)) = seen else { return skip("a_full_disk", "a tmpfs cannot be mounted here") };
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[0], format!("code {IO}"), "{what}: {stderr}");
    assert_eq!(lines[1], "precious kept", "{what}");
    assert!(!lines[2..].contains(&output), "{what} left {output}: {lines:?}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{what}: {stderr}");
    assert!(errors[0].contains(output) && errors[0].contains("space"), "{what}: {}", errors[0]);
}

#[test]
fn a_study_of_a_model_that_is_not_of_the_world_needs_a_concept() {
    // Whether it lies here or on the hub: what the organism's stories are about says nothing of it.
    for model in ["owner/name", "."] {
        let outcome = Untangle::new("study --sae nowhere --feature 1:add=1 --offline").arg(model).run();
        assert_eq!(outcome.code, Some(USAGE), "{model}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("say with --concept which words show the concept"), "{}", outcome.stderr);
    }
}
