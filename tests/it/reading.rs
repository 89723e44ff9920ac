//! `untangle read`, and what `show` and `search` are asked for: the same numbers as JSON and on a terminal of 80 columns.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const GATE: &str = "Ben took the bus to the Golden Gate Bridge. It is red.";
const PARK: &str = "Ben took the bus to the park. It is red.";

/// A small dictionary of the bundled model with its database.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let case = Case { folder: scratch() };
        let capture =
            Untangle::new("capture organism --text organism --hook blocks.2.hook_resid_post --tokens 40000 -q");
        capture.option("--out", case.path("x.h5")).succeed();
        case.train("sae", "0");
        case.features("sae", "f.db");
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, out: &str, seed: &str) {
        let train = Untangle::new("train --d-sae 256 --k 8 --batch 512 --tokens 100000 -q").arg(self.path("x.h5"));
        train.option("--seed", seed).option("--out", self.path(out)).succeed();
    }

    fn features(&self, sae: &str, out: &str) {
        let features = Untangle::new("features --model organism -q").arg(self.path(sae));
        features.option("--store", self.path("x.h5")).option("--out", self.path(out)).succeed();
    }

    fn read(&self, prompts: &[&str]) -> Untangle {
        let read = Untangle::new("read organism").option("--sae", self.path("sae"));
        prompts.iter().fold(read, |read, prompt| read.option("--prompt", prompt))
    }

    fn read_labelled(&self, prompts: &[&str]) -> Untangle {
        self.read(prompts).option("--features", self.path("f.db"))
    }

    fn listed(&self, words: &str) -> Vec<Value> {
        let found = Untangle::new("search").arg(self.path("f.db")).words(words).json();
        found["features"].as_array().expect("a list").clone()
    }
}

fn array<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no list `{key}` in {value}"))
}

fn fits_a_terminal(text: &str) {
    assert!(!text.contains('\u{1b}'), "colour where there is no terminal");
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "lines that are longer than 80 columns: {long:#?}");
}

#[test]
fn a_prompt_is_read_token_by_token() {
    let case = Case::new();
    let read = case.read_labelled(&[GATE]).json();
    let reading = &array(&read, "readings")[0];
    let tokens = array(reading, "tokens");
    let text: String = tokens.iter().skip(1).filter_map(|token| token["text"].as_str()).collect();
    assert_eq!(text.trim(), GATE);
    assert!(tokens[0]["special"] == true && tokens[0]["loss"].is_null() && array(&tokens[0], "features").is_empty());
    let losses: Vec<f64> = tokens.iter().filter_map(|token| token["loss"].as_f64()).collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((reading["mean_loss"].as_f64().expect("a mean") - mean).abs() < 1e-9, "{reading}");
    let ordinary = || tokens.iter().skip(1);
    assert!(ordinary().all(|token| array(token, "features").len() <= 8 && token["missing"].as_f64().is_some()));
    let strongest = &array(&tokens[3], "features")[0];
    let named = &read["features"][strongest["feature"].to_string()];
    assert_eq!(named["feature"], strongest["feature"], "{named}");
    // On a terminal of 80 columns every token stands on a line of its own, with its strongest feature.
    let text = case.read_labelled(&[GATE]).words("--top 1").succeed();
    fits_a_terminal(&text);
    for token in ordinary() {
        let word = token["text"].as_str().expect("text").trim();
        assert!(text.lines().any(|line| line.trim_start().starts_with(word)), "`{word}` is missing in\n{text}");
    }
    let painted = case.read_labelled(&[GATE]).env("CLICOLOR_FORCE", "1").succeed();
    assert!(painted.contains("\u{1b}["), "{painted}");
    // Without a database there are numbers and no labels; with one, dense features may be left out.
    let plain = case.read(&[GATE]).json();
    assert!(plain["features"].is_null() && array(&plain, "readings")[0] == *reading);
    let rare = case.read_labelled(&[GATE]).words("--max-density 0.01 --by share").json();
    let rare = array(&array(&rare, "readings")[0], "tokens");
    let density = |active: &Value| read["features"][active["feature"].to_string()]["density"].as_f64();
    assert!(
        rare.iter().flat_map(|token| array(token, "features")).all(|active| density(active).is_some_and(|d| d <= 0.01))
    );
    assert!(
        ordinary().flat_map(|token| array(token, "features")).any(|active| density(active).is_some_and(|d| d > 0.01))
    );
}

#[test]
fn two_prompts_stand_side_by_side_by_what_differs() {
    let case = Case::new();
    let read = case.read_labelled(&[GATE, PARK]).json();
    let pairs = array(&read["contrast"], "pairs");
    let together = pairs.iter().filter(|pair| pair["a"].is_u64() && pair["b"].is_u64()).count();
    // All but "Golden Gate Bridge" and "park".
    assert!(together >= 9 && together < pairs.len(), "{pairs:?}");
    let features = array(&read["contrast"], "features");
    let differences: Vec<f64> =
        features.iter().filter_map(|feature| feature["difference"].as_f64()).map(f64::abs).collect();
    assert!(differences.len() == features.len() && differences.is_sorted_by(|a, b| a >= b));
    let text = case.read_labelled(&[GATE, PARK]).succeed();
    fits_a_terminal(&text);
    assert!(text.contains("Golden") && text.contains("park"), "{text}");
    case.read(&[GATE, PARK, GATE]).run().fails_with(USAGE, &["--prompt", "3 times"]);
}

