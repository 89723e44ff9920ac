//! Crosscoders from the command line: of several hook points of one model, and of two stages of one model's training.

use crate::support::server::Server;
use crate::support::{Untangle, scratch};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const HOOK: &str = "blocks.2.hook_resid_post";

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {value}"))
}

fn capture(model: &str, hooks: &str, tokens: usize, out: &Path) {
    let words = format!("capture {model} --text organism --tokens {tokens} {hooks}");
    Untangle::new(&words).option("--out", out).succeed();
}

fn train(store: &Path, words: &str, out: &Path) -> Untangle {
    let command = Untangle::new("train --d-sae 256 --k 16 --tokens 300000 --batch 1024 --threads 2").arg(store);
    command.words(words).option("--out", out)
}

#[test]
fn two_stages_of_a_model_are_compared_feature_by_feature() {
    let folder = scratch();
    let [base, chat, out, l1] = ["base.h5", "sft.h5", "both", "l1"].map(|name| folder.path().join(name));
    let hook = format!("--hook {HOOK}");
    capture("organism:base", &hook, 40_000, &base);
    // Fewer tokens: the rest of the first store has no pair.
    capture("organism:sft", &hook, 30_000, &chat);
    let with = |store: &Path, arch: &str, out: &Path| {
        let command = Untangle::new("train --d-sae 256 --k 16 --tokens 300000 --batch 1024 --threads 2").arg(store);
        command.words(&format!("--arch {arch} {hook}")).option("--with", &chat).option("--out", out)
    };
    let outcome = with(&base, "crosscoder", &out).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let told = [
        "10000 rows of the first store and 0 of the other have no pair",
        "resid_post of organism, ",
        "of organism:sft (",
    ];
    assert!(told.iter().all(|part| outcome.stderr.contains(part)), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("of Untangle's own form"), "{}", outcome.stdout);
    with(&base, "crosscoder-l1", &l1).succeed();

    let evaluate = Untangle::new("evaluate").arg(&out).arg(&l1).option("--store", &base).option("--with", &chat);
    let measured = evaluate.json()["crosscoders"].clone();
    for one in [&measured[0], &measured[1]] {
        assert_eq!(one["part"], "held-out", "{one}");
        assert!((0.001..0.5).contains(&number(one, "fvu")), "{one}");
        for part in one["parts"].as_array().expect("a list") {
            assert!((0.001..0.5).contains(&number(part, "fvu")), "{one}");
        }
    }
    // The held-out part is ten documents, each about something else than those that the threshold was found on.
    assert!((16.0 - number(&measured[0], "l0")).abs() < 5.0, "{measured}");
    // The second stage grew out of the first, so that hardly a feature is one's alone.
    let inspected = Untangle::new("inspect").arg(&out).json();
    assert_eq!(inspected["config"]["parts"][1]["model_name"], "organism:sft", "{}", inspected["config"]);
    let (sharing, features) = (&inspected["sharing"], inspected["features"].as_array().expect("a list"));
    let exclusive: f64 = sharing["exclusive"].as_array().expect("a list").iter().filter_map(Value::as_f64).sum();
    assert!(exclusive < 26.0 && number(sharing, "mean_cosine") > 0.5, "{sharing}");
    let sums = features
        .iter()
        .map(|feature| feature["shares"].as_array().expect("a list").iter().filter_map(Value::as_f64).sum::<f64>());
    assert!(features.len() == 256 && sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-9));
    let text = Untangle::new("inspect").arg(&out).succeed();
    assert!(text.contains("256 features of 2 activations of width 128"), "{text}");

    // Its features are described as those of other dictionaries are, with their shares.
    let database = folder.path().join("both.db");
    let describe = Untangle::new("features --model organism:sft").arg(&out).option("--store", &base);
    let described = describe.option("--with", &chat).option("--out", &database).json();
    assert!(number(&described["report"], "mean_f1") > 0.3, "{described}");
    let named = &described["report"]["run"]["parts"][1];
    assert_eq!(named, "blocks.2.hook_resid_post of organism:sft");
    let codes = folder.path().join("codes.safetensors");
    let encode =
        Untangle::new("encode --rows 2000").arg(&out).arg(&base).option("--with", &chat).option("--out", &codes);
    let active = number(&encode.json(), "active") / 2000.0;
    assert!((8.0..32.0).contains(&active), "{active} features a row, about k");
    let found = Untangle::new("search --shared alike --limit 300").arg(&database).json();
    let alike = found["features"].as_array().expect("a list");
    let card = &Untangle::new("show").arg(&database).arg(alike[0]["feature"].to_string()).json()["features"][0];
    assert_eq!(card["sharing"]["kind"], "alike");
    assert!(card["sharing"]["shares"][0].as_f64().is_some_and(|share| (0.4..0.6).contains(&share)), "{card}");
    assert!(
        !card["examples"].as_array().expect("a list").is_empty()
            && !card["top_logits"].as_array().expect("a list").is_empty()
    );
    let counted = sharing["alike"].as_u64().expect("a count") as usize;
    assert_eq!(alike.len(), counted, "as many as `inspect` counts");
    let text = Untangle::new("show").arg(&database).arg(alike[0]["feature"].to_string()).succeed();
    assert!(text.contains("shared by the parts: alike") && text.contains("cosine with part 1"), "{text}");
    let page = folder.path().join("page");
    Untangle::new("dashboard").arg(&database).option("--out", &page).succeed();
    let run = std::fs::read_to_string(page.join("data/run.js")).expect("a page");
    assert!(run.contains("blocks.2.hook_resid_post of organism:sft"), "its parts have names: {run}");
    let none = Untangle::new("search --appeared-in 2").arg(&database).json();
    assert!(none["features"].as_array().expect("a list").len() < 26, "hardly a feature is the second stage's alone");
    Untangle::new("search --appeared-in 3").arg(&database).run().fails_with(USAGE, &["there is no part 3"]);

    // Of each model the part that is its own is steered; what a feature reads of the other is not known there.
    let steer = |model: &str, feature: &str| {
        let command = Untangle::new(&format!("steer organism:{model} --tokens 4 --prompt x")).option("--sae", &out);
        command.option("--feature", feature)
    };
    let kl = |model: &str, feature: &str| number(&steer(model, feature).json()["steered"][0]["effect"], "kl");
    assert!(kl("base", "1:add=9") > 0.0 && kl("sft", "1:add=9") > 0.0 && kl("base", "1:project-out") > 0.0);
    assert_ne!(kl("base", "1:add=9"), kl("sft", "1:add=9"));
    steer("base", "1:set=9").run().fails_with(USAGE, &["`1:set=9`: set needs", "organism:sft as well, another model"]);
    steer("dpo", "1:add=9").run().fails_with(BAD_INPUT, &["trained on the model organism and organism:sft"]);
    // A text is read in both models at once, and losses are those of the first.
    let read = |model: &str| {
        let command = Untangle::new(&format!("read organism:{model} --ablate 1")).option("--sae", &out);
        command.option("--features", &database).option("--prompt", "Anna saw the red Golden Gate Bridge.")
    };
    read("base").run().fails_with(BAD_INPUT, &["reads from organism:sft (weights ", "--with"]);
    let [of_base, of_chat] = [["base", "sft"], ["sft", "base"]]
        .map(|[model, other]| read(model).option("--with", Path::new(&format!("organism:{other}"))).json());
    let readings = [&of_base, &of_chat].map(|told| told["readings"][0].clone());
    assert_eq!(readings[0]["tokens"][5]["features"], readings[1]["tokens"][5]["features"]);
    assert_ne!(readings[0]["mean_loss"], readings[1]["mean_loss"]);
    assert!(number(&readings[0], "missing") < 0.3, "{of_base}");
    assert_eq!(of_base["hook"][1], "blocks.2.hook_resid_post of organism:sft");
    let shown = read("base").option("--with", Path::new("organism:sft")).succeed();
    assert!(
        shown.contains("resid_post of organism and ") && shown.contains(" of organism:sft, read with both"),
        "{shown}"
    );
    let simple =
        Untangle::new("read organism --prompt x").option("--sae", &out).option("--with", Path::new("organism:dpo"));
    simple.run().fails_with(BAD_INPUT, &["reads from organism:sft"]);
    let alone = |command: Untangle| {
        command.run().fails_with(BAD_INPUT, &["reads blocks.2.hook_resid_post of organism:sft", "--with"])
    };
    alone(Untangle::new("evaluate").arg(&out).option("--store", &base));
    alone(Untangle::new("encode").arg(&out).arg(&base).option("--out", folder.path().join("alone.safetensors")));
    let features = Untangle::new("features").arg(&out).option("--store", &base);
    alone(features.option("--out", folder.path().join("alone.db")));
    let model = Untangle::new("evaluate").arg(&out).option("--store", &base).option("--model", "organism:base").run();
    model.fails_with(USAGE, &["a crosscoder is judged on stores"]);
}

