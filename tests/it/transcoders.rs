//! Transcoders from the command line: trained from a store and from a model, judged, described and steered.

use crate::support::{TinyModel, Untangle, corpus_text, scratch};
use serde_json::Value;
use std::fs;
use std::path::Path;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const READ: &str = "blocks.2.hook_resid_mid";
const PREDICTED: &str = "blocks.2.hook_mlp_out";

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {value}"))
}

fn train(store: &Path, arch: &str, sae: &Path) -> Untangle {
    let words = "train --d-sae 512 --k 16 --tokens 400000 --batch 1024";
    let command = Untangle::new(words).arg(store).option("--arch", arch);
    command.option("--hook", READ).option("--hook-out", PREDICTED).option("--out", sae)
}

#[test]
fn what_an_mlp_writes_is_predicted_put_in_its_place_and_steered() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let store = path("store.h5");
    let capture = Untangle::new("capture organism --text organism --tokens 60000 --hook").arg(READ).arg(PREDICTED);
    capture.option("--out", &store).succeed();
    let trained = train(&store, "skip-transcoder", &path("skip")).succeed();
    assert!(trained.contains("skip-transcoder dictionary of 512 features"), "{trained}");
    train(&store, "transcoder", &path("plain")).succeed();
    let evaluate = Untangle::new("evaluate").arg(path("skip")).arg(path("plain")).option("--store", &store);
    let measured = evaluate.option("--model", "organism").json()["dictionaries"].clone();
    for one in [&measured[0], &measured[1]] {
        assert_eq!(one["part"], "held-out", "{one}");
        // An untrained dictionary is above 1; these rows are far from special tokens.
        assert!((0.0..0.5).contains(&number(one, "fvu")), "{one}");
        // The held-out part is twenty documents, each about something else than those that the threshold was found on.
        assert!((16.0 - number(one, "l0")).abs() < 6.0, "{one}");
        let ce = &one["ce"];
        // Zeroing this MLP costs less than a tenth of a nat, so that chance moves the share by some per cent.
        assert!((0.8..1.2).contains(&number(ce, "recovered")), "{ce}");
        assert!(number(ce, "ce_sae") + 0.05 < number(ce, "ce_zero"), "{ce}");
    }
    let on_text =
        Untangle::new("evaluate --text organism:test --contexts 20 --model organism").arg(path("skip")).json();
    assert!((0.0..0.5).contains(&number(&on_text["dictionaries"][0], "fvu")), "{on_text}");
    let inspected = Untangle::new("inspect").arg(path("skip")).succeed();
    assert!(inspected.contains(&format!("hook       {READ}")), "{inspected}");
    assert!(inspected.contains(&format!("predicts   {PREDICTED}")), "{inspected}");

    let database = path("features.db");
    let features = Untangle::new("features").arg(path("skip")).option("--store", &store).option("--model", "organism");
    features.option("--out", &database).succeed();
    let best = Untangle::new("show").arg(&database).json()["features"][0].clone();
    assert!(!best["top_logits"].as_array().expect("a list").is_empty(), "{best}");
    let steer = |edit: &str| {
        let command = Untangle::new("steer organism --tokens 8 --prompt").arg("One day, Anna and Ben");
        let command = command.option("--sae", path("skip")).option("--features", &database);
        command.option("--feature", format!("{}:{edit}", best["feature"])).json()["steered"][0]["effect"].clone()
    };
    assert_eq!(steer("add=0")["kl"], 0.0);
    assert!(number(&steer("add=2x"), "kl") > 0.0 && number(&steer("set=2x"), "kl") > 0.0);
    Untangle::new("encode --rows 100")
        .arg(path("skip"))
        .arg(&store)
        .option("--out", path("codes.safetensors"))
        .succeed();
}

