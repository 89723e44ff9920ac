//! The server under strain: what is wrong, who may not ask, a hundred at once, clients that leave, long bodies, signals.

use crate::support::server::{Server, status};
use crate::support::{Untangle, scratch};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::thread;

const PROMPT: &str = "One day, Anna met her friend Ben. They";

fn served(words: &str) -> Server {
    Server::start(Untangle::new("serve").words(words))
}

fn text(completion: &Value) -> String {
    completion["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {completion}")).to_owned()
}

#[test]
fn what_is_wrong_is_said_and_the_server_stays() {
    let server = served("organism --max-tokens 20");
    let refused = |body: Value| server.complete(&body).fault(400);
    let (place, message) = refused(json!({"prompt": "very ".repeat(3000)}));
    assert!(place == "prompt" && message.contains("context"), "{message}");
    for (body, place) in [
        (json!({}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [[]]}), "prompt"),
        (json!({"prompt": [1_000_000]}), "prompt"),
        (json!({"prompt": [-1]}), "prompt"),
        (json!({"prompt": {}}), "prompt"),
        (json!({"prompt": "x", "temperature": -1}), "temperature"),
        (json!({"prompt": "x", "temperature": "hot"}), "temperature"),
        (json!({"prompt": "x", "top_p": 0}), "top_p"),
        (json!({"prompt": "x", "n": 0}), "n"),
        (json!({"prompt": "x", "n": 129}), "n"),
        (json!({"prompt": "x", "best_of": 2}), "best_of"),
        (json!({"prompt": "x", "logprobs": 21}), "logprobs"),
        (json!({"prompt": "x", "stop": ""}), "stop"),
        (json!({"prompt": "x", "presence_penalty": 1}), "presence_penalty"),
        (json!({"prompt": "x", "logit_bias": {"3": 1}}), "logit_bias"),
        (json!({"prompt": "x", "stream_options": {}}), "stream_options"),
        (json!({"prompt": "x", "steering": [{"feature": 1, "add": 1}]}), "steering[0]"),
        (json!({"prompt": "x", "steerin": [{"feature": 1, "add": 1}]}), "steerin"),
        (json!({"prompt": "x", "extra_body": {"steering": []}}), "extra_body"),
        (json!({"prompt": "x", "steering": [{"vector": "/etc/passwd"}]}), "steering[0]"),
        (json!({"prompt": vec!["x"; 300]}), "prompt"),
    ] {
        assert_eq!(refused(body.clone()).0, place, "{body:.60}");
    }
    assert_eq!(server.complete(&json!({"model": "gpt-4", "prompt": "x"})).fault(404).0, "model");
    for path in [
        "/index.html",
        "/assets/",
        "/assets/../../etc/passwd",
        "/assets/%2e%2e/Cargo.toml",
        "/v1/models/../../etc/passwd",
        "/v1/models/%2e%2e%2fCargo.toml",
        "/v1/models/gpt-4",
        "/v2/completions",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let wrong_method = server.get("/v1/completions");
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    // An empty prompt is one where the model has a beginning of texts; tokens are no more than the server's.
    let empty = server.complete(&json!({"prompt": "", "max_tokens": 999, "temperature": 0})).ok();
    assert!(empty["usage"]["completion_tokens"].as_u64().expect("a number") <= 20, "{empty}");
    let served: Value = server.get("/openapi.json").ok();
    assert_eq!(served["openapi"], "3.1.0");
    let health = server.get("/health").ok();
    assert_eq!((&health["status"], &health["queue"]), (&json!("ok"), &json!(256)));
}

