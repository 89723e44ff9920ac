//! What a later run believes is checked first: what was kept by one that stopped, and what that was made of.

use crate::support::{TinyModel, Untangle, corpus_text, matrix, scratch};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const INTERRUPTED: i32 = 130;

/// Starts a command and interrupts it as soon as `ready`.
fn interrupt(command: Untangle, ready: impl Fn() -> bool) {
    let mut command = command.command();
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while !ready() {
        assert!(child.try_wait().expect("our own child").is_none(), "the run ended too soon");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    assert_eq!(child.wait().expect("our own child").code(), Some(INTERRUPTED));
}

/// Flips a bit of a file, keeping its size and its time of modification.
fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).expect("there");
    let before = file.metadata().expect("there").modified().expect("known");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("long enough");
    file.write_all_at(&[byte[0] ^ 16], at).expect("written");
    file.set_times(FileTimes::new().set_modified(before)).expect("set");
}

/// A training that was interrupted after some steps.
struct Stopped {
    folder: tempfile::TempDir,
    input: PathBuf,
    hook: &'static str,
}

impl Stopped {
    fn on(folder: tempfile::TempDir, input: PathBuf, hook: &'static str) -> Self {
        let stopped = Stopped { folder, input, hook };
        let log = stopped.path("o.partial/metrics.jsonl");
        interrupt(stopped.train("o"), || fs::metadata(&log).is_ok_and(|about| about.len() > 4000));
        stopped
    }

    fn on_a_matrix() -> Self {
        let folder = scratch();
        let input = matrix(&folder.path().join("a.npy"), 4000, 64, 1);
        Self::on(folder, input, "")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, out: &str) -> Untangle {
        let command = Untangle::new("train --d-sae 64 --k 4 --tokens 1500000 --batch 256 --threads 1 -q");
        command.words(self.hook).arg(&self.input).option("--out", self.path(out))
    }

    fn weights(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("sae_weights.safetensors")).expect("trained")
    }
}

#[test]
fn a_damaged_checkpoint_or_log_is_named() {
    let stopped = Stopped::on_a_matrix();
    let checkpoint = stopped.path("o.partial/checkpoint.safetensors");
    let whole = fs::read(&checkpoint).expect("saved");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight"));
    for at in [12, header / 2, header + 5, header + 2003, whole.len() as u64 - 1] {
        flip(&checkpoint, at);
        stopped.train("o").run().fails_with(BAD_INPUT, &["checkpoint.safetensors", "--force"]);
        flip(&checkpoint, at);
    }
    fs::write(&checkpoint, &whole[..whole.len() - 4]).expect("written");
    stopped.train("o").run().fails_with(BAD_INPUT, &["checkpoint.safetensors"]);
    fs::write(&checkpoint, &whole).expect("written");
    let log = stopped.path("o.partial/metrics.jsonl");
    flip(&log, 9);
    stopped.train("o").run().fails_with(BAD_INPUT, &["metrics.jsonl"]);
    flip(&log, 9);
    stopped.train("o").succeed();
    stopped.train("fresh").succeed();
    assert!(stopped.weights("o") == stopped.weights("fresh"), "not the run that was never interrupted");
}

#[test]
fn a_matrix_that_changed_under_a_run_is_noticed_and_a_copy_is_not() {
    let stopped = Stopped::on_a_matrix();
    let refused = || stopped.train("o").run().fails_with(BAD_INPUT, &["a.npy", "changed", "--force"]);
    // One bit in a place of no sample, with size and time as before.
    let at = 128 + 64 * 4 * 2345 + 6;
    flip(&stopped.input, at);
    refused();
    flip(&stopped.input, at);
    // Others of the same form.
    let kept = fs::read(&stopped.input).expect("written");
    matrix(&stopped.input, 4000, 64, 9);
    refused();
    // A restored backup is another file with the same content.
    fs::remove_file(&stopped.input).expect("there");
    fs::write(&stopped.input, kept).expect("written");
    stopped.train("o").succeed();
    stopped.train("fresh").succeed();
    assert!(stopped.weights("o") == stopped.weights("fresh"));
}

