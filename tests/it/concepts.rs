//! Known concepts, end to end: annotated text, a dictionary and its control, and what is said of which concept it holds.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;

/// A small dictionary of a model on the world's text.
fn dictionary(model: &str, folder: &Path) -> PathBuf {
    let (store, sae) = (folder.join(format!("{model}.h5")), folder.join(model));
    let capture = format!("capture {model} --text organism --hook blocks.2.hook_resid_post --tokens 60000");
    Untangle::new(&capture).option("--out", &store).succeed();
    let train = Untangle::new("train --d-sae 256 --k 8 --tokens 300000 --batch 1024").arg(&store);
    train.option("--out", &sae).succeed();
    sae
}

/// F1 on test documents of what detects a concept best.
fn f1(concept: &Value, detector: &str) -> f64 {
    concept[detector]["f1"].as_f64().unwrap_or_default()
}

#[test]
fn known_concepts_are_told_beside_a_probe_directions_and_a_model_that_learned_nothing() {
    let folder = scratch();
    let (learned, control) = (dictionary("organism", folder.path()), dictionary("organism:random", folder.path()));
    let text = folder.path().join("world.jsonl");
    let corpus = Untangle::new("organism corpus --annotated --split all --documents 700 --seed 3");
    corpus.option("--out", &text).succeed();
    let evaluate = || {
        let evaluate = Untangle::new("evaluate --model organism").arg(&learned).option("--concepts", &text);
        evaluate.option("--control", &control)
    };
    let json = evaluate().json();
    let truth = &json["truth"][0];
    let concepts = truth["concepts"].as_array().expect("concepts");
    let judged: Vec<&Value> = concepts.iter().filter(|concept| concept["judged"] == true).collect();
    assert!(judged.len() > 15, "{} of {} concepts are judged", judged.len(), concepts.len());
    let mean = |detector| judged.iter().map(|concept| f1(concept, detector)).sum::<f64>() / judged.len() as f64;
    let [probe, feature, control_f1, principal] = ["probe", "feature", "control", "principal"].map(mean);
    assert!(probe > feature && feature > principal, "mean F1: {probe:.3} {feature:.3} {principal:.3}");
    // What lasts through a text has features in no model that learned nothing.
    assert!(control_f1 < feature - 0.2, "mean F1: {feature:.3} {control_f1:.3}");
    let story = evaluate().succeed();
    let group = |name: &str| {
        let groups = truth["groups"].as_array().expect("groups");
        groups.iter().find(|group| group["name"] == name).expect("the group").clone()
    };
    let hits = |name: &str, detector: &str| group(name)[detector]["fraction"]["hits"].as_u64().expect("a count");
    // A token is a set of tokens, and no set tells what lasts.
    let [token, tokens] = ["token", "tokens"].map(mean);
    assert!(tokens >= token && feature > tokens, "mean F1: {tokens:.3} {token:.3} {feature:.3}");
    // What holds everywhere is told by saying so, and says nothing of a detector.
    assert!(judged.iter().all(|concept| concept["name"] != "mood"), "moods in general are judged");
    assert!(hits("all", "beyond_tokens") <= hits("all", "feature"));
    for part in [
        "no set of tokens tells and a feature does",
        "readable",
        "above control",
        "mention",
        "scope",
        "Brackets: 95 % intervals",
    ] {
        assert!(story.contains(part), "no `{part}` in\n{story}");
    }
}

#[test]
fn annotated_text_that_cannot_be_used_is_named() {
    let folder = scratch();
    let sae = dictionary("organism", folder.path());
    let plain = folder.path().join("plain.jsonl");
    fs::write(&plain, "{\"text\": \"One day, Anna met Ben.\"}\n").expect("the scratch folder is writable");
    let evaluate = || Untangle::new("evaluate").arg(&sae);
    let with_model = || evaluate().words("--model organism");
    with_model().option("--concepts", &plain).run().fails_with(BAD_INPUT, &["plain.jsonl"]);
    let absent = folder.path().join("absent.jsonl");
    with_model().option("--concepts", &absent).run().fails_with(BAD_INPUT, &["absent.jsonl"]);
    let without_model = evaluate().words("--concepts organism").run();
    assert_eq!(without_model.code, Some(USAGE));
    assert!(without_model.stderr.contains("--model"), "{}", without_model.stderr);
}
