//! Contrastive vectors from the command line: made, judged, told in features, written as GGUF and steered with.

use crate::support::{Untangle, scratch};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;

struct Bench {
    folder: TempDir,
}

impl Bench {
    /// Sentences about a cat, and about a bridge.
    fn new() -> Self {
        let bench = Bench { folder: scratch() };
        let names = ["Anna", "Ben", "Tom", "Lily", "Sam", "Mia", "Max", "Tim", "Sue", "Leo"];
        let all = |one: &str, other: &str| {
            let of = |name: &&str| [one, other].map(|sentence| sentence.replace("NAME", name));
            names.iter().flat_map(of).collect::<Vec<String>>()
        };
        let cats = all("NAME brushed the soft kitten under the table.", "Then NAME stroked the small cat.");
        let bridges = all("NAME crossed the red bridge above the bay.", "Then NAME saw the long cable.");
        let pair = |(cat, bridge): (&String, &String)| json!({"positive": cat, "negative": bridge}).to_string();
        let pairs: Vec<String> = cats.iter().zip(&bridges).map(pair).collect();
        bench.write("pairs.jsonl", &pairs);
        bench.write("cats.txt", &cats);
        bench.write("bridges.txt", &bridges);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, lines: &[String]) {
        fs::write(self.path(name), lines.join("\n") + "\n").expect("written");
    }

    fn of_pairs(&self, words: &str) -> Untangle {
        Untangle::new("vector organism").option("--pairs", self.path("pairs.jsonl")).words(words)
    }

    fn of_sets(&self, words: &str) -> Untangle {
        let command = Untangle::new("vector organism").option("--positive", self.path("cats.txt"));
        command.option("--negative", self.path("bridges.txt")).words(words)
    }
}

fn hits(vectors: &Value, at: usize) -> (u64, u64) {
    let share = &vectors["vectors"][at]["held_out"];
    (share["hits"].as_u64().expect("a count"), share["trials"].as_u64().expect("a count"))
}

#[test]
fn vectors_are_made_written_and_steered_with() {
    let bench = Bench::new();
    for method in ["mean", "pca", "logistic"] {
        let found = bench.of_pairs(&format!("--read mean --method {method}")).json();
        let layers = found["vectors"].as_array().expect("a list").len();
        assert!(layers >= 3, "{found}");
        // Eight texts judge, and every layer of the model tells cats from bridges.
        assert!((0..layers).all(|at| hits(&found, at) == (8, 8)), "{method}: {found}");
    }
    let file = bench.path("cats.gguf");
    let made = bench.of_sets("--read mean").option("--out", &file).succeed();
    assert!(made.contains("8 of 8") && made.contains("directions of the blocks 1, 2"), "{made}");
    bench.of_sets("--read mean").option("--out", &file).run().fails_with(USAGE, &["--force"]);
    bench.of_sets("--read mean --force --hook blocks.1.hook_resid_post").option("--out", &file).succeed();

    let steer = |feature: &str| {
        let command = Untangle::new("steer organism --tokens 8 --prompt").arg("One day, Anna and Ben");
        command.option("--feature", feature)
    };
    let named = format!("vector '{}'", file.display());
    let found = steer(&named).json()["steered"][0].clone();
    assert_eq!(found["edits"][0]["operator"], "add-direction", "{found}");
    assert_eq!(found["edits"][0]["of_maximum"], 1.0, "as it is: {found}");
    assert!(found["effect"]["kl"].as_f64().expect("a number") > 0.0, "{found}");
    assert_eq!(steer(&format!("{named}:add-direction=0x")).json()["steered"][0]["effect"]["kl"], 0.0);
    // One of another stage is used, and that it is one is said.
    let of_stage = |words: &str| {
        let command = Untangle::new("steer organism:sft --tokens 2 --prompt Anna").words(words);
        command.option("--feature", &named).run().stderr
    };
    let doubt = of_stage("");
    assert!(doubt.contains("warning") && doubt.contains("cats.gguf: was made on the model organism"), "{doubt}");
    let asked = of_stage("--other-model");
    assert!(!asked.contains("warning") && asked.contains("cats.gguf") && asked.contains("--other-model"), "{asked}");
    assert!(!steer(&named).run().stderr.contains("was made on"));
    let elsewhere = steer(&format!("{named} in blocks.2.hook_resid_post:project-out")).run();
    elsewhere.fails_with(USAGE, &["no direction for blocks.2.hook_resid_post, but for blocks.1.hook_resid_post"]);
    let other = steer(&format!("vector '{}'", bench.path("cats.txt").display())).run();
    other.fails_with(BAD_INPUT, &["cats.txt: is no GGUF file", "control vector"]);
}

#[test]
fn a_vector_is_told_in_features_and_made_of_replies() {
    let bench = Bench::new();
    let store = bench.path("store.h5");
    let hook = "--hook blocks.2.hook_resid_post";
    Untangle::new("capture organism --text organism --tokens 60000").words(hook).option("--out", &store).succeed();
    let train = Untangle::new("train --d-sae 256 --k 16 --tokens 200000 --batch 1024").arg(&store);
    train.option("--out", bench.path("sae")).succeed();
    let told = bench.of_pairs("--read mean --parts 6").option("--sae", bench.path("sae"));
    let explained = told.json()["explained"].clone();
    let parts = explained["parts"].as_array().expect("a list").clone();
    assert_eq!(parts.len(), 6);
    let shares: Vec<f64> = parts.iter().map(|part| part["explained"].as_f64().expect("a number")).collect();
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]) && shares[5] > 0.3, "{explained}");
    let elsewhere = bench.of_pairs("--hook blocks.1.hook_resid_post").option("--sae", bench.path("sae")).run();
    elsewhere.fails_with(USAGE, &["writes at blocks.2.hook_resid_post"]);
    let replies = bench.of_sets("--read reply --tokens 8 --hook blocks.2.hook_resid_post").json();
    assert!(hits(&replies, 0).1 == 8 && replies["plan"]["read"]["reply"] == 8, "{replies}");
}

#[test]
fn what_makes_no_vector_is_said() {
    let bench = Bench::new();
    bench.of_sets("--method pca").run().fails_with(USAGE, &["needs pairs"]);
    bench.write("few.txt", &["Anna saw a cat.".to_owned()]);
    let few = Untangle::new("vector organism").option("--positive", bench.path("few.txt"));
    few.option("--negative", bench.path("cats.txt")).run().fails_with(BAD_INPUT, &["1 positive texts", "at least 5"]);
    let same = Untangle::new("vector organism").option("--positive", bench.path("cats.txt"));
    same.option("--negative", bench.path("cats.txt")).run().fails_with(BAD_INPUT, &["the same to the model"]);
    bench.write("broken.jsonl", &["{\"positive\": 3}".to_owned()]);
    let broken = Untangle::new("vector organism").option("--pairs", bench.path("broken.jsonl")).run();
    broken.fails_with(BAD_INPUT, &["broken.jsonl: line 1", "negative"]);
    let bare = Untangle::new("vector organism").run();
    assert!(bare.code == Some(USAGE) && bare.stderr.contains("--pairs"), "{}", bare.stderr);
}
