//! The server: what is asked of it is what the command line gives, in the forms of OpenAI's API.

use crate::support::server::Server;
use crate::support::{Untangle, scratch};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use tempfile::TempDir;

const PROMPT: &str = "One day, Anna met her friend Ben. They";
const OTHER: &str = "Once upon a time there was a";
const CHAT: &str = "/v1/chat/completions";

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
        features.option("--out", bench.path("sae.db")).succeed();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(&self, words: &str) -> Untangle {
        Untangle::new(words).option("--sae", self.path("sae")).option("--features", self.path("sae.db"))
    }
}

fn served(words: &str) -> Server {
    Server::start(Untangle::new("serve").words(words))
}

fn text(completion: &Value) -> String {
    completion["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {completion}")).to_owned()
}

/// All texts of an answer that comes in pieces, by choice.
fn whole(events: &[Value], of: impl Fn(&Value) -> &Value) -> Vec<String> {
    let mut texts = Vec::new();
    for choice in events.iter().flat_map(|event| event["choices"].as_array().expect("choices")) {
        let index = choice["index"].as_u64().expect("a number") as usize;
        texts.resize(texts.len().max(index + 1), String::new());
        texts[index] += of(choice).as_str().unwrap_or_default();
    }
    texts
}

#[test]
fn what_is_served_is_what_the_command_line_steers() {
    let bench = Bench::new();
    let steered = "seven=7:add=2x";
    let server = Server::start(bench.with("serve organism --batch 4").option("--steered", steered));
    let card = server.get("/v1/models").ok()["data"][0].clone();
    assert_eq!((&card["id"], &card["dictionaries"][0]["name"]), (&json!("organism"), &json!("sae")), "{card}");
    assert_eq!((&card["dictionaries"][0]["features"], &card["chat"]), (&json!(128), &json!(false)), "{card}");
    assert_eq!(server.get("/v1/models/organism").ok(), card);
    assert_eq!(server.get("/v1/models/seven").ok()["steering"], json!(["7:add=2x"]));

    let steerings = [
        ("7:add=2x", json!([{"feature": 7, "add": "2x"}])),
        ("9:set=4 at generated", json!([{"feature": 9, "set": 4, "at": "generated"}])),
        ("3:mul=3 when 4<1", json!(["3:mul=3 when 4<1"])),
        ("11:add-direction=0.3n at prompt[-1]", json!([{"feature": 11, "add-direction": "0.3n", "at": "prompt[-1]"}])),
        ("5:add=0", json!([])),
    ];
    let cases: Vec<(&str, &str, &Value, u64)> = steerings
        .iter()
        .flat_map(|(words, field)| [(PROMPT, 3), (OTHER, 4)].map(|(prompt, seed)| (*words, prompt, field, seed)))
        .collect();
    let expected = |(words, prompt, _, seed): &(&str, &str, &Value, u64)| {
        let steer = bench.with("steer organism --tokens 24 --temperature 0.8 --top-k 30 --repetition-penalty 1.1");
        let steer = steer.option("--feature", words).option("--prompt", prompt).option("--seed", seed.to_string());
        steer.json()["steered"][0]["steered"].as_str().expect("a text").to_owned()
    };
    let ask = |(_, prompt, field, seed): &(&str, &str, &Value, u64)| {
        server
            .complete(&json!({"model": "organism", "prompt": prompt, "steering": field, "seed": seed, "max_tokens": 24,
            "temperature": 0.8, "top_k": 30, "repetition_penalty": 1.1, "echo": true}))
    };
    // All at once, so that they are written side by side; then as the command line has them alone.
    let found: Vec<String> = thread::scope(|scope| {
        let asked: Vec<_> = cases.iter().map(|case| scope.spawn(move || text(&ask(case).ok()))).collect();
        asked.into_iter().map(|answer| answer.join().expect("an answer")).collect()
    });
    for (case, found) in cases.iter().zip(&found) {
        assert_eq!(*found, expected(case), "{case:?}");
    }
    assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "{found:?}");

    // What was understood is said; a label names a feature as on the command line.
    let answer =
        server.complete(&json!({"prompt": PROMPT, "steering": [{"feature": 7, "add": "2x"}], "max_tokens": 4})).ok();
    assert_eq!(answer["steering"], json!(["7:add=2x"]));
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    // A name under which the model is steered; what a request says itself is steered beside it.
    let under = |name: &str, steering: Value| {
        let body = json!({"model": name, "prompt": PROMPT, "steering": steering, "max_tokens": 24, "temperature": 0});
        text(&server.complete(&body).ok())
    };
    let (feature, beside) = (json!({"feature": 7, "add": "2x"}), json!({"feature": 9, "set": 4}));
    assert_eq!(under("seven", json!([])), under("organism", json!([feature])));
    assert_eq!(under("seven", json!([beside])), under("organism", json!([feature, beside])));
    let ablated = json!({"feature": 7, "set": 0});
    assert_eq!(under("seven", json!([ablated])), under("organism", json!([ablated])), "what is asked for comes last");
    let refused = |steering: Value| server.complete(&json!({"prompt": PROMPT, "steering": steering})).fault(400);
    let (place, message) = refused(json!(["7:add=2x", {"feature": 128}]));
    assert!(place == "steering[1]" && message.contains("no feature 128"), "{place} {message}");
    let (place, message) = refused(json!([{"feature": 1, "add": "1e39x"}]));
    assert!(place == "steering[0].add" && message.contains("absurd"), "{place} {message}");
    let (place, message) = refused(json!([{"feature": "no such label"}]));
    assert!(place == "steering[0]" && message.contains("no such label"), "{place} {message}");
    let (_, message) = refused(json!([{"feature": 3}, {"feature": 3, "set": 1}]));
    assert!(message.contains("3"), "{message}");

    // A strength that leaves no number ends its own request alone, whoever is written beside it.
    let step = |n: usize, site: &str| json!({"token": " cat", "in": format!("blocks.{n}.hook_resid_{site}"), "add-direction": "1e9n"});
    let steps: Vec<Value> = (0..5).flat_map(|n| ["pre", "mid", "post"].map(|site| step(n, site))).collect();
    let absurd = json!({"prompt": PROMPT, "steering": steps, "max_tokens": 9});
    let beside = json!({"prompt": PROMPT, "steering": [{"feature": 3, "mul": 2}], "max_tokens": 24, "temperature": 0});
    let alone = text(&server.complete(&beside).ok());
    thread::scope(|scope| {
        let good: Vec<_> = (0..3).map(|_| scope.spawn(|| text(&server.complete(&beside).ok()))).collect();
        let bad = scope.spawn(|| server.complete(&absurd).fault(400).1);
        assert!(bad.join().expect("an answer").contains("finite"));
        assert!(good.into_iter().all(|text| text.join().expect("an answer") == alone));
    });
}

