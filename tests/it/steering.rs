//! Steering from the command line: dictionaries of two layers, tokens and conditions, several prompts, words that end a text.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

const USAGE: i32 = 2;
const PROMPT: &str = "One day, Anna met her friend Ben. They";
const OTHER: &str = "Once upon a time there was a";

/// Dictionaries of two layers, and what is known of the later one's features.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { folder: scratch() };
        let store = bench.path("store.h5");
        let hooks = "--hook blocks.1.hook_resid_post blocks.2.hook_resid_post";
        let capture = Untangle::new("capture organism --text organism --tokens 60000").words(hooks);
        capture.option("--out", &store).succeed();
        for (name, layer) in [("early", 1), ("late", 2)] {
            let words =
                format!("train --d-sae 128 --k 8 --tokens 100000 --batch 1024 --hook blocks.{layer}.hook_resid_post");
            Untangle::new(&words).arg(&store).option("--out", bench.path(name)).succeed();
        }
        let features = Untangle::new("features --model organism").arg(bench.path("late")).option("--store", &store);
        features.option("--out", bench.path("late.db")).succeed();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Steers with both dictionaries.
    fn steer(&self, features: &[&str]) -> Untangle {
        let command = Untangle::new("steer organism --tokens 16 --threads 2").option("--sae", self.path("early"));
        let command = command.option("--sae", self.path("late")).option("--features", self.path("late.db"));
        features.iter().fold(command, |command, feature| command.option("--feature", *feature))
    }

    /// The features of the later dictionary, those that are understood best first.
    fn shown(&self) -> Vec<Value> {
        let shown = Untangle::new("show").arg(self.path("late.db")).json();
        shown["features"].as_array().expect("a list").clone()
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn features_of_two_layers_are_steered_together() {
    let bench = Bench::new();
    let best = bench.shown()[0].clone();
    let (feature, most) = (&best["feature"], number(&best["max_activation"]));
    let both = [format!("late#{feature}:add=2x at generated"), "early#3:min=4 when along late#5<0".to_owned()];
    let refused = bench.steer(&[&both[0], &both[1]]).option("--prompt", PROMPT).run();
    refused.fails_with(USAGE, &["blocks.2.hook_resid_post, which comes after blocks.1.hook_resid_post"]);

    let steps =
        [both[0].as_str(), "late#9:set=1 when early#3<=9", "late#7:add-direction=0.2n at prompt, not prompt[1]"];
    let found = bench.steer(&steps).option("--prompt", PROMPT).json();
    let edits = found["steered"][0]["edits"].as_array().expect("a list").clone();
    assert_eq!((&edits[0]["dictionary"], &edits[0]["feature"]), (&Value::from("late"), feature));
    assert!(
        (number(&edits[0]["value"]) - 2.0 * most).abs() < 1e-3 && number(&edits[0]["of_maximum"]) == 2.0,
        "{edits:?}"
    );
    assert!(number(&edits[0]["of_norm"]) > 0.0, "{edits:?}");
    assert!((number(&edits[2]["of_norm"]) - 0.2).abs() < 1e-6 && number(&edits[2]["value"]) > 0.0, "{edits:?}");
    assert!(number(&found["steered"][0]["effect"]["kl"]) > 0.0, "{found}");
    // What is printed of an intervention is read again.
    let again: Vec<&str> = edits.iter().map(|edit| edit["text"].as_str().expect("a text")).collect();
    assert_eq!(bench.steer(&again).option("--prompt", PROMPT).json()["steered"], found["steered"]);
    let text = bench.steer(&steps).option("--prompt", PROMPT).succeed();
    let lines = [format!("feature late#{feature} add {:.2} (2.00x, ", 2.0 * most)];
    assert!(lines.iter().all(|line| text.contains(line.as_str())) && text.contains("at generated"), "{text}");

    // Labels are of the only dictionary that has some.
    let all = Untangle::new("show --sort score --limit 1000").arg(bench.path("late.db")).json()["features"].clone();
    let text = |card: &Value| card["labels"][0]["text"].as_str().unwrap_or_default().to_owned();
    let all: Vec<&Value> = all.as_array().expect("a list").iter().collect();
    let alone = |card: &&&Value| all.iter().filter(|other| text(other).contains(&text(card))).count() == 1;
    let best = all.iter().find(alone).expect("a label that one feature has");
    let (label, feature) = (&text(best)[..], &best["feature"]);
    let named = bench.steer(&[&format!("'{}':ablate", label.replace('\'', "''"))]).option("--prompt", PROMPT).json();
    assert_eq!(&named["steered"][0]["edits"][0]["feature"], feature, "{named}");
}

#[test]
fn texts_are_what_they_are_alone() {
    let bench = Bench::new();
    let sampled = "--temperature 0.9 --top-k 40 --min-p 0.02 --repetition-penalty 1.1 --seed 5";
    let steer = |prompts: &[&str], sweep: &str| {
        let command = bench.steer(&["late#7:add=3"]).words(sampled).words(sweep);
        let command = prompts.iter().fold(command, |command, prompt| command.option("--prompt", *prompt));
        command.json()["steered"].as_array().expect("a list").clone()
    };
    let together = steer(&[PROMPT, OTHER], "--sweep 0,2,9");
    assert_eq!(together.len(), 6);
    let texts = |one: &Value| (one["baseline"].clone(), one["steered"].clone());
    for (number, prompt) in [PROMPT, OTHER].into_iter().enumerate() {
        assert_eq!(together[3 * number]["steered"], together[3 * number]["baseline"], "strength 0");
        for (at, value) in ["0", "2", "9"].into_iter().enumerate() {
            let alone = steer(&[prompt], &format!("--sweep {value}"));
            assert_eq!(texts(&alone[0]), texts(&together[3 * number + at]), "{prompt} {value}");
        }
    }
    // A prompt is given back as it was, special tokens too; and what names none of its tokens is said.
    let special = "a<|end|>b<|end|>";
    let outcome = bench.steer(&["late#7:add=3 at prompt[50]"]).option("--prompt", special).words("--json").run();
    let value: Value = serde_json::from_str(&outcome.stdout).expect("json");
    let whole = value["steered"][0]["baseline"].as_str().expect("a text");
    assert!(whole.starts_with(special) && value["steered"][0]["steered"] == whole, "{value}");
    assert!(outcome.stderr.contains("names no token of the prompts"), "{}", outcome.stderr);
    // A text ends before given words, and is the same up to there.
    let whole = together[0]["baseline"].as_str().expect("a text");
    let words = whole[PROMPT.len() + 8..].split_whitespace().nth(2).expect("a word");
    let command = bench.steer(&["late#7:add=0"]).words(sampled).option("--prompt", PROMPT).option("--stop", words);
    let ended = command.json()["steered"][0]["baseline"].clone();
    let ended = ended.as_str().expect("a text");
    assert!(whole.starts_with(ended) && !ended[PROMPT.len()..].contains(words) && ended.len() < whole.len(), "{ended}");
}

#[test]
fn what_cannot_be_steered_is_said() {
    let bench = Bench::new();
    let refused = |feature: &str, words: &str, code: i32, parts: &[&str]| {
        bench.steer(&[feature]).words(words).option("--prompt", PROMPT).run().fails_with(code, parts);
    };
    refused("3:add=1", "", USAGE, &["`3` may be of any of early, late", "early#3"]);
    refused("later#3:add=1", "", USAGE, &["no dictionary `later`; at hand are early, late"]);
    refused("late#128:add=1", "", USAGE, &["no feature 128"]);
    refused("early#3:add=2x", "", USAGE, &["the largest activation is not known"]);
    refused("late#3:add=nan", "", USAGE, &["`nan` is not a finite number"]);
    refused("late#3:add=1e39x", "", USAGE, &["absurd"]);
    refused("late#3:add=1 at promt", "", USAGE, &["`promt` says no tokens", "prompt[-1]"]);
    refused("late#3:add=1", "--at prompt[2..1]", USAGE, &["--at", "empty"]);
    refused("late#3:add=1", "--when late#4", USAGE, &["--when", "compares nothing"]);
    refused("late#3:add=1 at all['San Francisco']", "", USAGE, &["no token of the model reads", "cut into"]);
    refused("late#3:swap=early#4", "", USAGE, &["one lies at blocks.2.hook_resid_post, the other at blocks.1"]);
    refused("token ' cat' in blocks.1.hook_mlp_pre:project-out", "", USAGE, &["hook"]);
    refused("token ' cat' in blocks.1.hook_resid_post:add-direction=1x", "", USAGE, &["no largest activation"]);
    refused("late#3:add=1", "--min-p 2", USAGE, &["min_p"]);
    refused("late#3:add=1", "--repetition-penalty 0", USAGE, &["repetition_penalty"]);
    let long = "very ".repeat(3000);
    bench
        .steer(&["late#3:add=1"])
        .option("--prompt", &long)
        .run()
        .fails_with(USAGE, &["prompt 1 (`very very", "context"]);
    refused("late#3:add=1", "--stop=", USAGE, &["--stop"]);
    refused("late#3:add=1", "--continuations 5", USAGE, &["--toward"]);
    refused("late#3:add=1", "--temperature -1", USAGE, &["temperature is -1"]);
    refused("late#3:", "", USAGE, &["after the colon stands what is done"]);
    refused("late#3:add=1", "--sweep 1,2,1", USAGE, &["--sweep: 1 is there twice"]);
    let several = |features: &[&str], parts: &[&str]| {
        bench.steer(features).option("--prompt", PROMPT).run().fails_with(USAGE, parts);
    };
    several(&["late#3:add=1", "late#3:set=0"], &["feature 3 is steered twice", "late#3:add=1", "late#3:set=0"]);
    several(&["late#3:set=2 at generated", "late#3:set=1"], &["does nothing", "late#3:set=1", "fewer tokens last"]);
    several(&["late#3:add=1 when late#4>0 or late#5>0"], &["there is no `or`"]);
    let twice = bench.steer(&["late#3:add=1"]).option("--prompt", PROMPT);
    twice.option("--sae", bench.path("late")).run().fails_with(USAGE, &["--sae", "is given twice"]);
    // Where nothing is there to be measured on, that is said, and no 0.
    let nothing = bench.steer(&["late#3:add=1"]).words("--prompt=").succeed();
    assert!(nothing.contains("nothing to measure it on"), "{nothing}");
    let without = Untangle::new("steer organism --feature 3:add=1 --prompt x").run();
    without.fails_with(USAGE, &["there is no dictionary; give it with --sae"]);
    // A direction of the model's own needs no dictionary.
    let token = "token ' cat' in blocks.1.hook_resid_post:add-direction=0.4n";
    let found = Untangle::new("steer organism --tokens 8").option("--feature", token).option("--prompt", PROMPT).json();
    assert!(number(&found["steered"][0]["effect"]["raised"]) > 0.0, "{found}");
}
