//! The whole job on the bundled language model: captured, trained, evaluated, described, steered.

use crate::support::{Untangle, entries, scratch};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const MODEL: &str = "organism";
const HOOK: &str = "blocks.2.hook_resid_post";
const D_SAE: u64 = 256;
const K: f64 = 16.0;

/// The artefacts of one run.
struct Artefacts {
    store: PathBuf,
    sae: PathBuf,
    database: PathBuf,
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {value}"))
}

fn capture(store: &Path) {
    let command = Untangle::new("capture --tokens 60000").arg(MODEL).words("--text organism").option("--hook", HOOK);
    let result = command.option("--out", store).json();
    assert_eq!(result["manifest"]["n_rows"], 60_000, "{result}");
    let inspected = Untangle::new("inspect").arg(store).json();
    assert_eq!(inspected["columns"][0]["name"], HOOK, "{inspected}");
    assert_eq!(inspected["columns"][0]["d"], 128, "{inspected}");
}

fn train(store: &Path, sae: &Path) {
    let options = format!("--d-sae {D_SAE} --k {K} --tokens 300000 --batch 1024");
    Untangle::new("train").arg(store).words(&options).option("--out", sae).json();
    for file in ["cfg.json", "sae_weights.safetensors", "training.json", "metrics.jsonl"] {
        assert!(sae.join(file).exists(), "{file} is missing in {:?}", entries(sae));
    }
    let metrics = fs::read_to_string(sae.join("metrics.jsonl")).expect("metrics");
    assert!(metrics.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object())), "{metrics}");
}

fn evaluate(artefacts: &Artefacts) {
    let command = Untangle::new("evaluate").arg(&artefacts.sae).option("--store", &artefacts.store);
    let result = command.option("--model", MODEL).json();
    let measured = &result["dictionaries"][0];
    assert_eq!(measured["part"], "held-out", "{measured}");
    assert!(number(measured, "rows") < 0.1 * 60_000.0, "{measured}");
    // 256 features for 128 dimensions after 300,000 tokens: about 0.1. An untrained dictionary is above 0.5.
    assert!((0.02..0.2).contains(&number(measured, "fvu")), "{measured}");
    assert!((K - number(measured, "l0")).abs() < 0.5, "{measured}");
    let ce = &measured["ce"];
    assert!(number(ce, "recovered") > 0.85 && number(ce, "recovered") < 1.0, "{ce}");
    assert!(number(ce, "ce_clean") < number(ce, "ce_sae") && number(ce, "ce_sae") < number(ce, "ce_zero"), "{ce}");
}

fn features(artefacts: &Artefacts) {
    let command = Untangle::new("features").arg(&artefacts.sae).option("--store", &artefacts.store);
    let result = command.option("--model", MODEL).option("--out", &artefacts.database).json();
    let report = &result["report"];
    assert_eq!(report["features"], D_SAE, "{report}");
    assert!(number(report, "labelled") > 100.0, "{report}");
    assert!(number(report, "mean_f1") > 1.5 * number(report, "mean_control"), "labels say little: {report}");
}

/// Shows the best features, finds one again by its label's word, and returns its index.
fn show_and_search(artefacts: &Artefacts) -> u64 {
    let shown = Untangle::new("show").arg(&artefacts.database).json();
    let best = &shown["features"][0];
    let example = &best["examples"][0];
    let peak = example["peak"].as_u64().expect("a peak") as usize;
    assert_eq!(example["activations"][peak], example["activation"], "{example}");
    assert!(!best["top_logits"].as_array().expect("a list").is_empty(), "{best}");
    let feature = best["feature"].as_u64().expect("an index");
    let one = Untangle::new("show").arg(&artefacts.database).arg(feature.to_string()).json();
    assert_eq!(one["features"][0], *best);
    let text = Untangle::new("show").arg(&artefacts.database).arg(feature.to_string()).succeed();
    assert!(text.contains(&format!("feature {feature}: ")), "{text}");

    let label = best["labels"][0]["text"].as_str().expect("a label");
    let found = Untangle::new("search").arg(&artefacts.database).arg(label).option("--limit", "256").json();
    let found = found["features"].as_array().expect("a list");
    assert!(found.iter().any(|one| one["feature"] == feature), "`{label}` does not find feature {feature}");
    feature
}

fn steer(artefacts: &Artefacts, feature: u64) {
    let run = |edit: &str, sweep: &str| {
        let command = Untangle::new("steer --tokens 24 --prompt").arg("One day, Anna and Ben").arg(MODEL);
        let command = command.option("--sae", &artefacts.sae).option("--features", &artefacts.database);
        command.option("--feature", format!("{feature}:{edit}")).words(sweep).json()["steered"].clone()
    };
    let nothing = &run("add=0", "")[0];
    assert_eq!(nothing["steered"], nothing["baseline"], "an edit that changes nothing changed the text");
    assert_eq!(nothing["effect"]["kl"], 0.0, "{nothing}");
    let swept = run("add=1x", "--sweep 1,4");
    let kl = |at: usize| number(&swept[at]["effect"], "kl");
    assert!(0.0 < kl(0) && kl(0) < kl(1), "a stronger edit moves the model more: {swept}");
    assert_ne!(swept[1]["steered"], swept[1]["baseline"], "{swept}");
    assert_eq!(number(&swept[1], "value"), 4.0);
}

fn encode(artefacts: &Artefacts, codes: &Path) {
    let command = Untangle::new("encode --rows 5000").arg(&artefacts.sae).arg(&artefacts.store);
    let result = command.option("--out", codes).json();
    assert_eq!(result["rows"], 5000);
    let bytes = fs::read(codes).expect("the codes");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let shape = |name: &str| tensors.tensor(name).expect("a tensor").shape()[0];
    assert_eq!((shape("rows"), shape("starts")), (5000, 5001));
    assert_eq!(shape("features"), shape("activations"));
    assert_eq!(shape("features") as u64, result["active"].as_u64().expect("a count"));
    let activations = tensors.tensor("activations").expect("a tensor").data().to_vec();
    let (values, rest) = activations.as_chunks::<4>();
    assert!(rest.is_empty() && values.iter().all(|bytes| f32::from_le_bytes(*bytes) > 0.0));
}

#[test]
fn from_text_to_a_steered_sentence() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let artefacts = Artefacts { store: path("store.h5"), sae: path("sae"), database: path("features.db") };
    capture(&artefacts.store);
    train(&artefacts.store, &artefacts.sae);
    evaluate(&artefacts);
    features(&artefacts);
    let feature = show_and_search(&artefacts);
    steer(&artefacts, feature);
    encode(&artefacts, &path("codes.safetensors"));
    let names = ["codes.safetensors", "features.db", "sae", "store.h5"];
    assert_eq!(entries(folder.path()), names, "something was left behind");
}
