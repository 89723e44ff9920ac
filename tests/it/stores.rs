//! Stores on the command line: shards that are read as one, compressed ones, and what `inspect` says of bad ones.

use crate::support::{TinyModel, Untangle, corpus_text, scratch};
use std::fs;
use std::path::{Path, PathBuf};

const BAD_INPUT: i32 = 3;

fn capture(model: &TinyModel, text: &Path, options: &str, out: &Path) -> PathBuf {
    let command = Untangle::new("capture --context 64 --threads 1").words(options).arg(&model.path);
    let command = command.option("--text", text).words(&format!("--hook {}", TinyModel::HOOK));
    command.option("--out", out).succeed();
    out.to_owned()
}

fn train(stores: &[&PathBuf], out: &Path) -> Untangle {
    let command = Untangle::new("train --batch 256 --tokens 4096 --threads 1 --d-sae 64 --k 4 --dtype f32");
    stores.iter().fold(command, |command, store| command.arg(store)).option("--out", out)
}

#[test]
fn shards_train_the_same_dictionary_in_any_order_and_only_together() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 60);
    let path = |name: &str| folder.path().join(name);
    let shard = |index: u32, options: &str| {
        let options = format!("--shard {index}/3 {options}");
        capture(&model, &text, &options, &path(&format!("part-{index}.h5")))
    };
    let (one, two, three) = (shard(1, ""), shard(2, "--compress"), shard(3, ""));
    train(&[&one, &two, &three], &path("ordered")).succeed();
    train(&[&three, &one, &two], &path("mixed")).succeed();
    for file in ["sae_weights.safetensors", "cfg.json", "training.json"] {
        let read = |name: &str| fs::read(path(name).join(file)).expect("trained");
        assert!(read("ordered") == read("mixed"), "{file} depends on the order of the names");
    }
    train(&[&one, &three], &path("x")).run().fails_with(BAD_INPUT, &["shard 2/3 is missing", "name all"]);
    let copy = path("copy.h5");
    fs::copy(&one, &copy).expect("copied");
    train(&[&one, &two, &three, &copy], &path("x")).run().fails_with(BAD_INPUT, &["copy.h5", "shard 1/3", "twice"]);
    let other = capture(&model, &text, "--shard 3/4", &path("other.h5"));
    train(&[&one, &two, &other], &path("x")).run().fails_with(BAD_INPUT, &["other.h5", "shards differs"]);
    assert!(!path("x").exists());
    train(&[&two], &path("alone")).succeed();
}

#[test]
fn inspect_lists_everything_that_is_wrong() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 30);
    let store = capture(&model, &text, "", &folder.path().join("store.h5"));
    let inspect = |options: &str| Untangle::new("inspect").words(options).arg(&store);
    let good = inspect("--verify").json();
    assert_eq!((good["valid"].as_bool(), good["verified"].as_bool()), (Some(true), Some(true)));
    assert!(good["columns"][0]["statistics"]["covariance_trace"].as_f64().is_some_and(|trace| trace > 0.0));
    assert_eq!(good["columns"][0]["statistics"]["outliers"].as_u64(), Some(0));

    let mut bytes = fs::read(&store).expect("captured");
    let last = bytes.len() - 1000;
    bytes[last] ^= 0x10;
    fs::write(&store, &bytes).expect("written");
    inspect("").succeed();
    let outcome = inspect("--verify").run();
    outcome.fails_with_story(BAD_INPUT, &["store.h5", "in one place"]);
    let line = format!("`activations/{}` does not have its checksum in rows ", TinyModel::HOOK);
    assert!(outcome.stdout.starts_with(&line), "{}", outcome.stdout);

    fs::write(&store, &bytes[..bytes.len() / 2]).expect("written");
    let outcome = inspect("--json").run();
    outcome.fails_with_story(BAD_INPUT, &["store.h5"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(value["valid"].as_bool(), Some(false));
    assert!(value["violations"].as_array().is_some_and(|violations| !violations.is_empty()), "{value}");
}
