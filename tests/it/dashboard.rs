//! `untangle dashboard`: a folder that is whole or not there, of which nothing but data is made of what a database says.

use crate::support::{TinyModel, Untangle, corpus_text, entries, scratch};
use rusqlite::{Connection, params};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
/// Ends scripts and strings, begins markup, sets titles, turns the direction round.
const NASTY: &str = "</script><img src=x onerror=alert(1)>'\"\\ \u{1b}]0;x\u{7}\u{202e}\u{2028}`${1}";

struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let case = Case { folder: scratch() };
        let (model, text) = (TinyModel::write(case.folder.path()), corpus_text(case.folder.path(), 40));
        let capture =
            Untangle::new("capture --context 32 --threads 1 -q").arg(&model.path).option("--hook", TinyModel::HOOK);
        capture.option("--text", &text).option("--out", case.path("x.h5")).succeed();
        let train =
            Untangle::new("train --d-sae 96 --k 4 --batch 128 --tokens 4096 --threads 1 -q").arg(case.path("x.h5"));
        train.option("--out", case.path("sae")).succeed();
        let features =
            Untangle::new("features --threads 1 -q").arg(case.path("sae")).option("--store", case.path("x.h5"));
        features.option("--model", &model.path).option("--out", case.path("f.db")).succeed();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dashboard(&self, out: &str) -> Untangle {
        Untangle::new("dashboard -q").arg(self.path("f.db")).option("--out", self.path(out))
    }
}

/// What a file of data gives to `untangle.load`.
fn loaded(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let call =
        text.trim_end().strip_prefix("untangle.load('").and_then(|call| call.strip_suffix(");")).expect("a call");
    let value = call.splitn(3, ", ").nth(2).expect("three arguments");
    serde_json::from_str(value).expect("JSON")
}

#[test]
fn every_feature_is_in_the_folder_as_the_database_has_it() {
    let case = Case::new();
    let report = case.dashboard("page").json();
    let page = case.path("page");
    assert_eq!(entries(&page), ["assets", "dashboard.json", "data", "index.html"]);
    assert_eq!(
        entries(&page.join("data")),
        ["features-00000.js", "features-00001.js", "index-0000.js", "run.js"],
        "64 features a file"
    );
    assert_eq!(report["features"], 96);
    let bytes = fs::metadata(page.join("data/index-0000.js")).expect("there").len();
    assert!(report["index_bytes"] == bytes && bytes < 96 * 1024, "{report}");
    // One that has examples, wherever it lies.
    let found = Untangle::new("search --sort density --limit 1").arg(case.path("f.db")).json();
    let id = found["features"][0]["feature"].as_u64().expect("a number") as usize;
    let shown = Untangle::new("show").arg(case.path("f.db")).arg(id.to_string()).json()["features"][0].clone();
    let shard = loaded(&page.join(format!("data/features-{:05}.js", id / 64)));
    let feature = &shard["features"][id % 64];
    assert_eq!(feature["id"], id);
    assert_eq!(feature["labels"].as_array().map(Vec::len), shown["labels"].as_array().map(Vec::len));
    let (example, drawn) = (&shown["examples"][0], &feature["top"][0]);
    let token = |at: &Value| shard["tokens"][at.as_u64().expect("an index") as usize].clone();
    let drawn_tokens: Vec<Value> = drawn["t"].as_array().expect("tokens").iter().map(token).collect();
    assert_eq!(Value::from(drawn_tokens), example["tokens"]);
    assert_eq!(drawn["k"], example["peak"]);
    let near: Vec<&Value> =
        shown["neighbours"].as_array().expect("a list").iter().map(|near| &near["feature"]).collect();
    let drawn: Vec<&Value> = feature["near"].as_array().expect("a list").iter().map(|near| &near[1]).collect();
    assert_eq!(near, drawn);
    let run = loaded(&page.join("data/run.js"));
    assert_eq!((&run["features"], &run["sae"]), (&Value::from(96), &Value::from("sae")));
    // The same database gives the same bytes.
    case.dashboard("again").succeed();
    for file in entries(&page.join("data")) {
        let read = |folder: &str| fs::read(case.path(folder).join("data").join(&file)).expect("there");
        assert!(read("page") == read("again"), "{file} differs");
    }
}

#[test]
fn what_a_database_says_is_data_and_never_program() {
    let case = Case::new();
    let database = Connection::open(case.path("f.db")).expect("a database");
    let set = |sql: &str| database.execute(sql, params![NASTY]).expect("changed");
    set("INSERT OR REPLACE INTO labels VALUES (3, 'input', ?1, ?1)");
    set("UPDATE logits SET token = ?1");
    let name = serde_json::json!(NASTY).to_string();
    database.execute("UPDATE run SET value = ?1 WHERE key = 'sae'", params![name]).expect("changed");
    drop(database);
    case.dashboard("page").succeed();
    let shard = loaded(&case.path("page/data/features-00000.js"));
    let labels = shard["features"][3]["labels"].as_array().expect("labels").clone();
    assert!(labels.iter().any(|label| label["text"] == NASTY && label["source"] == NASTY), "{labels:?}");
    assert_eq!(loaded(&case.path("page/data/run.js"))["sae"], NASTY);
    // The page itself and its scripts say nothing of the database, and ask nobody for anything.
    for name in
        ["index.html", "assets/style.css", "assets/parts.js", "assets/data.js", "assets/list.js", "assets/dashboard.js"]
    {
        let text = fs::read_to_string(case.path("page").join(name)).expect("text");
        assert!(!text.contains("onerror=alert"), "{name}");
        let addresses = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!addresses.contains("http:") && !addresses.contains("https:") && !addresses.contains("url("), "{name}");
        for making in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch("]
        {
            assert!(!text.contains(making), "{name} has {making}");
        }
    }
}

#[test]
fn only_a_finished_dashboard_is_replaced() {
    let case = Case::new();
    case.dashboard("page").succeed();
    case.dashboard("page").run().fails_with(USAGE, &["exists already", "--force"]);
    case.dashboard("page").arg("--force").succeed();
    fs::write(case.path("page/data/notes.txt"), "mine").expect("written");
    case.dashboard("page").arg("--force").run().fails_with(USAGE, &["is not a finished dashboard"]);
    assert_eq!(fs::read_to_string(case.path("page/data/notes.txt")).expect("kept"), "mine");
    case.dashboard("sae").arg("--force").run().fails_with(USAGE, &["is not a finished dashboard"]);
    case.dashboard("f.db").arg("--force").run().fails_with(USAGE, &["f.db"]);
    // Unfinished work of a killed run goes; what is somebody else's stays.
    fs::create_dir_all(case.path("new.partial/finished/data")).expect("made");
    fs::write(case.path("new.partial/finished/data/run.js"), "half").expect("written");
    case.dashboard("new").succeed();
    assert!(!case.path("new.partial").exists());
    fs::create_dir_all(case.path("other.partial")).expect("made");
    fs::write(case.path("other.partial/notes.txt"), "mine").expect("written");
    case.dashboard("other").run().fails_with(BAD_INPUT, &["other.partial", "move it away"]);
    assert!(case.path("other.partial/notes.txt").exists() && !case.path("other").exists());
    // A database that breaks on the way leaves nothing.
    let database = Connection::open(case.path("f.db")).expect("a database");
    database.execute("UPDATE examples SET tokens = '[]'", []).expect("changed");
    drop(database);
    case.dashboard("broken").run().fails_with(BAD_INPUT, &["f.db"]);
    assert!(!case.path("broken").exists() && !case.path("broken.partial").exists());
}