#[test]
fn what_hangs_on_a_feature_is_told_at_every_position() {
    let case = Case::new();
    let read = case.read_labelled(&[GATE]).json();
    let tokens = array(&array(&read, "readings")[0], "tokens");
    // One that fires on the fourth token for the first time.
    let earlier =
        |id: &Value| tokens[..3].iter().any(|token| array(token, "features").iter().any(|f| f["feature"] == *id));
    let fresh = array(&tokens[3], "features").iter().find(|active| !earlier(&active["feature"]));
    let feature = fresh.expect("not all fire twice")["feature"].to_string();
    let ablated = case.read_labelled(&[GATE]).option("--ablate", &feature).json();
    let ablation = &array(&ablated, "readings")[0]["ablation"];
    assert_eq!(array(ablation, "features")[0].to_string(), feature);
    let told = array(ablation, "tokens");
    assert_eq!(told.len(), tokens.len());
    assert!(told[..3].iter().all(|token| token["loss"] == token["ablated_loss"]), "nothing is felt before it fires");
    assert!(told[3..].iter().any(|token| token["kl"].as_f64().is_some_and(|kl| kl > 1e-6)), "{ablation}");
    assert!(!array(&told[3], "taken").is_empty());
    // Several are a list, each once.
    let several = case.read_labelled(&[GATE]).words("--ablate 3-5,4 --ablate 5").json();
    assert_eq!(array(&array(&several, "readings")[0]["ablation"], "features"), &[3, 4, 5].map(Value::from).to_vec());
    let text = case.read_labelled(&[GATE]).option("--ablate", &feature).succeed();
    fits_a_terminal(&text);
    assert!(text.contains("taken out"), "{text}");
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let case = Case::new();
    case.read(&[GATE]).words("--ablate 256").run().fails_with(USAGE, &["--ablate 256", "256 features that there are"]);
    case.read(&[GATE]).words("--ablate 5-3").run().fails_with(USAGE, &["--ablate 5-3", "ends before it begins"]);
    case.read(&[GATE]).words("--ablate -1").run().fails_with(USAGE, &["--ablate -1", "numbers and ranges"]);
    case.read(&[GATE]).words("--top -1").run().fails_with(USAGE, &["--top", "-1"]);
    case.read(&[GATE])
        .words("--threads -1")
        .run()
        .fails_with(USAGE, &["--threads", "expected a whole number that is not negative"]);
    case.read(&[GATE]).words("--ablate Golden").run().fails_with(USAGE, &["Golden"]);
    case.read(&[GATE]).words("--by share").run().fails_with(USAGE, &["--features"]);
    case.read_labelled(&[GATE]).words("--max-density 2").run().fails_with(USAGE, &["from 0 to 1"]);
    case.read(&[GATE]).words("--chat").run().fails_with(BAD_INPUT, &["organism"]);
    case.train("other", "1");
    let other = |sae: &Path| Untangle::new("read organism --prompt x").option("--sae", sae);
    other(&case.path("other"))
        .option("--features", case.path("f.db"))
        .run()
        .fails_with(BAD_INPUT, &["f.db", "weights"]);
    let long = "the ".repeat(5000);
    case.read(&[&long]).run().fails_with(USAGE, &["shorten it", "context"]);
}

#[test]
fn features_are_listed_in_every_order_and_narrowed_down() {
    let case = Case::new();
    let values = |words: &str, key: &str| -> Vec<f64> {
        case.listed(words).iter().filter_map(|feature| feature[key].as_f64()).collect()
    };
    let densities = values("--sort density --limit 256", "density");
    assert!(densities.len() == 256 && densities.is_sorted_by(|a, b| a >= b));
    assert!(values("--sort density --reverse --limit 256", "density").is_sorted());
    assert!(values("--sort max --limit 9", "max_activation").is_sorted_by(|a, b| a >= b));
    assert_eq!(values("--sort id --limit 3", "feature"), [0.0, 1.0, 2.0]);
    let scores = values("--sort score:f1 --min-score 0.3 --limit 256", "label_score");
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| *score >= 0.3) && !scores.is_empty());
    // Nothing says what makes them fire; what they make the model say may be known.
    let unlabelled = case.listed("--only unlabelled --limit 256");
    assert!(unlabelled.iter().all(|feature| feature["label"].is_null() || feature["label_kind"] == "output"));
    let rare = values("the --max-density 0.01 --limit 256", "density");
    assert!(rare.iter().all(|density| *density <= 0.01) && !rare.is_empty());
    let search = |words: &str| Untangle::new("search").arg(case.path("f.db")).words(words);
    search("--sort score:nobody").run().fails_with(USAGE, &["nobody", "f1"]);
    search("--source nobody").run().fails_with(USAGE, &["nobody", "tokens"]);
    assert_eq!(search("--sort size").run().code, Some(USAGE));
    let show = || Untangle::new("show").arg(case.path("f.db"));
    let shown = show().words("--sort density --limit 2").json();
    assert_eq!(array(&shown, "features")[0]["density"].as_f64(), Some(densities[0]));
    show().words("3 --sort density").run().fails_with(USAGE, &["not both"]);
    let text = show().arg("3").succeed();
    assert!(text.contains("writes like") && !text.contains('\u{1b}'), "{text}");
    let near = array(&show().arg("3").json(), "features")[0]["neighbours"].as_array().expect("neighbours").clone();
    let of = |kind: &str| near.iter().filter(|near| near["kind"] == kind).count();
    assert!(of("decoder") == 10 && of("coactivation") <= 10 && near.len() == of("decoder") + of("coactivation"));
    assert!(near.iter().all(|near| near["feature"] != 3));
    let painted = show().arg("3").env("CLICOLOR_FORCE", "1").succeed();
    assert!(painted.contains("\u{1b}[") && !painted.contains("[1;2m"), "{painted}");
}