#[test]
fn several_hook_points_are_read_at_once_and_a_grid_gives_the_same() {
    let folder = scratch();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let hooks = "--hook blocks.1.hook_resid_post --hook blocks.2.hook_resid_post";
    capture("organism", &format!("{hooks} --hook blocks.2.mlp.hook_post"), 30_000, &path("store.h5"));
    train(&path("store.h5"), &format!("--arch crosscoder {hooks}"), &path("alone")).succeed();
    let grid = "[[sae]]\nname = 'both'\narch = 'crosscoder'\nhooks = ['blocks.1.hook_resid_post', \
                'blocks.2.hook_resid_post']\n[[sae]]\nname = 'one'\nhook = 'blocks.2.hook_resid_post'\n";
    fs::write(path("grid.toml"), grid).expect("written");
    let command = train(&path("store.h5"), "--calibration 0.02", &path("grid")).option("--grid", path("grid.toml"));
    command.succeed();
    for file in ["sae_weights.safetensors", "cfg.json", "training.json"] {
        let read = |dir: PathBuf| fs::read(dir.join(file)).expect("read");
        assert!(read(path("alone")) == read(path("grid").join("both")), "{file} differs");
    }
    let measured = Untangle::new("evaluate").arg(path("alone")).option("--store", path("store.h5")).json();
    assert!((0.001..0.5).contains(&number(&measured["crosscoders"][0], "fvu")), "{measured}");
    let both = Untangle::new("evaluate").arg(path("alone")).arg(path("grid").join("one"));
    both.option("--store", path("store.h5")).run().fails_with(USAGE, &["are judged apart"]);

    let refused = |words: &str, code: i32, parts: &[&str]| {
        train(&path("store.h5"), words, &path("no")).run().fails_with(code, parts);
        assert!(!path("no").exists());
    };
    refused("--arch crosscoder", USAGE, &["crosscoder needs --hook, once for every activation"]);
    refused("--arch crosscoder --hook blocks.1.hook_resid_post", BAD_INPUT, &["reads several activations", "--with"]);
    let wide = "--arch crosscoder --hook blocks.2.hook_resid_post --hook blocks.2.mlp.hook_post";
    refused(wide, BAD_INPUT, &["of one width, these have 128, 304", "a grid"]);
    refused(&format!("--arch crosscoder {hooks} --hook blocks.0.hook_embed"), BAD_INPUT, &["blocks.0.hook_embed"]);
    refused(hooks, USAGE, &["topk reads one activation, not 2", "--arch crosscoder"]);
    refused(
        &format!("--arch topk {hooks} --with {}", path("store.h5").display()),
        USAGE,
        &["--with belongs to crosscoders"],
    );
    // All of its places are in one model, so that a server reads with it what the command line does.
    let server = Server::start(Untangle::new("serve organism --threads 2").option("--sae", path("alone")));
    assert_eq!(server.get("/api/v1/dictionaries").ok()["dictionaries"][0]["reads"], true);
    let text = "One day, Anna saw the sea.";
    let served = server.post("/api/v1/read", &json!({"prompt": text})).ok();
    let read = Untangle::new("read organism").option("--sae", path("alone")).option("--prompt", text).json();
    let fires = |reading: &Value| -> Vec<Value> {
        let tokens = reading["tokens"].as_array().expect("tokens").iter();
        tokens.flat_map(|token| token["features"].as_array().expect("a list")).map(|f| f["feature"].clone()).collect()
    };
    let fired = fires(&served);
    assert!(fired.len() > 10 && fired == fires(&read["readings"][0]), "{served}");
    let live = Untangle::new("train --model organism --text organism --arch crosscoder").words(hooks);
    live.option("--out", path("no")).run().fails_with(USAGE, &["trained from stores"]);
}
