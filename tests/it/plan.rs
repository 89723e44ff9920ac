//! What a plan says is what then happens, and planning leaves nothing behind.

use crate::support::{TinyModel, Untangle, corpus_text, entries, peak_anonymous_memory, scratch};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A plan may be wrong by so much.
const MAY_BE_WRONG: f64 = 0.2;

fn close(what: &str, planned: f64, found: f64) {
    assert!((planned / found - 1.0).abs() <= MAY_BE_WRONG, "{what}: {planned} planned, {found} found");
}

fn part(plan: &Value, of: &str, name: &str) -> f64 {
    let parts = plan[of]["parts"].as_array().expect("parts");
    let part = parts.iter().find(|part| part[0] == name).unwrap_or_else(|| panic!("no {name} in {plan}"));
    part[1].as_f64().expect("a number")
}

/// Bytes of all files below `folder`.
fn bytes_below(folder: &Path) -> f64 {
    let below = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    below
        .map(|path| if path.is_dir() { bytes_below(&path) } else { path.metadata().expect("a file").len() as f64 })
        .sum()
}

#[test]
fn a_plan_is_what_then_happens() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 600);
    let store = folder.path().join("store.h5");
    let capture = |verb: &str| {
        let command = Untangle::new(&format!("{verb} --context 64 --threads 2")).arg(&model.path);
        command.option("--text", &text).words(&format!("--hook {}", TinyModel::HOOK)).option("--out", &store)
    };
    let before = entries(folder.path());
    let plan = capture("plan capture").json();
    assert_eq!(entries(folder.path()), before, "planning a capture left something behind");
    capture("capture").succeed();
    close("the store", part(&plan, "disk", "store"), fs::metadata(&store).expect("a file").len() as f64);

    let grid = folder.path().join("grid.toml");
    fs::write(&grid, "[[sae]]\narch = ['topk', 'relu', 'jump-relu', 'matryoshka']\nk = 4\n").expect("writable");
    let out = folder.path().join("saes");
    let train = |verb: &str| {
        Untangle::new(&format!("{verb} --d-sae 2048 --tokens 100000 --batch 1024 --threads 2 --dtype f32"))
            .arg(&store)
            .words(&format!("--hook {}", TinyModel::HOOK))
            .option("--grid", &grid)
            .option("--out", &out)
    };
    let before = entries(folder.path());
    let plan = train("plan train").json();
    assert_eq!(entries(folder.path()), before, "planning a training left something behind");
    let peak = peak_anonymous_memory(&mut train("train").start());
    close("memory", plan["memory"]["bytes"].as_f64().expect("a number"), peak as f64);
    close("the dictionaries", part(&plan, "disk", "result"), bytes_below(&out));
    let [least, expected, most] = ["least", "expected", "most"].map(|at| plan["time"][at].as_f64().expect("a number"));
    assert!(0.0 < least && least <= expected && expected <= most, "{plan}");
    assert!(plan["flops"]["expected"].as_f64().is_some_and(|flops| flops > 1e9), "{plan}");
    assert!(out.join("report.html").exists());
}

#[test]
fn steering_takes_the_memory_that_was_planned_for_keys_and_values() {
    let folder = scratch();
    let steer = |verb: &str, tokens: usize| {
        let command = Untangle::new(&format!("{verb} organism --tokens {tokens} --sweep 0.1,0.2,0.3 --threads 2"));
        let command = command.option("--feature", "token ' cat' in blocks.1.hook_resid_post:add-direction=0.1n");
        (0..16).fold(command, |command, _| command.option("--prompt", "One day, Anna and Ben went out together."))
    };
    let plan = steer("plan steer", 240).json();
    assert_eq!(entries(folder.path()), Vec::<String>::new());
    // Five layers of 128 numbers each for keys and values, four bytes a number, for the tokens of 64 texts.
    let texts = &plan["plans"];
    assert_eq!([texts["texts"].as_u64(), texts["together"].as_u64()], [Some(64), Some(64)], "{plan}");
    let of_token = 2.0 * 5.0 * 128.0 * 4.0;
    let tokens = texts["tokens"].as_f64().expect("a number");
    assert_eq!(part(&plan, "memory", "keys and values"), tokens * of_token, "{plan}");
    let peak = |tokens: usize| peak_anonymous_memory(&mut steer("steer", tokens).start()) as f64;
    let found = peak(240);
    close("memory", plan["memory"]["bytes"].as_f64().expect("a number"), found);
    assert!(found - peak(1) > 0.7 * part(&plan, "memory", "keys and values"), "keys and values take no memory");
    let served = Untangle::new("plan serve organism --batch 8").json();
    let of_context = 8.0 * 256.0 * of_token;
    assert_eq!(part(&served, "memory", "keys and values, where every text fills the context"), of_context, "{served}");
    let sought = Untangle::new("plan steer organism --toward bridge").run();
    sought.fails_with(2, &["depends on what it finds"]);
}

#[test]
fn a_live_run_is_planned_and_what_cannot_be_is_refused_as_training_would() {
    let folder = scratch();
    let out = folder.path().join("sae");
    let plan = Untangle::new("plan train --model organism --text organism --hook blocks.2.hook_resid_post")
        .words("--d-sae 256 --k 4 --batch 512 --tokens 20000 --threads 2 --dtype f32")
        .option("--out", &out)
        .json();
    assert!(plan["time"]["expected"].as_f64().is_some_and(|time| time > 0.0), "{plan}");
    assert!(part(&plan, "disk", "token ids until it is finished") > 0.0);
    assert_eq!(entries(folder.path()), Vec::<String>::new());
    let absent = Untangle::new("plan train").arg(folder.path().join("absent.h5")).option("--out", &out).run();
    absent.fails_with(3, &["absent.h5"]);
    assert_eq!(Untangle::new("plan").run().code, Some(2));
}
