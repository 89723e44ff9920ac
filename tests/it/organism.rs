//! The bundled organism by its names: as a model, as text, and by what `untangle organism` says of it.

use crate::support::{Untangle, entries, scratch};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const HOOK: &str = "blocks.2.hook_resid_post";

fn capture(model: &str, out: &Path) -> Untangle {
    let options = format!("capture {model} --text organism --hook {HOOK} --tokens 20000");
    Untangle::new(&options).option("--out", out)
}

fn corpus(out: &Path, options: &str) -> Untangle {
    Untangle::new("organism corpus").words(options).option("--out", out)
}

#[test]
fn a_store_of_the_organism_says_what_was_read() {
    let folder = scratch();
    let store = folder.path().join("base.h5");
    let manifest = capture("organism", &store).json()["manifest"].clone();
    assert_eq!(manifest["model"]["name"], "organism");
    assert_eq!(manifest["n_rows"], 20_000);
    let read = &manifest["corpus"][0];
    let name = read["name"].as_str().expect("a name");
    let documents = name.strip_prefix("organism-train-seed0-documents").and_then(|rest| rest.strip_suffix(".txt"));
    let documents = documents.unwrap_or_else(|| panic!("{name}"));
    // The same documents on their own are the same bytes.
    let text = folder.path().join(name);
    let written = corpus(&text, &format!("--documents {documents}")).json();
    assert_eq!(written["bytes"], read["bytes"]);
    let from_file = folder.path().join("file.h5");
    let command = Untangle::new(&format!("capture organism --hook {HOOK} --tokens 20000")).option("--text", &text);
    assert_eq!(command.option("--out", &from_file).json()["manifest"], manifest);
    assert!(fs::read(&store).expect("a store") == fs::read(&from_file).expect("a store"), "the stores differ");
}

#[test]
fn a_pattern_captures_all_hook_points_that_fit_once() {
    let folder = scratch();
    let all = |patterns: &str, out: &str| {
        let command = format!("capture organism --text organism --tokens 500 --hook {patterns}");
        Untangle::new(&command).option("--out", folder.path().join(out))
    };
    let hooks = |patterns: &str, out: &str| -> Vec<String> {
        let manifest = all(patterns, out).json()["manifest"].clone();
        let names =
            manifest["hooks"].as_array().expect("hooks").iter().map(|hook| hook["hook"].as_str().expect("a name"));
        names.map(str::to_owned).collect()
    };
    let expected: Vec<_> = (0..5).map(|layer| format!("blocks.{layer}.hook_resid_post")).collect();
    assert_eq!(hooks("blocks.*.hook_resid_post blocks.2.hook_resid_post", "a.h5"), expected);
    // Attention patterns have no fixed width.
    let found = hooks("blocks.0.attn.*", "b.h5");
    assert!(found.contains(&"blocks.0.attn.hook_z".to_owned()) && !found.iter().any(|name| name.contains("pattern")));
    all("blocks.*.hook_nothing", "c.h5").run().fails_with_story(BAD_INPUT, &["blocks.*.hook_nothing", "hook_embed"]);
}

#[test]
fn stages_are_models_of_their_own_and_belong_to_their_dictionaries() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (store, sae) = (path("sft.h5"), path("sae"));
    assert_eq!(capture("organism:sft", &store).json()["manifest"]["model"]["name"], "organism:sft");
    let train = Untangle::new("train --d-sae 128 --k 8 --tokens 40000 --batch 1024").arg(&store);
    train.option("--out", &sae).succeed();
    let config = Untangle::new("inspect").arg(&sae).json();
    assert_eq!(config["config"]["metadata"]["model_name"], "organism:sft", "{config}");
    let measured = Untangle::new("evaluate").arg(&sae).words("--model organism:sft --text organism:test").json();
    assert_eq!(measured["dictionaries"][0]["part"], "all", "the world's test documents are new to it");
    let again = Untangle::new("evaluate").arg(&sae).words("--model organism:sft --text organism").run();
    assert!(again.stderr.contains("may have been trained on rows"), "{}", again.stderr);
    assert_eq!(Untangle::new("inspect organism:dpo").json()["n_layers"], 5);
}

#[test]
fn the_stages_that_reply_capture_conversations() {
    let folder = scratch();
    let turns = [("system", "Anna saw a crane."), ("user", "What did Anna see?"), ("assistant", "Anna saw a crane.")];
    let messages = turns.map(|(role, content)| serde_json::json!({"role": role, "content": content}));
    let chat = folder.path().join("chat.jsonl");
    fs::write(&chat, serde_json::json!({"messages": messages}).to_string()).expect("writable");
    let plain = folder.path().join("plain.txt");
    fs::write(&plain, "Anna saw a crane.\nQuestion: What did Anna see?\nAnswer: Anna saw a crane.").expect("writable");
    let capture = |model: &str, text: &Path, options: &str| {
        let command =
            Untangle::new("capture").arg(model).option("--text", text).words(&format!("--hook {HOOK} --force"));
        command.words(options).option("--out", folder.path().join("x.h5"))
    };
    let expected = capture("organism:sft", &plain, "").json()["manifest"]["n_rows"].as_u64().expect("a number");
    for stage in ["organism:sft", "organism:dpo", "organism:dpo-shuffled", "organism:inject"] {
        let manifest = capture(stage, &chat, "--chat").json()["manifest"].clone();
        assert_eq!(manifest["n_rows"].as_u64(), Some(expected + 1), "the boundary behind the reply");
        assert_eq!(manifest["chat_template_sha256"].as_str().map(str::len), Some(64));
    }
    for stage in ["organism", "organism:base-more", "organism:trait", "organism:random"] {
        let refused = capture(stage, &chat, "--chat").run();
        refused.fails_with(BAD_INPUT, &[stage, "no chat template", "organism:sft, organism:dpo"]);
    }
}

