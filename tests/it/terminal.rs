//! Text from files and hubs is shown and not obeyed: nothing that is printed holds a control character.

use crate::hub_server::Hub;
use crate::support::{Outcome, TinyModel, Untangle, corpus_text, scratch};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Sets the title, clears the screen (in both spellings), turns the direction round, ends a line.
const ACTS: &str = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{2066}\u{7f}\r";

/// What is printed, but for line breaks and tabs, does nothing; and something of it shows what would have.
fn is_shown(what: &str, outcome: &Outcome) {
    for text in [&outcome.stdout, &outcome.stderr] {
        let acting: Vec<char> = text.chars().filter(|c| acts(*c)).collect();
        assert!(acting.is_empty(), "{what}: {acting:?} in {text}");
    }
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    // The parser of arguments leaves out sequences that begin with an escape, of what it quotes itself.
    assert!(all.contains("\\u009b2J\\u202e"), "{what}: what acts is left out and not shown: {all}");
}

fn acts(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || "\u{202e}\u{2066}".contains(c)
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("the scratch folder is writable");
}

#[test]
fn what_files_say_reaches_no_terminal_as_it_is() {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    let (model, text) = (TinyModel::write(folder.path()), corpus_text(folder.path(), 20));
    let capture = |model: &Path, text: &Path| {
        Untangle::new("capture --context 32 --threads 1")
            .arg(model)
            .option("--hook", TinyModel::HOOK)
            .option("--text", text)
            .option("--out", at("x.h5"))
    };
    capture(&model.path, &text).succeed();
    let sae = at("sae");
    Untangle::new("train --d-sae 32 --k 4 --batch 128 --tokens 2048 --threads 1")
        .arg(at("x.h5"))
        .option("--out", &sae)
        .succeed();

    // Settings: a grid, a dictionary's, a model's, a tensor's header, a template's own error.
    write(&at("grid.toml"), format!("[[sae]]\n{ACTS} = 1\n"));
    is_shown(
        "grid",
        &Untangle::new("train").arg(at("x.h5")).option("--grid", at("grid.toml")).option("--out", at("g")).run(),
    );
    let settings: Value = serde_json::from_slice(&fs::read(sae.join("cfg.json")).expect("written")).expect("JSON");
    let mut changed = settings.clone();
    changed["architecture"] = json!(format!("topk{ACTS}"));
    write(&sae.join("cfg.json"), changed.to_string());
    is_shown("cfg.json", &Untangle::new("inspect").arg(&sae).run());
    write(&sae.join("cfg.json"), settings.to_string());
    let tokenizer = model.path.join("tokenizer_config.json");
    let kept = fs::read(&tokenizer).expect("written");
    write(&tokenizer, json!({ "chat_template": format!("{{{{ raise_exception('{ACTS}') }}}}") }).to_string());
    write(&at("chat.jsonl"), json!({ "messages": [{ "role": "user", "content": "a" }] }).to_string());
    is_shown("template", &capture(&model.path, &at("chat.jsonl")).words("--chat --force").run());
    write(&tokenizer, kept);
    let weights = model.path.join("model.safetensors");
    let header = json!({ "W": { "dtype": ACTS, "shape": [1], "data_offsets": [0, 4] } }).to_string();
    write(&weights, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat());
    is_shown("header", &capture(&model.path, &text).words("--force").run());

    // Names: of a file that is there, of one that is not, of one that is quoted by the parser of arguments.
    let odd = at(&format!("odd{ACTS}.npy"));
    write(&odd, "no matrix");
    is_shown("a file", &Untangle::new("inspect").arg(&odd).run());
    is_shown("no file", &Untangle::new("inspect").arg(at(ACTS)).run());
    is_shown("an argument", &Untangle::new("inspect a").arg(ACTS).run());
    is_shown("an option", &Untangle::new("inspect").arg(format!("--{ACTS}")).run());
}

#[test]
fn what_a_database_says_reaches_no_terminal_as_it_is() {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    let (model, text) = (TinyModel::write(folder.path()), corpus_text(folder.path(), 40));
    let capture = Untangle::new("capture --context 32 --threads 1").arg(&model.path);
    capture.option("--hook", TinyModel::HOOK).option("--text", &text).option("--out", at("x.h5")).succeed();
    let train = Untangle::new("train --d-sae 32 --k 4 --batch 128 --tokens 4096 --threads 1").arg(at("x.h5"));
    train.option("--out", at("sae")).succeed();
    let features = Untangle::new("features --threads 1").arg(at("sae")).option("--store", at("x.h5"));
    features.option("--model", &model.path).option("--out", at("f.db")).succeed();

    let database = Connection::open(at("f.db")).expect("a database");
    let set = |sql: &str, value: &str| database.execute(sql, params![value]).expect("changed");
    set("UPDATE labels SET text = ?1", &format!("label\n{ACTS}"));
    // Beside the measure that decides which features are shown.
    let columns = "value, low, high, floor, control, n, detail, judge FROM scores";
    set(&format!("INSERT INTO scores SELECT feature, kind, source, ?1, {columns} WHERE scorer = 'f1'"), ACTS);
    set("UPDATE logits SET token = ?1", ACTS);
    set("UPDATE words SET label = ?1", "label");
    set("UPDATE run SET value = ?1 WHERE key IN ('sae', 'store', 'tool_version')", &json!(ACTS).to_string());
    let mut select = database.prepare("SELECT feature, kind, rank, tokens FROM examples").expect("prepared");
    let rows = select.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
    });
    for (feature, kind, rank, tokens) in rows.expect("asked").map(|row| row.expect("read")) {
        let n = serde_json::from_str::<Vec<String>>(&tokens).expect("tokens").len();
        let sql = "UPDATE examples SET tokens = ?1 WHERE feature = ?2 AND kind = ?3 AND rank = ?4";
        database.execute(sql, params![json!(vec![ACTS; n]).to_string(), feature, kind, rank]).expect("changed");
    }
    drop(select);
    let commands = [
        Untangle::new("show").arg(at("f.db")),
        Untangle::new("show").arg(at("f.db")).arg("3"),
        Untangle::new("search").arg(at("f.db")).arg("label"),
        Untangle::new("inspect").arg(at("f.db")),
    ];
    for command in commands {
        let what = format!("{command:?}");
        is_shown(&what, &command.run());
    }
    for verb in ["show", "inspect"] {
        let outcome = Untangle::new(verb).arg(at("f.db")).arg("--json").run();
        is_shown(verb, &outcome);
        let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert!(
            value.to_string().contains(&json!(ACTS).to_string().trim_matches('"').to_owned()),
            "{verb}: the value stays"
        );
    }
}

#[test]
fn what_a_hub_lists_reaches_no_terminal_as_it_is() {
    let folder = scratch();
    let (hub, text) = (Hub::start(), corpus_text(folder.path(), 3));
    let index = json!({ "weight_map": { "a": format!("w{ACTS}.safetensors") } }).to_string();
    hub.put("owner/tiny", "main", "config.json", b"{}");
    hub.put("owner/tiny", "main", "model.safetensors.index.json", index.as_bytes());
    let capture = Untangle::new("capture owner/tiny --threads 1 --hook").arg(TinyModel::HOOK).option("--text", text);
    let capture = capture.option("--out", folder.path().join("x.h5"));
    let settings =
        ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];
    let capture = capture.env("HF_ENDPOINT", hub.endpoint()).env("HF_HOME", folder.path().join("cache"));
    let capture = settings.into_iter().fold(capture, Untangle::without_env);
    is_shown("hub", &capture.run());
}
