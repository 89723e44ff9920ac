//! Artefacts that do not belong together are refused, and rows are called what they are.

use crate::support::{TinyModel, Untangle, corpus_text, scratch};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const BAD_INPUT: i32 = 3;
const HOOK: &str = TinyModel::HOOK;

/// A model, two texts, and the store of each.
struct Bench {
    folder: TempDir,
    model: TinyModel,
    text: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = scratch();
        let model = TinyModel::write(folder.path());
        let text = corpus_text(folder.path(), 60);
        Bench { folder, model, text }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn capture(&self, model: &Path, text: &Path, hook: &str, name: &str) -> PathBuf {
        let out = self.path(name);
        let command = Untangle::new("capture --context 64").arg(model).option("--text", text);
        command.option("--hook", hook).option("--out", &out).succeed();
        out
    }

    fn train(&self, stores: &[&Path]) -> PathBuf {
        let out = self.path("sae");
        let command = stores.iter().fold(Untangle::new("train"), |command, store| command.arg(store));
        command.words("--d-sae 32 --k 4 --tokens 20000 --batch 512").option("--out", &out).succeed();
        out
    }

    /// The same model with the last bit of one weight changed.
    fn other_model(&self) -> PathBuf {
        let other = self.path("other");
        fs::create_dir(&other).expect("the scratch folder is writable");
        for entry in fs::read_dir(&self.model.path).expect("readable") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), other.join(entry.file_name())).expect("copied");
        }
        let weights = other.join("model.safetensors");
        let mut bytes = fs::read(&weights).expect("readable");
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        fs::write(&weights, bytes).expect("written");
        other
    }
}

fn evaluate(sae: &Path, stores: &[&Path]) -> Untangle {
    let command = Untangle::new("evaluate").arg(sae).arg("--store");
    stores.iter().fold(command, |command, store| command.arg(store))
}

#[test]
fn a_store_of_another_layer() {
    let bench = Bench::new();
    let (own, other) = (
        bench.capture(&bench.model.path, &bench.text, HOOK, "own.h5"),
        bench.capture(&bench.model.path, &bench.text, "blocks.0.hook_resid_post", "other.h5"),
    );
    let sae = bench.train(&[&own]);
    let parts = [HOOK, "blocks.0.hook_resid_post", "other.h5"];
    evaluate(&sae, &[&other]).run().fails_with(BAD_INPUT, &parts);
    let codes = bench.path("codes.safetensors");
    let encode = Untangle::new("encode").arg(&sae).arg(&other);
    encode.option("--out", &codes).run().fails_with(BAD_INPUT, &parts);
    assert!(!codes.exists());
}

#[test]
fn a_model_that_the_dictionary_does_not_know() {
    let bench = Bench::new();
    let store = bench.capture(&bench.model.path, &bench.text, HOOK, "own.h5");
    let sae = bench.train(&[&store]);
    let other = bench.other_model();
    let parts = ["tiny (weights ", "other (weights "];
    evaluate(&sae, &[&store]).option("--model", &other).run().fails_with(BAD_INPUT, &parts);
    let on_text = Untangle::new("evaluate").arg(&sae).option("--model", &other).option("--text", &bench.text);
    on_text.run().fails_with(BAD_INPUT, &parts);
    let steer = Untangle::new("steer --feature 1:add=2 --prompt cat").arg(&other).option("--sae", &sae);
    steer.run().fails_with(BAD_INPUT, &parts);
    let features = Untangle::new("features").arg(&sae).option("--store", &store).option("--model", &other);
    features.option("--out", bench.path("features.db")).run().fails_with(BAD_INPUT, &parts);
    // A store of another model, although the dictionary knows this one.
    let foreign = bench.capture(&other, &bench.text, HOOK, "foreign.h5");
    evaluate(&sae, &[&foreign]).option("--model", &bench.model.path).run().fails_with(BAD_INPUT, &parts);
}