#[test]
fn nobody_is_let_in_who_should_not_be() {
    let server = served("organism");
    let host = format!("127.0.0.1:{}", server.port);
    let asked = |headers: &str| server.status_of(&format!("GET /v1/models HTTP/1.1\n{headers}\n\n"));
    assert_eq!(asked(&format!("host: {host}")), 200);
    assert_eq!(asked(&format!("host: {host}\norigin: http://{host}\nsec-fetch-site: same-origin")), 200);
    for wrong in [
        "host: evil.example",
        &format!("host: evil.example:{}", server.port),
        &format!("host: {host}\norigin: http://evil.example"),
        &format!("host: {host}\norigin: null"),
        &format!("host: {host}\norigin: http://127.0.0.1:1"),
        &format!("host: {host}\nsec-fetch-site: cross-site"),
        "x: y",
    ] {
        assert_eq!(asked(wrong), 403, "{wrong}");
    }
    // A page can send text to anyone without asking, but no JSON.
    let body = "{\"prompt\": \"x\"}";
    let post = |kind: &str| {
        server.status_of(&format!(
            "POST /v1/completions HTTP/1.1\nhost: {host}\ncontent-type: {kind}\ncontent-length: {}\n\n{body}",
            body.len()
        ))
    };
    assert_eq!((post("text/plain"), post("application/json; charset=utf-8")), (415, 200));

    let folder = scratch();
    let token = folder.path().join("token");
    let everywhere = || Untangle::new("serve organism --host 0.0.0.0");
    everywhere().run().fails_with(2, &["needs a token", "--token-file"]);
    std::fs::write(&token, "short\n").expect("written");
    everywhere().option("--token-file", &token).run().fails_with(2, &["too short"]);
    std::fs::write(&token, "a-secret-of-many-letters\n").expect("written");
    let server = Server::with_token(everywhere().option("--token-file", &token), Some("a-secret-of-many-letters"));
    assert_eq!(server.get("/v1/models").status, 200);
    let asked = |headers: &str| server.status_of(&format!("GET /v1/models HTTP/1.1\nhost: any.example\n{headers}\n\n"));
    assert_eq!(asked("authorization: Bearer a-secret-of-many-letters"), 200);
    assert_eq!(asked("authorization: Bearer a-secret-of-many-letterz"), 401);
    assert_eq!(asked("x: y"), 401);
}

#[test]
fn a_hundred_at_once_are_answered_or_told_to_wait() {
    let patient = served("organism");
    let body = json!({"prompt": PROMPT, "max_tokens": 12, "temperature": 0});
    let alone = text(&patient.complete(&body).ok());
    let hundred = |server: &Server, body: &Value| -> Vec<(u16, String, bool)> {
        thread::scope(|scope| {
            let ask = || {
                let answer = server.complete(body);
                let text = if answer.status == 200 { text(&answer.json()) } else { String::new() };
                (answer.status, text, answer.header("retry-after").is_some())
            };
            let asked: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|answer| answer.join().expect("an answer")).collect()
        })
    };
    assert!(hundred(&patient, &body).into_iter().all(|answer| answer == (200, alone.clone(), false)));

    let busy = served("organism --batch 1 --queue 3");
    let long = json!({"prompt": PROMPT, "max_tokens": 60, "temperature": 0, "n": 3});
    let found = hundred(&busy, &long);
    assert!(found.iter().all(|(status, _, again)| *status == if *again { 429 } else { 200 }), "{found:?}");
    assert!(found.iter().any(|(_, _, again)| *again) && found.iter().any(|(_, _, again)| !again), "{found:?}");
    assert_eq!(busy.complete(&body).status, 200);
}

/// Says a request for a stream, and reads up to its first event.
fn stream(server: &Server, body: &Value) -> BufReader<std::net::TcpStream> {
    let body = body.to_string();
    let mut stream = server.connect();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a line") > 0, "the stream ends");
    }
    reader
}

#[test]
fn those_who_never_finish_what_they_say_keep_nobody_waiting_for_long() {
    let server = served("organism");
    // While it stands still, the system keeps all who come, and in the order in which they came.
    server.signal("-STOP");
    let say = |text: &str| {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).expect("sent");
        stream
    };
    let those: Vec<_> = (0..300).map(|_| say("GET /health HTTP/1.1\r\nhost: local")).collect();
    let mut last = say("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    server.signal("-CONT");
    let mut answer = String::new();
    last.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many connections"),
        "there is room for 256: {answer}"
    );
    drop(those);
    server.wait_until("room", |health| health["status"] == "ok");
}

#[test]
fn texts_of_a_client_that_leaves_are_given_up() {
    let server = served("organism --batch 1");
    let long = json!({"prompt": PROMPT, "max_tokens": 500, "n": 120, "stream": true});
    let reader = stream(&server, &long);
    server.wait_until("waiting", |health| health["waiting"].as_u64() > Some(60));
    drop(reader);
    server.wait_until("given up", |health| health["waiting"] == 0 && health["writing"] == 0);
    // One that does not stream leaves in the same way.
    let mut silent = server.connect();
    let body = json!({"prompt": PROMPT, "max_tokens": 500, "n": 120}).to_string();
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    silent.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("sent");
    server.wait_until("waiting", |health| health["waiting"].as_u64() > Some(60));
    drop(silent);
    server.wait_until("given up", |health| health["waiting"] == 0 && health["writing"] == 0);
    // Who waits is told where.
    let first = stream(&server, &long);
    let body = json!({"prompt": PROMPT, "max_tokens": 1, "stream": true}).to_string();
    let mut second = server.connect();
    second.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("sent");
    let mut lines = BufReader::new(second).lines().map(|line| line.expect("a line"));
    let before = lines.find_map(|line| line.strip_prefix("x-texts-before: ").and_then(|n| n.parse::<u64>().ok()));
    assert!(before > Some(100), "the head says how many are before: {before:?}");
    let places: Vec<String> = lines.filter(|line| line.starts_with(": ")).take(2).collect();
    assert!(places.iter().all(|line| line.ends_with(" texts before this one")) && places[0] != places[1], "{places:?}");
    drop(first);
}