#[test]
fn a_transcoder_straight_from_a_model_is_that_of_a_stored_run_to_the_byte() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 60);
    let [store, stored, straight] = ["exact.h5", "stored", "straight"].map(|name| folder.path().join(name));
    let hooks = ["blocks.1.hook_resid_pre", "blocks.1.hook_mlp_out"];
    let capture = Untangle::new("capture --threads 2 --store f32 --hook").arg(hooks[0]).arg(hooks[1]);
    capture.arg("--text").arg(&text).arg("--out").arg(&store).arg(&model.path).succeed();
    let train = |out: &Path| {
        let words = "train --arch skip-transcoder --d-sae 64 --k 4 --batch 512 --threads 2 --dtype f32 --tokens 50000";
        let command = Untangle::new(words).option("--hook", hooks[0]).option("--hook-out", hooks[1]);
        command.words("--calibration 0").option("--out", out)
    };
    train(&stored).arg(&store).succeed();
    let live = train(&straight).option("--model", &model.path).option("--text", &text);
    live.words("--text-tokens 10000000").succeed();
    for file in ["sae_weights.safetensors", "cfg.json"] {
        assert!(fs::read(stored.join(file)).expect("read") == fs::read(straight.join(file)).expect("read"), "{file}");
    }
}

#[test]
fn what_cannot_be_predicted_is_refused_in_one_line() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 20);
    let [store, single, out] = ["store.h5", "single.h5", "sae"].map(|name| folder.path().join(name));
    let capture = |store: &Path, hooks: &str| {
        let command = Untangle::new("capture --context 64 --threads 1").arg(&model.path).option("--text", &text);
        command.words(hooks).option("--out", store).succeed();
    };
    capture(&store, "--hook blocks.1.hook_resid_pre --hook blocks.1.hook_resid_post");
    capture(&single, "--hook blocks.1.hook_resid_pre");
    let train = |store: &Path, words: &str, out: &Path| {
        let command = Untangle::new("train --batch 256 --tokens 4096 --d-sae 64 --k 4").arg(store);
        command.words("--hook blocks.1.hook_resid_pre").words(words).option("--out", out).run()
    };
    let refused = |words: &str, code: i32, parts: &[&str]| train(&store, words, &out).fails_with(code, parts);
    refused("--arch transcoder", USAGE, &["transcoder needs --hook-out", "blocks.1.hook_resid_pre"]);
    refused("--hook-out blocks.1.hook_resid_post", USAGE, &["--hook-out belongs to transcoder", "not to topk"]);
    let same = "--arch transcoder --hook-out blocks.1.hook_resid_pre";
    refused(same, USAGE, &["what is read as well", "batch-topk"]);
    let absent = "--arch transcoder --hook-out blocks.0.hook_mlp_out";
    refused(absent, BAD_INPUT, &["store.h5", "blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"]);
    refused("--arch transcoder --hook-out blocks.1.hook_resid_post --sparsity 1", USAGE, &["--sparsity"]);
    let grid = folder.path().join("grid.toml");
    fs::write(&grid, "[[sae]]\narch = ['topk', 'transcoder']\nhook-out = 'blocks.1.hook_resid_post'\n")
        .expect("written");
    refused(&format!("--grid {}", grid.display()), USAGE, &["topk", "--hook-out belongs to transcoder"]);
    assert!(!out.exists());

    // Written before it is read: it reconstructs, and cannot be put in its place.
    let backwards = folder.path().join("backwards");
    let command = Untangle::new("train --batch 256 --tokens 4096 --d-sae 64 --k 4 --arch transcoder").arg(&store);
    let hooks = "--hook blocks.1.hook_resid_post --hook-out blocks.1.hook_resid_pre";
    command.words(hooks).option("--out", &backwards).succeed();
    let evaluate = |store: &Path| Untangle::new("evaluate").arg(&backwards).option("--store", store);
    evaluate(&store).succeed();
    let parts = ["blocks.1.hook_resid_pre comes before blocks.1.hook_resid_post", "leave --model out"];
    evaluate(&store).option("--model", &model.path).run().fails_with(BAD_INPUT, &parts);
    train(&store, "--arch transcoder --hook-out blocks.1.hook_resid_post", &out);
    let lacking = Untangle::new("evaluate").arg(&out).option("--store", &single).run();
    lacking.fails_with(BAD_INPUT, &["predicts blocks.1.hook_resid_post", "single.h5", "both hook points"]);
}