#[test]
fn a_store_of_another_model_is_taken_where_that_is_asked_for() {
    let bench = Bench::new();
    let store = bench.capture(&bench.model.path, &bench.text, HOOK, "own.h5");
    let sae = bench.train(&[&store]);
    let other = bench.other_model();
    let foreign = bench.capture(&other, &bench.text, HOOK, "foreign.h5");
    let codes = bench.path("codes.safetensors");
    let database = bench.path("features.db");
    let verbs = || {
        let encode = Untangle::new("encode").arg(&sae).arg(&foreign).option("--out", &codes);
        let features = Untangle::new("features").arg(&sae).option("--store", &foreign).option("--out", &database);
        let steer = Untangle::new("steer --feature 1:add=2 --tokens 2 --prompt cat").arg(&other).option("--sae", &sae);
        let in_model = evaluate(&sae, &[&foreign]).option("--model", &other).words("--contexts 4");
        [evaluate(&sae, &[&foreign]), encode, features, steer, in_model]
    };
    for verb in verbs() {
        verb.run().fails_with(BAD_INPUT, &["tiny (weights ", "other (weights ", "--other-model"]);
    }
    assert!(!codes.exists() && !database.exists());
    for verb in verbs() {
        let outcome = verb.words("--other-model").run();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        // What was asked for is no reason to warn, and is said once.
        let told = outcome.stderr.matches("the dictionary was trained on the model tiny").count();
        assert!(told == 1 && outcome.stderr.contains("used all the same, by --other-model"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("warning: the dictionary"), "{}", outcome.stderr);
    }
    // A dictionary from elsewhere names no weights, and models are spelled in many ways.
    let path = sae.join("cfg.json");
    let text = fs::read_to_string(&path).expect("a configuration");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("json");
    config["metadata"].as_object_mut().expect("metadata").remove("model_weights_sha256");
    for (name, doubted) in [("somebody/Tiny", false), ("pythia-70m", true)] {
        config["metadata"]["model_name"] = name.into();
        fs::write(&path, config.to_string()).expect("written");
        let outcome = evaluate(&sae, &[&foreign]).run();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        // The store is of the model `other`, whose name is no spelling of either.
        let own = evaluate(&sae, &[&store]).run();
        assert_eq!(own.stderr.contains("the dictionary names the model"), doubted, "{}", own.stderr);
    }
}

#[test]
fn a_folder_of_another_tool_is_named_by_every_verb() {
    let bench = Bench::new();
    let store = bench.capture(&bench.model.path, &bench.text, HOOK, "own.h5");
    let folder = bench.path("dl");
    fs::create_dir(&folder).expect("the scratch folder is writable");
    fs::write(folder.join("ae.pt"), "PK").expect("written");
    fs::write(folder.join("config.json"), r#"{"trainer": {"dict_class": "BatchTopKSAE"}}"#).expect("written");
    let said = ["dl: holds a dictionary of dictionary_learning (ae.pt)", "save it with SAELens"];
    let encode = Untangle::new("encode").arg(&folder).arg(&store).option("--out", bench.path("codes.safetensors"));
    for verb in [Untangle::new("inspect").arg(&folder), evaluate(&folder, &[&store]), encode] {
        verb.run().fails_with(BAD_INPUT, &said);
    }
    let above = bench.path("");
    Untangle::new("inspect").arg(&above).run().fails_with(BAD_INPUT, &["its folders do", "dl"]);
}

#[test]
fn rows_that_training_may_have_read_are_called_so() {
    let bench = Bench::new();
    let others = corpus_text(bench.folder.path(), 40);
    let unseen_text = corpus_text(bench.folder.path(), 30);
    let store = |text: &Path, name| bench.capture(&bench.model.path, text, HOOK, name);
    let (a, b) = (store(&bench.text, "a.h5"), store(&others, "b.h5"));
    let unseen = store(&unseen_text, "unseen.h5");
    let sae = bench.train(&[&a, &b]);
    let part = |stores: &[&Path]| evaluate(&sae, stores).json()["dictionaries"][0]["part"].clone();
    assert_eq!(part(&[&a, &b]), "held-out");
    assert_eq!(part(&[&unseen]), "all");
    for stores in [&[a.as_path()][..], &[&b, &a], &[&unseen, &b]] {
        assert_eq!(part(stores), "all (may hold training rows)", "{stores:?}");
        let outcome = evaluate(&sae, stores).run();
        assert!(outcome.stderr.contains("warning: sae may have been trained on rows of"), "{}", outcome.stderr);
    }
    let table = evaluate(&sae, &[&a, &b]).arg(&unseen).run();
    assert_eq!(table.code, Some(0), "{}", table.stderr);
}

#[test]
fn every_dictionary_of_a_table_has_its_own_rows() {
    let bench = Bench::new();
    let store = bench.capture(&bench.model.path, &bench.text, HOOK, "own.h5");
    let sae = bench.train(&[&store]);
    // Without a record of its training it comes from elsewhere, and all rows may judge it.
    let foreign = bench.path("foreign");
    fs::create_dir(&foreign).expect("the scratch folder is writable");
    for name in ["cfg.json", "sae_weights.safetensors"] {
        fs::copy(sae.join(name), foreign.join(name)).expect("copied");
    }
    let both = || Untangle::new("evaluate").arg(&sae).arg(&foreign).option("--store", &store);
    let measured = both().json()["dictionaries"].clone();
    let table = both().succeed();
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
    for at in [0, 1] {
        let count = |key: &str| measured[at][key].as_u64().expect("a count");
        let ordinary = count("rows") - count("special_rows");
        assert!(line("ordinary rows").contains(&format!(" {ordinary}")), "{table}");
        assert!(line("dead features").contains(&format!("of 32 in {ordinary} rows")), "{table}");
    }
    assert_ne!(measured[0]["rows"], measured[1]["rows"]);
    let out = bench.path("features.db");
    let text = Untangle::new("features").arg(&sae).option("--store", &store).option("--out", &out).succeed();
    assert!(text.contains("dead in ") && text.contains(" rows, "), "{text}");
}

#[test]
fn a_demo_does_not_show_the_features_of_another_dictionary() {
    let bench = Bench::new();
    let out = bench.path("demo");
    let demo = || {
        let command = Untangle::new("demo --prompt cat --d-sae 32 --k 4 --tokens 20000 --train-tokens 20000")
            .option("--model", &bench.model.path);
        command.option("--text", &bench.text).option("--out", &out).run()
    };
    let first = demo();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let database = out.join("features.db");
    let made = fs::read(&database).expect("a database");
    let again = demo();
    assert!(again.stderr.contains("features.db of an earlier demo"), "{}", again.stderr);
    let weights = out.join("sae/sae_weights.safetensors");
    let mut bytes = fs::read(&weights).expect("readable");
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).expect("written");
    let stale = demo();
    assert_eq!(stale.code, Some(0), "{}", stale.stderr);
    assert!(!stale.stderr.contains("features.db of an earlier demo"), "{}", stale.stderr);
    assert_ne!(fs::read(&database).expect("a database"), made, "it was made anew");
}
