//! What `untangle label` does where the endpoint, the database, or what was asked for is wrong.

use crate::chat_server::{ChatServer, Mishap, completion};
use crate::labelling::{Case, clean, is_judging, label_of, made, score};
use crate::support::Untangle;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const IO: i32 = 4;
const KEY: &str = "sk-the-secret-of-the-user";

/// Whatever is asked, the same label, and no verdict that could be understood.
fn saying(text: &'static str) -> Case {
    Case::with(ChatServer::start(move |asked| completion(if is_judging(asked) { "hard to say" } else { text })))
}

#[test]
fn an_endpoint_that_does_not_answer_is_told_with_the_remedy_and_nothing_is_changed() {
    let case = saying("LABEL: dogs");
    let before = fs::read(case.path("f.db")).expect("a database");
    let fails = |mishap: Mishap, code, words: &[&str]| {
        case.server.mishap(6, mishap);
        case.label(1).words("--no-scores --parallel 1").run().fails_with(code, words);
        assert!(fs::read(case.path("f.db")).expect("a database") == before, "the database changed");
        case.server.forget();
    };
    fails(Mishap::Status(401, "", ""), BAD_INPUT, &["answers 401", "set OPENAI_API_KEY"]);
    fails(Mishap::Status(404, "", "no model"), BAD_INPUT, &["answers 404 (no model)", "`tiny` one of its models"]);
    fails(Mishap::Status(429, "Retry-After: 3600\r\n", ""), IO, &["answers 429", "asks to wait 3600 s"]);
    fails(Mishap::Status(413, "", "too long"), IO, &["answers 413 (too long)", "no feature was labelled"]);
    let nobody = Untangle::new("label --llm http://127.0.0.1:9 --llm-model tiny --features 1").arg(case.path("f.db"));
    let offline = clean(nobody.arg("--offline")).run();
    offline.fails_with(IO, &["offline, and not all of this was asked before"]);
}

#[test]
fn a_slow_endpoint_is_given_up_and_a_lying_one_is_asked_again() {
    let case = saying("LABEL: dogs");
    case.server.mishap(2, Mishap::Body("<html>it works!</html>"));
    case.server.mishap(1, Mishap::Status(503, "Retry-After: 1\r\n", ""));
    let outcome = case.label(1).words("--no-scores --parallel 1").run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains(
            "is no chat completion (expected value at line 1 column 1: <html>it works!</html>); again in 1 s"
        ),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("answers 503; again in"), "{}", outcome.stderr);
}

#[test]
fn refused_roles_reasoning_and_missing_probabilities_are_met() {
    let case = Case::with(ChatServer::start(|asked| {
        completion(if is_judging(asked) {
            "<think>1 0 1 0? yes.</think>1 1 1 1 1 1 1 1 1 1"
        } else {
            "The user wants a label.</think>\nLABEL: dogs"
        })
    }));
    case.server.refuse("\"system\"", 400, "{\"error\": {\"message\": \"System role not supported\"}}");
    case.server.refuse("\"logprobs\"", 400, "{\"error\": {\"message\": \"logprobs are not supported\"}}");
    let told = case.label(1).json();
    let label = label_of(&told["report"]["features"][0], "input", "llm:tiny");
    assert_eq!(label["text"], "dogs");
    // Who says yes to everything knows nothing.
    assert_eq!(
        (score(label, "detection")["value"].as_f64(), score(label, "detection-auroc")),
        (Some(0.5), &Value::Null)
    );
    let asked = case.server.requests();
    let last = asked.last().expect("a request");
    assert!(last.said("system").is_empty() && last.said("user").contains("Answer with one digit"), "{last:?}");
    assert!(
        asked.iter().filter(|asked| !asked.said("system").is_empty()).count() <= 8,
        "what was refused is remembered"
    );
}