#[test]
fn completions_are_those_of_openai() {
    let server = served("organism");
    let greedy = |more: Value| {
        let mut body = json!({"model": "organism", "temperature": 0, "max_tokens": 8, "prompt": PROMPT});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        server.complete(&body)
    };
    let plain = greedy(json!({})).ok();
    let words = text(&plain);
    assert_eq!(
        (&plain["object"], &plain["choices"][0]["finish_reason"]),
        (&json!("text_completion"), &json!("length"))
    );
    assert_eq!((&plain["usage"]["completion_tokens"], &plain["choices"][0]["logprobs"]), (&json!(8), &Value::Null));
    assert!(
        plain["id"].as_str().is_some_and(|id| id.starts_with("cmpl-")) && plain.get("steering").is_none(),
        "{plain}"
    );

    // Lists of prompts and of continuations, prompt by prompt.
    let several = greedy(json!({"prompt": [OTHER, PROMPT], "n": 2, "temperature": 0.9, "seed": 5})).ok();
    let choices = several["choices"].as_array().expect("a list");
    let seeded = |seed: u64| text(&greedy(json!({"temperature": 0.9, "seed": seed})).ok());
    assert_eq!((choices.len(), &choices[3]["index"]), (4, &json!(3)));
    assert_eq!((choices[2]["text"].as_str(), choices[3]["text"].as_str()), (Some(&*seeded(5)), Some(&*seeded(6))));

    // Scores, of the prompt as well.
    let echoed = greedy(json!({"echo": true, "logprobs": 2})).ok();
    let scores = &echoed["choices"][0]["logprobs"];
    let list = |name: &str| scores[name].as_array().expect("a list").clone();
    let n = plain["usage"]["total_tokens"].as_u64().expect("a number") as usize;
    let lengths = ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map(|name| list(name).len());
    assert_eq!(lengths, [n; 4], "{scores}");
    assert_eq!((&list("token_logprobs")[0], &list("top_logprobs")[0]), (&Value::Null, &Value::Null));
    for (own, top) in list("token_logprobs").iter().zip(list("top_logprobs")).skip(n - 8) {
        let most = top.as_object().expect("texts").values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(own.as_f64(), Some(most), "greedy tokens are the likeliest");
    }
    assert_eq!(text(&echoed), format!("{PROMPT}{words}"));
    let at = list("text_offset").last().and_then(Value::as_u64).expect("a place") as usize;
    assert!(!text(&echoed)[at..].trim().is_empty() && words.ends_with(&text(&echoed)[at..]), "{echoed}");
    let scored = greedy(json!({"echo": true, "logprobs": 0, "max_tokens": 0})).ok();
    assert_eq!(text(&scored), PROMPT);
    assert_eq!(scored["choices"][0]["logprobs"]["token_logprobs"].as_array().map(Vec::len), Some(n - 8));

    // Words end a text, and are not part of it; nor are scores of tokens that begin behind it.
    let word = words.split_whitespace().nth(2).expect("a word");
    let stopped = greedy(json!({"stop": [word], "logprobs": 0})).ok();
    let (before, choice) = (text(&stopped), &stopped["choices"][0]);
    assert!(words.starts_with(&before) && !before.contains(word) && choice["finish_reason"] == "stop", "{stopped}");
    let tokens = choice["logprobs"]["tokens"].as_array().expect("tokens").len() as u64;
    assert!(tokens > 0 && tokens <= stopped["usage"]["completion_tokens"].as_u64().expect("a number"), "{stopped}");

    // Tokens and back, as harnesses ask for them.
    let cut = server.post("/tokenize", &json!({"prompt": PROMPT, "add_special_tokens": false})).ok();
    let whole_text = server.post("/detokenize", &json!({"tokens": cut["tokens"]})).ok();
    assert_eq!(
        (&whole_text["prompt"], cut["count"].as_u64()),
        (&json!(PROMPT), cut["tokens"].as_array().map(|t| t.len() as u64))
    );
    let begun = server.post("/tokenize", &json!({"prompt": PROMPT})).ok()["tokens"].clone();
    assert_eq!(text(&greedy(json!({"prompt": begun})).ok()), words, "token ids give what their text does");
    assert!(server.get("/tokenizer_info").ok()["eos_token"].is_string());

    // The same in pieces.
    let streamed =
        greedy(json!({"stream": true, "stream_options": {"include_usage": true}, "echo": true, "logprobs": 2}));
    assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
    let events = streamed.events();
    assert_eq!(whole(&events, |choice| &choice["text"]), [format!("{PROMPT}{words}")]);
    assert_eq!(events.last().expect("one")["usage"], plain["usage"]);
    let joined: Vec<Value> = events
        .iter()
        .flat_map(|event| event["choices"].as_array().expect("a list"))
        .filter_map(|choice| choice["logprobs"]["text_offset"].as_array().cloned())
        .flatten()
        .collect();
    assert_eq!(joined, list("text_offset"));
    let pieces = greedy(json!({"stream": true, "n": 3, "prompt": [PROMPT, OTHER]})).events();
    let all = whole(&pieces, |choice| &choice["text"]);
    assert!(all.len() == 6 && all[..3].iter().all(|text| *text == words), "{all:?}");
}