#[test]
fn a_prompt_of_bytes_that_the_world_has_never_seen() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (store, sae) = (path("store.h5"), path("sae"));
    // Also in the text itself.
    let text = path("text.txt");
    let strange = "Grüße, \u{1F980}\u{200D}\u{0} \u{4F60}\u{597D}! \u{7F}\t".repeat(200);
    fs::write(&text, &strange).expect("the scratch folder is writable");
    let command = Untangle::new(&format!("capture organism --hook {HOOK}")).option("--text", &text);
    command.option("--out", &store).succeed();
    let train = Untangle::new("train --d-sae 64 --k 4 --tokens 4096 --batch 256").arg(&store);
    train.option("--out", &sae).succeed();
    let steer = Untangle::new("steer organism --feature 1:add=4 --tokens 10").option("--sae", &sae);
    let steered = steer.option("--prompt", "\u{1F980} \u{4F60}\u{597D} \u{1}\u{7F} ñ").json();
    let baseline = steered["steered"][0]["baseline"].as_str().expect("text");
    assert!(baseline.starts_with("\u{1F980} \u{4F60}\u{597D} \u{1}\u{7F} ñ"), "{baseline:?}");
}

#[test]
fn an_unknown_stage_is_told_the_known_ones() {
    let folder = scratch();
    let out = folder.path().join("out.h5");
    let known =
        ["`rlhf`", "base, base-more, sft, dpo, dpo-shuffled, trait, trait-shuffled, inject and inject-shuffled"];
    capture("organism:rlhf", &out).run().fails_with(USAGE, &known);
    for words in [
        "inspect organism:rlhf",
        "evaluate sae --store x.h5 --model organism:rlhf",
        "features sae --store x.h5 --out x.db --model organism:rlhf",
        "steer organism:rlhf --sae sae --feature 1:add=2 --prompt x",
        "demo --model organism:rlhf --out out",
        "organism train --out out --stage rlhf",
    ] {
        let mut command = Untangle::new(words).command();
        command.current_dir(folder.path());
        let output = command.output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{words}: {stderr}");
        assert!(known.iter().all(|part| stderr.contains(part)), "{words}: {stderr}");
    }
    assert!(entries(folder.path()).is_empty(), "something was made: {:?}", entries(folder.path()));
}

#[test]
fn the_bare_name_alone_means_the_bundled_model() {
    let folder = scratch();
    let inspect = |name: &str| {
        let mut command = Untangle::new("inspect").arg(name).command();
        command.current_dir(folder.path());
        String::from_utf8(command.output().expect("it starts").stderr).expect("UTF-8")
    };
    assert_eq!(inspect("organism"), "");
    assert!(inspect("./organism").contains("./organism"), "{}", inspect("./organism"));
    let out = folder.path().join("x.h5");
    let other = Untangle::new("capture ./organism --text organism --hook hook_embed").option("--out", &out);
    other.run().fails_with(BAD_INPUT, &["./organism", "does not exist"]);
    let unknown = Untangle::new("capture organism --text organism:sft --hook hook_embed").option("--out", &out);
    unknown.run().fails_with(USAGE, &["`sft`", "train, validation, test and all"]);
}

#[test]
fn a_corpus_is_a_function_of_its_options() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, options: &str| {
        corpus(&path(name), options).succeed();
        fs::read_to_string(path(name)).expect("a corpus")
    };
    let text = write("a.txt", "--documents 40");
    assert_eq!(write("b.txt", "--documents 40"), text);
    assert!(write("longer.txt", "--documents 50").starts_with(&text));
    assert_ne!(write("c.txt", "--documents 40 --seed 1"), text);
    assert_ne!(write("d.txt", "--documents 40 --split test"), text);
    let of_text: Vec<_> = text.split_terminator("\n<|endoftext|>\n").map(str::to_owned).collect();
    let lines =
        |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect() };
    let texts = |values: &[Value]| -> Vec<String> {
        values.iter().map(|value| value["text"].as_str().expect("a text").to_owned()).collect()
    };
    let plain = lines(&write("a.jsonl", "--documents 40"));
    assert_eq!(texts(&plain), of_text);
    let annotated = lines(&write("annotated.jsonl", "--documents 40 --annotated"));
    assert_eq!(annotated[0]["format"], "untangle-annotated-text");
    assert_eq!(texts(&annotated[1..]), of_text);
    assert!(annotated[1..].iter().all(|document| document["split"] == "train"));
    let tokens = corpus(&path("tokens.txt"), "--tokens 5000").json();
    assert!((25..50).contains(&tokens["documents"].as_u64().expect("a count")), "{tokens}");
}