#[test]
fn verdicts_that_cannot_be_understood_are_no_score_and_labels_that_cannot_are_none() {
    let case = saying("LABEL: dogs");
    let outcome = case.label(1).run();
    assert!(
        outcome.stderr.contains("could not be understood; what they were to tell has no score"),
        "{}",
        outcome.stderr
    );
    let shown = case.shown(made().features[0]);
    let label = label_of(&shown, "input", "llm:tiny");
    assert_eq!((&label["text"], score(label, "detection")), (&json!("dogs"), &Value::Null), "nothing was measured");
    // Another time it says that there is nothing in common: what was said before goes.
    let other = saying("LABEL: mixed");
    fs::copy(case.path("f.db"), other.path("f.db")).expect("copied");
    let told = other.label(1).json();
    assert_eq!(told["report"]["features"][0]["problem"], json!("mixed: its examples share nothing"));
    assert_eq!(label_of(&other.shown(made().features[0]), "input", "llm:tiny"), &Value::Null);
    let silent = saying("");
    let outcome = silent.label(1).run();
    assert!(outcome.code == Some(0) && outcome.stderr.contains("could not be understood"), "{}", outcome.stderr);
}

#[test]
fn a_database_of_another_dictionary_or_model_is_refused() {
    let case = saying("LABEL: dogs");
    let folder = made().folder.path();
    let other = case.label(1).option("--model", folder.join("tiny")).option("--sae", folder.join("other"));
    other.run().fails_with(BAD_INPUT, &["f.db", "whose weights are others"]);
    let other = case.label(1).option("--model", "organism").option("--sae", folder.join("sae"));
    other.run().fails_with(BAD_INPUT, &["organism", "--other-model"]);
    fs::write(case.path("text.db"), "no database").expect("written");
    let text = Untangle::new("label --llm http://127.0.0.1:9 --llm-model tiny").arg(case.path("text.db"));
    clean(text).run().fails_with(BAD_INPUT, &["text.db is not a feature database"]);
    let database = Connection::open(case.path("f.db")).expect("a database");
    database.execute_batch("UPDATE excerpts SET peak = 1000").expect("changed");
    case.label(1).run().fails_with(BAD_INPUT, &["f.db", "an excerpt of"]);
    database.execute_batch("PRAGMA user_version = 4").expect("changed");
    drop(database);
    case.label(1).run().fails_with(BAD_INPUT, &["has version 4, this program reads version 7"]);
    assert!(case.server.requests().is_empty(), "nobody is asked in vain");
}

#[test]
fn slips_of_the_command_line_are_named() {
    let case = saying("LABEL: dogs");
    let fails = |words: &str, told: &[&str]| case.ask().words(words).run().fails_with(USAGE, told);
    fails("--features 1,100000", &["`100000` goes beyond the 96 features"]);
    fails("--features 1 --sort density", &["and not both"]);
    fails("--features 1 --key-env UNTANGLE_TEST_NO_KEY", &["UNTANGLE_TEST_NO_KEY", "is not set"]);
    let ask = |url: &str| {
        clean(Untangle::new("label --llm-model m --features 1").arg(case.path("f.db")).option("--llm", url))
    };
    ask("localhost:8000").run().fails_with(USAGE, &["the endpoint `localhost:8000`", "http://"]);
    ask("http://me:hidden@h/v1").run().fails_with(USAGE, &["the endpoint `h/v1`", "password"]);
    fs::write(case.path("notes.txt"), "mine\n").expect("written");
    let taken = case.label(1).option("--answers", case.path("notes.txt")).run();
    taken.fails_with(BAD_INPUT, &["notes.txt is not a file of answers"]);
    assert_eq!(fs::read_to_string(case.path("notes.txt")).expect("kept"), "mine\n");
    assert!(case.server.requests().is_empty());
}

#[test]
fn the_key_is_sent_and_never_told() {
    let case = saying("LABEL: dogs");
    case.server.mishap(1, Mishap::Status(500, "", "you sent sk-the-secret-of-the-user"));
    let outcome = case.label(1).words("--no-scores").env("MY_KEY", KEY).option("--key-env", "MY_KEY").run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let sent: Vec<_> = case.server.requests().into_iter().filter_map(|asked| asked.authorization).collect();
    assert!(sent.len() >= 2 && sent.iter().all(|value| *value == format!("Bearer {KEY}")), "{sent:?}");
    case.server.mishap(9, Mishap::Status(403, "", "sk-the-secret-of-the-user may not"));
    let refused = case.label(2).words("--no-scores").env("OPENAI_API_KEY", KEY).run();
    // The first feature was answered for before.
    refused.fails_with_story(BAD_INPUT, &["answers 403 ((the key) may not)", "the key may not do this"]);
    for text in [outcome.stdout, outcome.stderr, refused.stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
    let kept = fs::read(case.path("f.db.answers")).expect("answers");
    assert!(!String::from_utf8_lossy(&kept).contains(KEY));
}
