//! The same figures wherever they are told: a report, `evaluate` of one dictionary, of a grid and of what lies in it.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::fs;
use std::path::Path;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const HOOK: &str = "blocks.2.hook_resid_post";

fn capture(model: &str, out: &Path) {
    let words = format!("capture {model} --text organism --tokens 40000 --hook {HOOK}");
    Untangle::new(&words).option("--out", out).succeed();
}

/// What a card of a report says, and what stands small beside it.
fn card(page: &str, name: &str) -> (String, String) {
    let (_, from) = page.split_once(&format!("<dt>{name}</dt><dd>")).unwrap_or_else(|| panic!("no {name} in {page}"));
    let (value, from) = from.split_once("<small>").expect("a note");
    (value.to_owned(), from.split_once("</small>").expect("an end").0.to_owned())
}

/// Holds the report beside what `evaluate` says.
fn agrees(dir: &Path, one: &Value) {
    let page = fs::read_to_string(dir.join("report.html")).expect("a report");
    let (fvu, on) = card(&page, "FVU");
    assert_eq!(fvu, format!("{:.4}", one["fvu"].as_f64().expect("a number")), "{one}");
    assert_eq!(on, format!("on {} ordinary held-out rows", one["ordinary_rows"]));
    let (all, on) = card(&page, "FVU of all rows");
    assert_eq!(all, format!("{:.4}", one["fvu_all_rows"].as_f64().expect("a number")), "{one}");
    assert!(on.starts_with(&format!("on {} held-out rows", one["rows"])), "{on}");
    assert_eq!(card(&page, "L0").0, format!("{:.2}", one["l0"].as_f64().expect("a number")));
    assert_eq!(card(&page, "Dead features").0, one["dead"].to_string());
    assert_eq!(card(&page, "Dense features").0, one["dense"].to_string());
}

#[test]
fn a_report_and_evaluate_tell_the_same_of_dictionaries_and_grids() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    capture("organism", &path("store.h5"));
    fs::write(path("grid.toml"), "[[sae]]\nk = [4, 8]\n[[sae]]\narch = 'batch-topk'\nk = 8\n").expect("written");
    let train = Untangle::new("train --d-sae 256 --tokens 200000 --batch 1024").arg(path("store.h5"));
    train.option("--grid", path("grid.toml")).option("--out", path("grid")).succeed();
    // The options stand last: --store takes several.
    let evaluate = |names: &[&str]| {
        let command = names.iter().fold(Untangle::new("evaluate"), |command, name| command.arg(path(name)));
        command.words("--model organism --contexts 40").option("--store", path("store.h5"))
    };
    let measured = evaluate(&["grid"]).json();
    let all = measured["dictionaries"].as_array().expect("a list");
    let names: Vec<&str> = all.iter().filter_map(|one| one["sae"].as_str()).collect();
    assert_eq!(names, ["batch-topk-k8", "topk-k4", "topk-k8"]);
    for one in all {
        agrees(&path("grid").join(one["sae"].as_str().expect("a name")), one);
        // Special tokens are most of the variance, so that the two cannot be mistaken for each other.
        assert!(one["rows"].as_u64() > one["ordinary_rows"].as_u64(), "{one}");
        let ce = &one["ce"];
        let [zero, uniform] = ["ce_zero", "ce_uniform"].map(|key| ce[key].as_f64().expect("a number"));
        assert_eq!(ce["recovered_from"], if uniform < zero { "uniform" } else { "zero" }, "{ce}");
    }
    // Every file of the grid, as a shell names them; alone, a dictionary has the same figures.
    let star = evaluate(&["grid/batch-topk-k8", "grid/report.html", "grid/topk-k4", "grid/topk-k8"]);
    assert_eq!(star.json(), measured);
    assert_eq!(evaluate(&["grid/topk-k8"]).json()["dictionaries"][0], all[2]);
    let table = evaluate(&["grid"]).succeed();
    let place = |name: &str| table.find(name).unwrap_or_else(|| panic!("no {name} in {table}"));
    assert!(place("nats per token lost") < place("CE recovered") && place("FVU ") < place("FVU of all rows"));
    evaluate(&["grid/report.html"]).run().fails_with(BAD_INPUT, &["report.html", "no dictionary"]);
}

#[test]
fn a_crosscoder_s_report_and_evaluate_tell_the_same() {
    let folder = scratch();
    let [base, chat, out] = ["base.h5", "sft.h5", "both"].map(|name| folder.path().join(name));
    capture("organism:base", &base);
    capture("organism:sft", &chat);
    let train = Untangle::new("train --d-sae 256 --k 16 --tokens 200000 --batch 1024 --arch crosscoder").arg(&base);
    train.words(&format!("--hook {HOOK}")).option("--with", &chat).option("--out", &out).succeed();
    let evaluate = Untangle::new("evaluate").arg(&out).option("--store", &base).option("--with", &chat);
    let one = evaluate.json()["crosscoders"][0].clone();
    agrees(&out, &one);
    let count = |key: &str| one["sharing"][key].as_u64().expect("a count");
    let alone: u64 = one["sharing"]["exclusive"].as_array().expect("a list").iter().filter_map(Value::as_u64).sum();
    let counted = alone + ["partial", "between", "alike", "turned", "nowhere"].map(count).iter().sum::<u64>();
    assert_eq!(counted, 256 - one["dead"].as_u64().expect("a count"), "{one}");
    assert_eq!(counted, count("features"));
}

#[test]
fn what_a_demo_or_a_sweep_cannot_do_is_said_before_any_work() {
    let folder = scratch();
    let (text, out) = (folder.path().join("short.txt"), folder.path().join("demo"));
    fs::write(&text, "One day, Anna met her friend Ben. They walked in the park.\n".repeat(40)).expect("written");
    let demo = || Untangle::new("demo").option("--out", &out);
    let told = demo().option("--text", &text).run();
    told.fails_with_story(BAD_INPUT, &["short.txt: has ", " tokens, and a demo needs at least 4096"]);
    assert!(!told.stderr.contains("--batch"), "{}", told.stderr);
    demo().words("--tokens 300").run().fails_with(USAGE, &["--tokens 4096", "300"]);
    demo().words("--train-tokens 300").run().fails_with(USAGE, &["--train-tokens 2048", "300"]);
    assert!(!out.exists(), "something was made");
}
