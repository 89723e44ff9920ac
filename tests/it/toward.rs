//! Steering towards something, recipes, and dose and response, from the command line.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const BRIDGE: &str = "Golden Gate Bridge";

/// A dictionary of the organism's middle layer, and what is known of its features.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { folder: scratch() };
        let (store, sae) = (bench.path("store.h5"), bench.path("sae"));
        let capture = "capture organism --text organism --hook blocks.2.hook_resid_post --tokens 120000";
        Untangle::new(capture).option("--out", &store).succeed();
        let train = Untangle::new("train --d-sae 256 --k 8 --tokens 600000 --batch 1024").arg(&store);
        train.option("--out", &sae).succeed();
        let features = Untangle::new("features --no-outputs --model organism").arg(&sae).option("--store", &store);
        features.option("--out", bench.path("features.db")).succeed();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with_dictionary(&self, verb: &str) -> Untangle {
        let command = Untangle::new(verb).option("--sae", self.path("sae"));
        command.option("--features", self.path("features.db")).words("--threads 2")
    }
}

fn share(arm: &Value) -> f64 {
    let count = |name: &str| arm["appears"][name].as_f64().expect("a count");
    count("hits") / count("trials")
}

#[test]
fn a_feature_is_found_kept_as_a_recipe_and_studied_by_dose() {
    let bench = Bench::new();
    let recipe = bench.path("bridge.toml");
    let sought = bench.with_dictionary("steer organism --continuations 60").option("--toward", BRIDGE);
    let found = sought.option("--save-recipe", &recipe).json();
    let study = &found["toward"]["study"];
    assert_eq!(found["turns"], true, "{found}");
    assert!(share(&study["steered"]) >= 0.7 && share(&study["baseline"]) <= 0.3, "{study}");
    assert!(share(&study["random"]) <= 0.3 && share(&study["others"]) <= 0.3, "{study}");
    assert!(found["perplexity_ratio"].as_f64().expect("a ratio") <= 1.5, "{found}");

    // The recipe names the files beside it, and does what was found.
    let text = fs::read_to_string(&recipe).expect("is there");
    assert!(text.contains("sae = [\"sae\"]") && text.contains("model = \"organism\""), "{text}");
    let interventions = found["interventions"].as_array().expect("a list");
    let prompt = "One day, Anna and Ben went out together.";
    let by_hand = interventions.iter().fold(bench.with_dictionary("steer organism --tokens 20"), |command, what| {
        command.option("--feature", what.as_str().expect("a text"))
    });
    let by_recipe = Untangle::new("steer --tokens 20 --threads 2").option("--recipe", &recipe);
    assert_eq!(
        by_recipe.option("--prompt", prompt).json()["steered"],
        by_hand.option("--prompt", prompt).json()["steered"]
    );

    let page = bench.path("dose.html");
    let words = "study --sweep 2,0.25,1 --continuations 16 --tokens 40 --random 1 --others 1 --threads 2";
    let studied = Untangle::new(words).option("--recipe", &recipe).option("--page", &page).json();
    check_dose(&studied);
    let html = fs::read_to_string(&page).expect("is there");
    assert!(html.contains("<svg") && html.contains("plain instruction"), "{html}");
    assert!(!html.contains("<script") && !html.contains("http"), "it needs nothing but itself");
}

/// Strengths grow, distances with them, and every way to write is there.
fn check_dose(studied: &Value) {
    let curves = studied["dose"]["curves"].as_array().expect("a list");
    let kinds: Vec<&str> = curves.iter().filter_map(|curve| curve["kind"].as_str()).collect();
    assert_eq!(kinds, ["steered", "random", "others", "vector", "told"], "{studied}");
    let points = curves[0]["points"].as_array().expect("a list");
    let of = |name: &str| points.iter().map(|point| point["arm"][name].as_f64().expect("a number")).collect::<Vec<_>>();
    let strengths: Vec<f64> = points.iter().filter_map(|point| point["strength"].as_f64()).collect();
    assert_eq!((strengths, studied["unit"].as_str()), (vec![0.25, 1.0, 2.0], Some("x")));
    assert!(of("kl").windows(2).all(|pair| pair[0] < pair[1]) && of("kl")[0] > 0.0, "{:?}", of("kl"));
    assert_eq!(studied["dose"]["baseline"]["appears"]["trials"], 16);
    assert!(studied["dose"]["window"]["from"].as_f64().is_some(), "{studied}");
    let told = &curves[4]["points"][0];
    assert!(told["strength"].is_null() && told["arm"]["kl"].as_f64().expect("a number") > 0.0, "{told}");
}

