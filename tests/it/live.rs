//! Training straight from a model: the dictionary of a stored run, without the store.

use crate::support::{TinyModel, Untangle, corpus_text, entries, scratch};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn live(model: impl AsRef<std::ffi::OsStr>, text: impl AsRef<std::ffi::OsStr>, out: &Path, words: &str) -> Untangle {
    Untangle::new("train --d-sae 64 --k 4 --batch 512 --threads 2 --dtype f32")
        .option("--model", model)
        .option("--text", text)
        .words(words)
        .option("--out", out)
}

fn json(path: PathBuf) -> Value {
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn where_rows_fit_into_memory_the_weights_are_those_of_a_stored_run_to_the_byte() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 60);
    let hook = format!("--hook {}", TinyModel::HOOK);
    let [exact, rounded, stored, straight] =
        ["exact.h5", "rounded.h5", "stored", "straight"].map(|n| folder.path().join(n));
    let capture = |store: &Path, words: &str| {
        let command = Untangle::new("capture --threads 2").arg(&model.path).option("--text", &text).words(&hook);
        command.words(words).option("--out", store).succeed();
    };
    capture(&exact, "--store f32");
    capture(&rounded, "");
    let train = Untangle::new("train --d-sae 64 --k 4 --batch 512 --threads 2 --dtype f32 --tokens 100000");
    train.arg(&exact).option("--out", &stored).succeed();
    live(&model.path, &text, &straight, &format!("{hook} --tokens 100000 --text-tokens 10000000")).succeed();
    for file in ["sae_weights.safetensors", "cfg.json"] {
        assert!(fs::read(stored.join(file)).expect("read") == fs::read(straight.join(file)).expect("read"), "{file}");
    }
    // What it was made of stands beside it, and its held-out documents are known in every store of the same text.
    let (record, of_store) = (json(straight.join("training.json")), json(stored.join("training.json")));
    assert_eq!(record["data"]["stores"], Value::Array(Vec::new()));
    assert_eq!(record["data"]["capture"], of_store["data"]["capture"]);
    for store in [&exact, &rounded] {
        let measured = Untangle::new("evaluate").arg(&straight).option("--store", store).json();
        assert_eq!(measured["dictionaries"][0]["part"], "held-out", "{measured}");
    }
    let measured =
        Untangle::new("evaluate").arg(&straight).option("--model", &model.path).option("--text", &text).json();
    assert_eq!(measured["dictionaries"][0]["part"], "held-out", "{measured}");
    let names = entries(folder.path());
    assert!(names.iter().all(|name| !name.contains("partial")), "something was left behind: {names:?}");
}

#[test]
fn a_live_run_in_windows_is_as_good_as_a_stored_one() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (store, hook) = (path("store.h5"), "--hook blocks.2.hook_resid_post");
    let capture = Untangle::new("capture organism --text organism --tokens 100000").words(hook);
    capture.option("--out", &store).succeed();
    // Rows take 54 MB: eight or nine windows.
    let train = Untangle::new("train --d-sae 64 --k 4 --batch 512 --threads 2 --dtype f32 --tokens 300000").arg(&store);
    train.option("--out", path("stored")).succeed();
    let words = format!("{hook} --tokens 300000 --text-tokens 100000 --shuffle-memory 13");
    let outcome = live("organism", "organism", &path("live"), &words).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("shuffled in windows"), "{}", outcome.stderr);
    let measured = Untangle::new("evaluate").arg(path("stored")).arg(path("live")).option("--store", &store).json();
    let [stored, live] = [0, 1].map(|at| &measured["dictionaries"][at]);
    assert_eq!((&stored["part"], &live["part"]), (&Value::from("held-out"), &Value::from("held-out")));
    let fvu = |of: &Value| of["fvu"].as_f64().expect("a number");
    let (stored, live) = (fvu(stored), fvu(live));
    assert!((live / stored - 1.0).abs() < 0.1, "FVU {live} live, {stored} from the store");
}

#[test]
fn what_contradicts_itself_is_refused_before_the_text_is_read() {
    const USAGE: i32 = 2;
    const BAD_INPUT: i32 = 3;
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 20);
    let out = folder.path().join("sae");
    let hook = format!("--hook {}", TinyModel::HOOK);
    let run = |words: &str| {
        let train = Untangle::new("train --d-sae 64 --dtype f32").option("--model", &model.path);
        train.option("--text", &text).words(words).option("--out", &out).run()
    };
    run(&format!("{hook} --k 65")).fails_with(USAGE, &["--k", "65"]);
    run("--hook blocks.7.hook_resid_post").fails_with(BAD_INPUT, &["blocks.7.hook_resid_post"]);
    run(&format!("{hook} --batch 1000000")).fails_with(USAGE, &["fewer than a batch of 1000000"]);
    let absent = live(&model.path, folder.path().join("absent.txt"), &out, &hook).run();
    absent.fails_with(BAD_INPUT, &["absent.txt: no such file"]);
    assert_eq!(run("").code, Some(USAGE), "without --hook");
    let both = live(&model.path, &text, &out, &hook).arg(folder.path().join("store.h5")).run();
    assert_eq!(both.code, Some(USAGE), "a store and a model");
    fs::create_dir(&out).expect("the scratch folder is writable");
    fs::write(out.join("notes.txt"), "kept").expect("the scratch folder is writable");
    run(&hook).fails_with(USAGE, &["exists and is not", "sae"]);
    assert_eq!(fs::read_to_string(out.join("notes.txt")).expect("readable"), "kept");
}
