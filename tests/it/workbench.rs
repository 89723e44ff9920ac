//! What the workbench asks for: features that fire, features that are looked for, and a page that holds no data.

use crate::support::server::Server;
use crate::support::{Untangle, scratch};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use tempfile::TempDir;

const PROMPT: &str = "One day, Anna met her friend Ben near the old bridge.";

/// A dictionary of the organism, and what is known of its features.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { folder: scratch() };
        let store = bench.path("store.h5");
        let capture = Untangle::new("capture organism --text organism --tokens 40000 --hook blocks.2.hook_resid_post");
        capture.option("--out", &store).succeed();
        let train = Untangle::new("train --d-sae 128 --k 8 --tokens 80000 --batch 1024").arg(&store);
        train.option("--out", bench.path("sae")).succeed();
        let features = Untangle::new("features --model organism").arg(bench.path("sae")).option("--store", &store);
        features.option("--out", bench.path("features.db")).succeed();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(&self, words: &str) -> Untangle {
        Untangle::new(words).option("--sae", self.path("sae")).option("--features", self.path("features.db"))
    }
}

/// Whether two values are the same, numbers as far as their f32 goes: answers write these with as many digits as they have.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn what_is_told_is_what_the_command_line_finds() {
    let bench = Bench::new();
    let server = Server::start(bench.with("serve organism"));
    let list = server.get("/api/v1/dictionaries").ok();
    let info = &list["dictionaries"][0];
    assert_eq!((&list["model"], &info["name"], &info["features"]), (&json!("organism"), &json!("sae"), &json!(128)));
    assert_eq!((&info["hook"], &info["k"]), (&json!("blocks.2.hook_resid_post"), &json!(8)), "{info}");
    assert!(info["described"]["rows"].as_u64().expect("a number") > 10_000, "{info}");

    // A text: every token with what fires there, losses where they are asked for.
    let expected = bench.with("read organism").option("--prompt", PROMPT).json();
    let (expected, lines) = (&expected["readings"][0]["tokens"], &expected["features"]);
    let read = |losses: bool| server.post("/api/v1/read", &json!({"prompt": PROMPT, "losses": losses})).ok();
    let whole = read(true);
    assert!(alike(&whole["tokens"], expected), "{whole}\n{expected}");
    let quick = read(false);
    for (quick, whole) in quick["tokens"].as_array().expect("tokens").iter().zip(expected.as_array().expect("tokens")) {
        assert!(quick["text"] == whole["text"] && alike(&quick["features"], &whole["features"]), "{quick}");
        assert_eq!((&quick["loss"], &quick["missing"]), (&Value::Null, &Value::Null));
    }
    for line in whole["features"].as_array().expect("features") {
        assert!(alike(line, &lines[line["feature"].to_string()]), "what is known of it: {line}");
    }
    let top = server.post("/api/v1/read", &json!({"prompt": PROMPT, "top": 1})).ok();
    assert!(
        top["tokens"].as_array().expect("tokens").iter().all(|token| token["features"]
            .as_array()
            .expect("a list")
            .len()
            <= 1)
    );

    // One feature in several texts.
    let feature = whole["tokens"][5]["features"][0]["feature"].as_u64().expect("a feature");
    let of = json!({"feature": feature, "texts": [PROMPT, "A cat."]});
    let fired = server.post("/api/v1/activations", &of).ok();
    for (at, token) in expected.as_array().expect("tokens").iter().enumerate() {
        let found = token["features"].as_array().expect("features").iter().find(|one| one["feature"] == json!(feature));
        let activation = found.map_or(0.0, |one| one["activation"].as_f64().expect("a number"));
        assert!(alike(&fired["texts"][0]["activations"][at], &json!(activation)), "token {at}");
    }
    assert_eq!(fired["texts"].as_array().map(Vec::len), Some(2));

    // Features: one, many, and all of them together.
    let shown = Untangle::new("show").arg(bench.path("features.db")).arg(feature.to_string()).json();
    let answer = server.post("/api/v1/feature", &json!({"feature": feature})).ok();
    assert_eq!(answer["feature"]["id"], json!(feature));
    assert_eq!(answer["feature"]["labels"][0]["text"], shown["features"][0]["labels"][0]["text"], "{shown}");
    let found = Untangle::new("search").arg(bench.path("features.db")).words("the --limit 5").json();
    let search = server.post("/api/v1/search", &json!({"text": "the", "limit": 5})).ok();
    assert!(alike(&search["features"], &found["features"]), "{search}\n{found}");
    assert_eq!(search["features"].as_array().map(Vec::len), Some(5));
    for (words, body) in [
        ("", json!({})),
        ("--sort density --reverse", json!({"sort": "density", "reversed": true})),
        ("--sort max --only alive", json!({"sort": "activation", "only": "alive"})),
        ("--only unlabelled", json!({"only": "unlabelled"})),
        ("--min-score 0.4 --max-density 0.05", json!({"min_score": 0.4, "max_density": 0.05})),
        ("--kind output", json!({"kind": "output"})),
    ] {
        let found = Untangle::new("search").arg(bench.path("features.db")).words(words).words("--limit 50").json();
        let listed = server.post("/api/v1/search", &body).ok();
        assert!(alike(&listed["features"], &found["features"]), "{words}\n{listed}\n{found}");
    }
    let pages: Vec<u64> = [0, 60, 120]
        .iter()
        .flat_map(|offset| {
            let page = server.post("/api/v1/search", &json!({"sort": "number", "limit": 60, "offset": offset})).ok();
            assert_eq!(page["more"], json!(*offset < 120));
            page["features"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|one| one["feature"].as_u64().expect("a number"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(pages, (0..128).collect::<Vec<u64>>());
    let overview = server.post("/api/v1/overview", &json!({})).ok();
    assert_eq!(overview["features"], json!(128));
    let alive: u64 =
        overview["densities"].as_array().expect("bins").iter().map(|n| n.as_u64().expect("a number")).sum();
    assert_eq!(alive + overview["dead"].as_u64().expect("a number"), 128);

    // A feature that makes it write about something: candidates, the model itself, each that is tried, and the end.
    let ask = json!({"concept": "bridge", "prompt": PROMPT, "texts": 4, "max_tokens": 8, "seed": 1});
    let events = server.post("/api/v1/toward", &ask).events();
    assert_eq!((&events[0]["stage"], &events[1]["feature"]), (&json!("candidates"), &Value::Null));
    let tried: Vec<&Value> = events[2..].iter().filter(|event| event["stage"] == "tried").collect();
    let candidates = events[0]["candidates"].as_array().expect("a list");
    assert!(tried.len() >= candidates.len() && tried.iter().all(|one| one["trials"] == 4), "{events:?}");
    assert_eq!(tried[0]["steering"], json!([format!("{}:set=1x", candidates[0]["feature"])]));
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let bench = Bench::new();
    let server = Server::start(bench.with("serve organism"));
    let refused = |path: &str, body: Value, status: u16| server.post(path, &body).fault(status);
    for (path, body, status, place) in [
        ("read", json!({}), 400, "prompt"),
        ("read", json!({"prompt": "x", "top": 0}), 400, "top"),
        ("read", json!({"prompt": "x", "dictionary": "other"}), 404, "dictionary"),
        ("activations", json!({"texts": ["x"]}), 400, "feature"),
        ("activations", json!({"feature": 128, "texts": ["x"]}), 404, "feature"),
        ("activations", json!({"feature": 1, "texts": []}), 400, "texts"),
        ("feature", json!({"feature": u64::MAX}), 404, "feature"),
        ("feature", json!({"feature": -1}), 400, "feature"),
        ("search", json!({"limit": 501}), 400, "limit"),
        ("search", json!({"sort": "beauty"}), 400, "sort"),
        ("overview", json!({"dictionary": 3}), 400, "dictionary"),
        ("toward", json!({"concept": "?", "prompt": "x"}), 400, "concept"),
        ("toward", json!({"concept": "zzzzzz", "prompt": "x"}), 404, "concept"),
        ("toward", json!({"concept": "bridge"}), 400, "prompt"),
    ] {
        assert_eq!(refused(&format!("/api/v1/{path}"), body.clone(), status).0, place, "{path} {body}");
    }
    let (place, message) = refused("/api/v1/read", json!({"prompt": "A cat and a dog. ".repeat(6000)}), 400);
    assert!(place == "prompt" && message.contains("read at once; shorten it"), "{message}");
    let many = vec!["A cat and a dog saw the bird."; 64].join(" ");
    let (place, message) = refused("/api/v1/activations", json!({"feature": 1, "texts": vec![many.as_str(); 64]}), 400);
    assert!(place == "texts", "{message}");

    let bare = Server::start(Untangle::new("serve organism").option("--sae", bench.path("sae")));
    assert_eq!(bare.get("/api/v1/dictionaries").ok()["dictionaries"][0]["described"], Value::Null);
    let read = bare.post("/api/v1/read", &json!({"prompt": PROMPT})).ok();
    assert!(read["features"] == json!([]) && read["tokens"][3]["features"][0]["feature"].is_u64(), "{read}");
    for (path, body) in
        [("feature", json!({"feature": 1})), ("search", json!({})), ("toward", json!({"concept": "a", "prompt": "a"}))]
    {
        let (_, message) = bare.post(&format!("/api/v1/{path}"), &body).fault(404);
        assert!(message.contains("untangle features"), "{message}");
    }
    let none = Server::start(Untangle::new("serve organism"));
    let (_, message) = none.post("/api/v1/read", &json!({"prompt": PROMPT})).fault(404);
    assert!(message.contains("--sae"), "{message}");
}

#[test]
fn the_page_is_its_own_and_asks_for_a_token_itself() {
    let server = Server::with_token(Untangle::new("serve organism"), None);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "trusted-types 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(server.get("/assets/main.js").header("content-type"), Some("text/javascript; charset=utf-8"));
    for name in ["/assets/", "/assets/none.js", "/assets/..%2f..%2fCargo.toml", "/assets/../openapi.json/"] {
        assert_eq!(server.get(name).status, 404, "{name}");
    }
    assert_eq!(server.status_of("GET / HTTP/1.1\nhost: evil.example\n\n"), 403, "another name");
    assert_eq!(server.status_of("GET /assets/main.js HTTP/1.1\nhost: localhost\nsec-fetch-site: cross-site\n\n"), 403);
    assert_eq!(server.status_of("POST / HTTP/1.1\nhost: localhost\ncontent-length: 0\n\n"), 405);

    let folder = scratch();
    let file = folder.path().join("token");
    std::fs::write(&file, "a-secret-of-many-letters").expect("written");
    let locked = Server::with_token(Untangle::new("serve organism").option("--token-file", &file), None);
    assert_eq!((locked.get("/").status, locked.get("/assets/ask.js").status), (200, 200));
    assert_eq!((locked.get("/api/v1/dictionaries").status, locked.get("/health").status), (401, 401));
}

#[test]
fn questions_wait_in_a_bounded_queue_and_are_given_up_with_their_client() {
    let bench = Bench::new();
    let server = Server::start(bench.with("serve organism --queue 4"));
    let long = json!({"prompt": "The cat sat near the bridge. ".repeat(20), "losses": true});
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asked: Vec<_> = (0..24).map(|_| scope.spawn(|| server.post("/api/v1/read", &long).status)).collect();
        asked.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    assert!(statuses.iter().all(|status| [200, 429].contains(status)) && statuses.contains(&200), "{statuses:?}");
    server.wait_until("idle", |health| health["questions"] == 0);
    let read = server.post("/api/v1/read", &json!({"prompt": PROMPT})).ok();
    assert!(read["tokens"].as_array().is_some_and(|tokens| tokens.len() > 5));
}

#[test]
fn without_words_it_is_the_demo_that_is_served_or_what_to_do_instead() {
    let folder = scratch();
    let asked = |words: &str| Untangle::new(words).in_folder(folder.path()).run();
    asked("serve --port 0").fails_with(3, &["untangle demo", "untangle serve MODEL"]);
    asked("serve --port 0 --sae x").fails_with(2, &["name it first"]);
    let bench = Bench::new();
    let demo = bench.path("demo-output");
    std::fs::create_dir(&demo).expect("made");
    for name in ["sae", "features.db"] {
        std::fs::rename(bench.path(name), demo.join(name)).expect("moved");
    }
    let server = Server::start(Untangle::new("serve").in_folder(bench.folder.path()));
    let list = server.get("/api/v1/dictionaries").ok();
    assert_eq!((&list["model"], &list["dictionaries"][0]["features"]), (&json!("organism"), &json!(128)));
}