#[test]
fn a_store_that_changed_under_a_run_is_noticed() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 60);
    let store = folder.path().join("s.h5");
    let capture = Untangle::new("capture --context 64 --threads 1 -q").arg(&model.path).option("--text", text);
    capture.words(&format!("--hook {}", TinyModel::HOOK)).option("--out", &store).succeed();
    let whole = fs::read(&store).expect("captured");
    let stopped = Stopped::on(folder, store.clone(), "");
    // The rows are the last and largest part of the file.
    flip(&store, whole.len() as u64 - 4001);
    stopped.train("o").run().fails_with(BAD_INPUT, &["s.h5", "changed"]);
    fs::write(&store, &whole).expect("written");
    stopped.train("o").succeed();
    matrix(&stopped.path("a.npy"), 4000, 64, 1);
    stopped.train("o").arg("--force").succeed();
}

#[test]
fn a_record_of_training_that_cannot_be_read_is_an_error_and_a_missing_one_is_said() {
    let folder = scratch();
    let input = matrix(&folder.path().join("a.npy"), 2000, 16, 1);
    let sae = folder.path().join("sae");
    let train = Untangle::new("train --d-sae 32 --k 4 --tokens 4000 --batch 128 --threads 1 -q");
    train.arg(&input).option("--out", &sae).succeed();
    let record = sae.join("training.json");
    let whole = fs::read_to_string(&record).expect("written");
    let evaluate = || Untangle::new("evaluate").arg(&sae).option("--store", &input);
    assert!(evaluate().succeed().contains("held-out"));
    let without = |field: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
        value["data"].as_object_mut().expect("an object").remove(field);
        value.to_string()
    };
    let wrong_rule = whole.replacen("\"held_out\": {", "\"held_out\": {\"unknown\": 1}, \"other\": {", 1);
    for text in [&whole[..whole.len() / 2], "", "null", "{}", &without("held_out"), &without("content"), &wrong_rule] {
        fs::write(&record, text).expect("written");
        evaluate().run().fails_with(BAD_INPUT, &["training.json"]);
        if text != wrong_rule {
            // Which rows were held out is no question of `inspect`.
            Untangle::new("inspect").arg(&sae).run().fails_with(BAD_INPUT, &["training.json"]);
        }
    }
    fs::remove_file(&record).expect("there");
    let outcome = evaluate().run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("sae has no training.json"), "{}", outcome.stderr);
    // Another matrix of the same name and form is not the one that was trained on.
    fs::write(&record, &whole).expect("written");
    matrix(&input, 2000, 16, 2);
    assert!(evaluate().succeed().contains("may hold training rows"));
}

#[test]
fn kept_tokens_and_rows_of_a_capture_are_checked() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 1500);
    let path = |name: &str| folder.path().join(name);
    let capture = |out: &str| {
        let command = Untangle::new("capture --context 64 --batch 2 --threads 1 -q").arg(&model.path);
        command.option("--text", &text).words("--hook blocks.0.hook_resid_mid").option("--out", path(out))
    };
    capture("whole.h5").succeed();
    let whole = fs::read(path("whole.h5")).expect("captured");
    let begun = || fs::exists(path("o.h5.partial.journal")).expect("readable");
    interrupt(capture("o.h5"), || {
        let there = begun();
        thread::sleep(Duration::from_millis(if there { 300 } else { 0 }));
        there
    });
    let tokens = path("o.h5.partial.tokens");
    let of_last = fs::metadata(&tokens).expect("kept").len() - 8;
    flip(&tokens, of_last);
    // Damaged token ids are made anew from the text; damaged rows are named, as are the bytes around them.
    let data = path("o.h5.partial");
    let rows_at = whole.len() as u64 - fs::metadata(&tokens).expect("kept").len() / 12 * 16 * 2;
    for at in [1000, rows_at + 64] {
        flip(&data, at);
        let outcome = capture("o.h5").run();
        assert_eq!(outcome.code, Some(BAD_INPUT), "byte {at}: {}", outcome.stderr);
        flip(&data, at);
    }
    capture("o.h5").succeed();
    assert!(fs::read(path("o.h5")).expect("captured") == whole, "other bytes than an unbroken run");
    capture("o.h5").run().fails_with(USAGE, &["exists already"]);
}