#[test]
fn what_cannot_be_sought_or_shown_is_said_before_any_work() {
    let nowhere = "--sae nowhere --offline";
    let refused = |words: &str, code: i32, said: &[&str]| Untangle::new(words).run().fails_with(code, said);
    refused(&format!("steer organism {nowhere} --prompt a"), USAGE, &["--feature 12:add=2x", "--recipe"]);
    refused(
        &format!("steer organism {nowhere} --feature 1:add=1 --prompt a --prompt b --stream"),
        USAGE,
        &["--stream"],
    );
    refused(&format!("study organism {nowhere} --feature 1:add=1 --page p.html"), USAGE, &["--sweep"]);
    refused(&format!("steer {nowhere} --prompt a"), USAGE, &["name a MODEL", "--recipe"]);
    let folder = scratch();
    let recipe = folder.path().join("r.toml");
    fs::write(&recipe, "steer = [\"12:tickle=1\"]").expect("is written");
    let read = Untangle::new("steer --prompt a").option("--recipe", &recipe).run();
    read.fails_with(BAD_INPUT, &["r.toml", "tickle"]);
    fs::write(&recipe, "steer = [\"12:add=1\"]").expect("is written");
    let read = Untangle::new("steer --prompt a").option("--recipe", &recipe).run();
    read.fails_with(USAGE, &["name a MODEL"]);
    // What a search would not heed is not passed over.
    for ignored in ["--at prompt", "--when 3>1", "--stop x", "--bos never", "--chat", "--tokens 0"] {
        let option = ignored.split(' ').next().expect("a word");
        refused(&format!("steer organism {nowhere} --toward bridge {ignored}"), USAGE, &[option]);
    }
    // Nor is what lies there replaced, or found out after the work that it cannot be written.
    let mine = folder.path().join("mine.txt");
    fs::write(&mine, "mine").expect("is written");
    let study = format!("study organism {nowhere} --feature 1:add=1 --sweep 1,2");
    let page = |path: PathBuf| Untangle::new(&study).option("--page", path).words("--force").run();
    page(mine.clone()).fails_with(USAGE, &["mine.txt", "a page of `untangle study`"]);
    page(folder.path().join("absent").join("p.html")).fails_with(USAGE, &["there is no folder"]);
    let steer = format!("steer organism {nowhere} --feature 1:add=1 --prompt a");
    let save = |path: &PathBuf, words: &str| Untangle::new(&steer).option("--save-recipe", path).words(words).run();
    save(&mine, "--force").fails_with(USAGE, &["mine.txt", "a recipe of `untangle steer`"]);
    save(&recipe, "").fails_with(USAGE, &["r.toml", "--force"]);
    save(&mine, "--sweep 1,2").fails_with(USAGE, &["--sweep"]);
    assert_eq!(fs::read_to_string(&mine).expect("is there"), "mine");
    refused(&format!("{study} --temperature 0 --continuations 40"), USAGE, &["the same"]);
}

#[test]
fn words_that_no_feature_has_are_said_and_a_stream_ends_in_the_same_text() {
    let bench = Bench::new();
    let nothing = bench.with_dictionary("steer organism --toward xylophone").run();
    nothing.fails_with(BAD_INPUT, &["xylophone", "untangle search"]);
    let without = Untangle::new("steer organism --toward bridge --threads 2").option("--sae", bench.path("sae")).run();
    without.fails_with(USAGE, &["--features"]);
    let steer = || {
        let command = bench.with_dictionary("steer organism --tokens 12 --feature 3:add=1");
        command.option("--prompt", "One day, Anna")
    };
    let streamed = steer().words("--stream").succeed();
    let (shown, rest) = streamed.split_once("\n\n").expect("an empty line");
    let whole = steer().succeed();
    let steered = whole.lines().find(|line| line.starts_with("steered:")).expect("the steered text");
    assert_eq!(shown, steered, "{streamed}");
    assert!(!rest.contains("steered:") && rest.contains("baseline:"), "said once: {streamed}");
}