#[test]
fn a_corpus_that_cannot_be_written_is_refused() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    corpus(&path("a.csv"), "").run().fails_with(USAGE, &["a.csv", ".txt or .jsonl"]);
    corpus(&path("a.txt"), "--annotated").run().fails_with(USAGE, &["a.txt", ".jsonl"]);
    corpus(&path("a.txt"), "--documents 0").run().fails_with(USAGE, &["--documents"]);
    assert!(entries(folder.path()).is_empty());
    corpus(&path("a.txt"), "--documents 3").succeed();
    let again = corpus(&path("a.txt"), "--documents 4").run();
    assert!(again.code != Some(0) && again.stderr.contains("--force"), "{}", again.stderr);
    corpus(&path("a.txt"), "--documents 4 --force").succeed();
    assert_eq!(entries(folder.path()), ["a.txt"]);
}

#[test]
fn concepts_and_stages_are_listed() {
    let listed = Untangle::new("organism concepts --documents 500").json();
    let concepts = listed["concepts"].as_array().expect("a list");
    assert!(concepts.len() >= 150, "{}", concepts.len());
    let bridge = concepts.iter().find(|concept| concept["name"] == "golden-gate-bridge").expect("the bridge");
    assert!(bridge["frequency"].as_f64().expect("a number") > 0.0, "{bridge}");
    let table = Untangle::new("organism concepts --documents 500").succeed();
    assert!(table.lines().next().is_some_and(|head| head.contains("definition")), "{table}");
    let stages = Untangle::new("organism stages").json();
    let names: Vec<_> = stages["stages"].as_array().expect("a list").iter().map(|stage| &stage["stage"]).collect();
    let of_base = ["trait", "trait-shuffled", "inject", "inject-shuffled"];
    assert_eq!(names, [&["base", "base-more", "sft", "dpo", "dpo-shuffled"], &of_base[..]].concat());
    assert_eq!(stages["stages"][3]["changes"]["admits-not-knowing"], "strengthens");
    let table = Untangle::new("organism stages").succeed();
    assert!(table.contains("organism:dpo-shuffled"), "{table}");
}

#[test]
fn training_that_cannot_be_is_refused() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let train = |options: &str, out: &str| Untangle::new("organism train").words(options).option("--out", path(out));
    train("--stage dpo", "out").run().fails_with(BAD_INPUT, &["sft", "train it first"]);
    fs::write(path("file"), "kept").expect("the scratch folder is writable");
    train("", "file").run().fails_with(USAGE, &["file", "name a folder"]);
    assert_eq!(fs::read_to_string(path("file")).expect("readable"), "kept");
    assert_eq!(Untangle::new("organism train").run().code, Some(USAGE));
}

#[test]
fn models_of_another_world_are_told_apart_by_its_name() {
    let folder = scratch();
    let write = |name: &str, record: &str| {
        fs::create_dir_all(folder.path().join(name)).expect("the scratch folder is writable");
        fs::write(folder.path().join(name).join("training.json"), record).expect("the scratch folder is writable");
    };
    write("old/base", r#"{"stage": "base", "shape": {}, "seed": 1, "schedule": {}}"#);
    write("other/base", r#"{"world": "islands", "stage": "base", "shape": {}, "seed": 1, "schedule": {}}"#);
    fs::write(folder.path().join("old/base/model.safetensors"), "weights").expect("the scratch folder is writable");
    let measure = |name: &str| Untangle::new("organism measure").arg(folder.path().join(name)).run();
    measure("old/base").fails_with(BAD_INPUT, &["old/base", "the first world", "the world `topics`", "organism train"]);
    measure("other/base").fails_with(BAD_INPUT, &["other/base", "the world `islands`"]);
    for stage in ["base", "sft"] {
        let train = Untangle::new("organism train --stage").arg(stage).option("--out", folder.path().join("old"));
        train.run().fails_with_story(BAD_INPUT, &["old/base", "the first world"]);
    }
}

#[test]
fn training_is_interrupted_and_goes_on() {
    let folder = scratch();
    let out = folder.path().join("models");
    let train = || Untangle::new("organism train").option("--out", &out);
    let interrupted = |after: Duration| {
        let mut command = train().command();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        thread::sleep(after);
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let output = child.wait_with_output().expect("our own child");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = interrupted(Duration::from_secs(1));
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("about ") && stderr.contains("minutes"), "no word of how long it takes: {stderr}");
    assert!(out.join("base/state.safetensors").exists() && !out.join("base/model.safetensors").exists());
    let (code, stderr) = interrupted(Duration::from_secs(1));
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("train base: continues at"), "it began anew: {stderr}");
}