#[test]
fn a_body_of_a_hundred_megabytes_is_refused_and_told_so() {
    let server = served("organism");
    let mut stream = server.connect();
    let size = 100_000_000;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}content-length: {size}\r\n\r\n").as_bytes()).expect("sent");
    let piece = vec![b' '; 1_000_000];
    for _ in 0..size / piece.len() {
        stream.write_all(&piece).expect("taken");
    }
    assert_eq!(status(&mut stream), 413);
    // Who asks before is told before.
    let expects = format!("{head}content-length: {size}\nexpect: 100-continue\n\n").replace("\r\n", "\n");
    assert_eq!(server.status_of(&expects), 413);
    // What nobody would read to its end is refused at once.
    let endless = format!("{head}content-length: 99999999999\r\n\r\n").replace("\r\n", "\n");
    assert_eq!(server.status_of(&endless), 413);
    // Whoever breaks off harms nobody.
    let mut stream = server.connect();
    stream.write_all(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).expect("sent");
    drop(stream);
    assert_eq!(server.status_of("nonsense\n\n"), 400);
    assert_eq!(server.complete(&json!({"prompt": PROMPT, "max_tokens": 1})).status, 200);
}

#[test]
fn what_is_wrong_with_the_command_line_is_said_before_anything_is_served() {
    let server = served("organism");
    let second = Untangle::new("serve organism").option("--port", server.port.to_string()).run();
    second.fails_with(4, &[&format!("127.0.0.1:{}", server.port), "another program listens there", "--port 0"]);
    Untangle::new("serve organism --port 70000").run().fails_with(2, &["70000"]);
    Untangle::new("serve organism --host 192.0.2.1")
        .env("UNTANGLE_TOKEN", "a-secret-of-many-letters")
        .run()
        .fails_with(4, &["192.0.2.1:8765", "cannot be listened at"]);
    // What is to be steered is looked at when it starts.
    for (steered, parts) in [
        ("x=12:add=1", ["--steered x", "there is no dictionary; give it with --sae"]),
        ("organism=12:add=1", ["--steered organism", "the model's own name"]),
        ("x=12:clamp=1", ["--steered", "no operator `clamp`"]),
    ] {
        Untangle::new("serve organism --port 0").option("--steered", steered).run().fails_with(2, &parts);
    }
    let bench = scratch();
    let recipe = bench.path().join("x.toml");
    std::fs::write(&recipe, "steer = [\"token ' cat' in blocks.1.hook_resid_post:project-out\"]").expect("written");
    let step = "x=token ' dog' in blocks.1.hook_resid_post:project-out";
    let both = Untangle::new("serve organism --port 0").option("--recipe", &recipe).option("--steered", step).run();
    both.fails_with(2, &["--steered x", "x.toml", "under this name"]);
    Untangle::new("serve organism --port 0")
        .option("--vector", bench.path().join("none.gguf"))
        .run()
        .fails_with(3, &["none.gguf"]);
}

#[test]
fn a_signal_ends_it_when_what_was_promised_is_sent() {
    for signal in ["-INT", "-TERM"] {
        let server = served("organism --batch 2");
        let port = server.port;
        let short = json!({"prompt": PROMPT, "max_tokens": 40, "stream": true});
        let mut reader = stream(&server, &short);
        let queued = json!({"prompt": PROMPT, "max_tokens": 500, "n": 100, "stream": true});
        let mut waiting = stream(&server, &queued);
        let (code, told) = server.end(signal);
        assert_eq!(code, Some(130), "{told}");
        assert!(told.lines().last().is_some_and(|line| line.starts_with("interrupted")), "{told}");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("text");
        assert!(rest.contains("data: [DONE]"), "{rest}");
        rest.clear();
        waiting.read_to_string(&mut rest).expect("text");
        assert!(rest.contains("shutting_down"), "{rest}");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    }
}