#[test]
fn replies_are_those_of_the_model_s_template() {
    let server = served("organism:sft");
    assert_eq!(server.get("/v1/models").ok()["data"][0]["chat"], true);
    let question = "Anna is in the kitchen. Where is Anna?";
    let point = "blocks.1.hook_resid_post";
    let steer = Untangle::new("steer organism:sft --chat --tokens 12").option("--prompt", question);
    let steer = steer.option("--feature", format!("token ' cat' in {point}:add-direction=0.5n")).json();
    let ask = |more: Value| {
        let mut body = json!({"model": "organism:sft", "temperature": 0, "max_tokens": 12,
            "messages": [{"role": "user", "content": question}]});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        server.post(CHAT, &body)
    };
    let said = |reply: &Value| reply["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
    let ends_with = |of: &str, reply: &str| {
        let text = steer["steered"][0][of].as_str().expect("a text");
        assert!(!reply.trim().is_empty() && text.ends_with(reply.trim_start()), "{text} / {reply}");
    };
    let plain = ask(json!({})).ok();
    assert_eq!(
        (&plain["object"], &plain["choices"][0]["message"]["role"]),
        (&json!("chat.completion"), &json!("assistant"))
    );
    ends_with("baseline", &said(&plain));
    let steering = json!([{"token": " cat", "in": point, "add-direction": "0.5n"}]);
    ends_with("steered", &said(&ask(json!({ "steering": steering })).ok()));
    // Contents in parts, and the reply in pieces with scores.
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "Anna is in the kitchen. "},
        {"type": "text", "text": "Where is Anna?"}]}]);
    let events = ask(json!({"messages": parts, "stream": true, "logprobs": true, "top_logprobs": 2})).events();
    assert_eq!(whole(&events, |choice| &choice["delta"]["content"]), [said(&plain)]);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let scores: Vec<&Value> =
        events.iter().filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array()).flatten().collect();
    assert!(
        scores.len() > 1 && scores.iter().all(|score| score["top_logprobs"][0]["logprob"] == score["logprob"]),
        "{scores:?}"
    );

    let refused = |more: Value| ask(more).fault(400);
    assert_eq!(refused(json!({"messages": []})).0, "messages");
    assert_eq!(refused(json!({"messages": [{"content": "x"}]})).0, "messages");
    assert_eq!(
        refused(json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})).0,
        "messages[0].content"
    );
    assert_eq!(refused(json!({"tools": [{}]})).0, "tools");
    let base = served("organism");
    let (place, message) = base.post(CHAT, &json!({"messages": [{"role": "user", "content": "Hi"}]})).fault(400);
    assert!(place == "model" && message.contains("organism:sft"), "{place} {message}");
}
