//! What becomes of requests at an endpoint that is good, slow, busy, refusing, broken or lying.

use crate::chat_server::{ChatServer, Mishap, completion};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use untangle_endpoint::{Answered, Budget, Endpoint, EndpointError, EndpointOptions, Key, Request, Retry};
use untangle_schema::{Classify, Event, Fault, Observer, Silent};

fn options(server: &ChatServer) -> EndpointOptions {
    let retry = Retry { attempts: 3, first_wait: Duration::from_millis(20), longest_wait: Duration::from_secs(2) };
    EndpointOptions { retry, timeout: Duration::from_secs(20), ..EndpointOptions::new(&server.url(), "tiny") }
}

fn request(user: &str) -> Request {
    Request { system: "be brief".to_owned(), user: user.to_owned(), odds: 0 }
}

fn ask(options: EndpointOptions, users: &[&str]) -> (Answered, Endpoint) {
    let endpoint = Endpoint::new(options).unwrap();
    let requests: Vec<_> = users.iter().map(|user| request(user)).collect();
    (endpoint.ask_all(&requests, &Silent, |_| {}), endpoint)
}

fn texts(answered: &Answered) -> Vec<Option<&str>> {
    answered.replies.iter().map(|reply| reply.as_ref().map(|reply| reply.text.as_str())).collect()
}

/// Keeps notes, and asks to stop when it is told to.
#[derive(Default)]
struct Listener {
    notes: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Observer for Listener {
    fn event(&self, event: Event<'_>) {
        if let Event::Note(note) = event {
            self.notes.lock().unwrap().push(note.to_owned());
        }
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_and_the_same_is_asked_once() {
    let server = ChatServer::start(|asked| completion(&asked.said("user").to_uppercase()));
    let options = EndpointOptions { key: Key::new("secret"), ..options(&server) };
    let (answered, endpoint) = ask(options, &["a", "b", "a", "c"]);
    assert_eq!(texts(&answered), ["A", "B", "A", "C"].map(Some));
    assert!(answered.stopped.is_none() && answered.refused.is_empty());
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|asked| asked.path == "/v1/chat/completions"));
    assert!(requests.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer secret")));
    assert!(requests.iter().all(|asked| asked.said("system") == "be brief" && asked.body["model"] == "tiny"));
    assert_eq!((endpoint.spent().requests, endpoint.spent().tokens()), (3, 45));
}

#[test]
fn as_many_are_under_way_as_asked_for_and_no_more() {
    let server = ChatServer::saying("x");
    server.mishap(9, Mishap::Slow(Duration::from_millis(150)));
    let users: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let begun = Instant::now();
    ask(EndpointOptions { parallel: 3, ..options(&server) }, &users);
    assert_eq!(server.most_under_way(), 3);
    assert!(begun.elapsed() < Duration::from_millis(9 * 150), "one behind the other");
}

#[test]
fn a_busy_endpoint_is_asked_when_it_says() {
    let server = ChatServer::saying("x");
    server.mishap(1, Mishap::Status(429, "Retry-After: 1\r\n", "{}"));
    let (endpoint, listener) = (Endpoint::new(options(&server)).unwrap(), Listener::default());
    let begun = Instant::now();
    let answered = endpoint.ask_all(&[request("a")], &listener, |_| {});
    assert_eq!(texts(&answered), [Some("x")]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(listener.notes.lock().unwrap()[0].ends_with("/v1/chat/completions: answers 429; again in 1 s"));
    server.mishap(1, Mishap::Status(429, "Retry-After: 3600\r\n", ""));
    let (answered, _) = ask(options(&server), &["b"]);
    let error = answered.stopped.expect("nobody waits an hour");
    assert!(error.to_string().contains("asks to wait 3600 s") && error.fault() == Fault::Io, "{error}");
}

#[test]
fn failing_servers_and_broken_connections_are_asked_again_and_given_up() {
    for (mishap, told) in [
        (Mishap::Status(500, "", "oops"), "answers 500 after 3 attempts (oops)"),
        (Mishap::Status(503, "", ""), "answers 503 after 3 attempts;"),
        (Mishap::HangUp, "after 3 attempts; is the endpoint running?"),
        (Mishap::Cut, "after 3 attempts; is the endpoint running?"),
    ] {
        let server = ChatServer::saying("x");
        server.mishap(2, mishap.clone());
        assert_eq!(texts(&ask(options(&server), &["a"]).0), [Some("x")], "{mishap:?}");
        server.mishap(3, mishap.clone());
        let stopped = ask(options(&server), &["a"]).0.stopped.unwrap_or_else(|| panic!("{mishap:?} is survived"));
        assert!(stopped.to_string().contains(told) && stopped.fault() == Fault::Io, "{stopped}");
    }
    let nobody = EndpointOptions { url: "http://127.0.0.1:1".to_owned(), ..options(&ChatServer::saying("x")) };
    let stopped = ask(nobody, &["a"]).0.stopped.expect("nobody is there");
    assert!(matches!(stopped, EndpointError::Unreachable { attempts: 3, .. }), "{stopped}");
}

#[test]
fn a_slow_endpoint_is_waited_for_as_long_as_asked_for() {
    let server = ChatServer::saying("x");
    server.mishap(usize::MAX, Mishap::Slow(Duration::from_secs(30)));
    let retry = Retry { attempts: 1, ..options(&server).retry };
    let begun = Instant::now();
    let (answered, _) = ask(EndpointOptions { timeout: Duration::from_millis(300), retry, ..options(&server) }, &["a"]);
    assert!(answered.stopped.expect("too slow").to_string().contains("timeout"));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_no_answer_is_of_one_request_and_does_not_stop_the_others() {
    for body in ["<html>", "", "{\"choices\":[]}", "{\"error\":{\"message\":\"overloaded\"}}", "{\"choices\":[{\"mess"]
    {
        let server = ChatServer::saying("x");
        server.mishap(1, Mishap::Body(body));
        assert_eq!(texts(&ask(options(&server), &["a"]).0), [Some("x")], "{body}");
        server.mishap(3, Mishap::Body(body));
        let (answered, _) = ask(EndpointOptions { parallel: 1, ..options(&server) }, &["a", "b"]);
        assert_eq!(texts(&answered), [None, Some("x")], "{body}");
        let (at, error) = &answered.refused[0];
        assert!(*at == 0 && matches!(error, EndpointError::NoAnswer { .. }), "{error}");
    }
    let server = ChatServer::saying("x");
    server.mishap(1, Mishap::Endless);
    let (answered, _) = ask(options(&server), &["a"]);
    assert!(matches!(answered.refused[..], [(0, EndpointError::NoAnswer { .. })]), "{answered:?}");
    server.mishap(1, Mishap::Status(413, "", "too long"));
    let (answered, _) = ask(EndpointOptions { parallel: 1, ..options(&server) }, &["a", "b"]);
    assert!(matches!(answered.refused[..], [(0, EndpointError::NotTaken { status: 413, .. })]), "{answered:?}");
}

#[test]
fn refused_roles_and_settings_are_left_out_once_and_remembered() {
    let server = ChatServer::saying("x");
    server.refuse("\"system\"", 400, "{\"error\":\"System role not supported\"}");
    server.refuse("\"temperature\"", 400, "{\"error\":\"temperature: only the default\"}");
    let (answered, endpoint) = ask(EndpointOptions { parallel: 1, ..options(&server) }, &["a", "b"]);
    assert_eq!(texts(&answered), [Some("x"), Some("x")]);
    let requests = server.requests();
    assert_eq!(requests.len(), 4, "two refusals and two answers");
    assert_eq!(requests[3].said("user"), "be brief\n\nb");
    assert!(requests[3].body.get("temperature").is_none() && requests[3].body.get("max_tokens").is_some());
    assert_eq!(endpoint.spent().answers, 2);
    // A refusal that names nothing.
    let server = ChatServer::saying("x");
    server.refuse("\"system\"", 422, "unprocessable");
    assert_eq!(texts(&ask(options(&server), &["a"]).0), [Some("x")]);
}

#[test]
fn keys_and_addresses_that_are_wrong_stop_everything_and_are_not_shown() {
    for (status, told) in [(401, "the key may not do this"), (403, "the key may not do this"), (404, "answers 404")] {
        let server = ChatServer::saying("x");
        server.mishap(usize::MAX, Mishap::Status(status, "", "no such key: secret"));
        let options = EndpointOptions { key: Key::new("secret"), parallel: 1, ..options(&server) };
        let (answered, _) = ask(options, &["a", "b"]);
        let error = answered.stopped.expect("refused");
        assert!(error.to_string().contains(told) && !error.to_string().contains("secret"), "{error}");
        assert_eq!((error.fault(), server.requests().len()), (Fault::BadInput, 1));
    }
    let server = ChatServer::saying("x");
    server.mishap(1, Mishap::Status(401, "", ""));
    assert!(ask(options(&server), &["a"]).0.stopped.unwrap().to_string().contains("set OPENAI_API_KEY"));
    server.mishap(1, Mishap::Status(302, "Location: http://elsewhere/\r\n", ""));
    let error = ask(options(&server), &["a"]).0.stopped.unwrap();
    assert!(error.to_string().contains("redirects to http://elsewhere/") && error.fault() == Fault::Usage, "{error}");
}

#[test]
fn the_budget_ends_the_asking() {
    let server = ChatServer::saying("x");
    let few = |budget| EndpointOptions { budget, parallel: 1, ..options(&server) };
    let (answered, _) = ask(few(Budget { requests: Some(2), tokens: None }), &["a", "b", "c"]);
    assert_eq!(texts(&answered), [Some("x"), Some("x"), None]);
    let error = answered.stopped.expect("spent");
    assert!(error.to_string().contains("2 requests, 30 tokens") && error.fault() == Fault::Interrupted, "{error}");
    server.requests();
    let (answered, _) = ask(few(Budget { requests: None, tokens: Some(32) }), &["a", "b", "c", "d"]);
    assert_eq!((texts(&answered).iter().flatten().count(), server.requests().len()), (2, 2));
    assert!(answered.stopped.is_some());
}

#[test]
fn what_was_answered_is_not_asked_again() {
    let server = ChatServer::start(|asked| completion(&asked.said("user").to_uppercase()));
    let folder = tempfile::tempdir().unwrap();
    let kept = |model: &str| EndpointOptions {
        answers: Some(folder.path().join("answers")),
        model: model.to_owned(),
        ..options(&server)
    };
    ask(kept("tiny"), &["a", "b"]);
    server.requests();
    let (answered, endpoint) = ask(EndpointOptions { offline: true, ..kept("tiny") }, &["b", "a", "c"]);
    assert_eq!(texts(&answered), [Some("B"), Some("A"), None]);
    assert!(matches!(answered.refused[..], [(2, EndpointError::Offline)]));
    assert_eq!((endpoint.spent().kept, endpoint.spent().tokens(), server.requests().len()), (2, 0, 0));
    drop(endpoint);
    ask(kept("other"), &["a"]);
    assert_eq!(server.requests().len(), 1, "another model answers otherwise");
}

#[test]
fn an_interruption_is_heard_while_the_endpoint_is_silent() {
    let server = ChatServer::saying("x");
    server.mishap(usize::MAX, Mishap::Slow(Duration::from_secs(60)));
    let listener = Listener::default();
    let endpoint = Endpoint::new(options(&server)).unwrap();
    let begun = Instant::now();
    let answered = std::thread::scope(|scope| {
        let asking = scope.spawn(|| endpoint.ask_all(&[request("a"), request("b")], &listener, |_| {}));
        std::thread::sleep(Duration::from_millis(300));
        listener.stop.store(true, Ordering::SeqCst);
        asking.join().unwrap()
    });
    assert!(matches!(answered.stopped, Some(EndpointError::Interrupted)), "{answered:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn probabilities_are_asked_for_where_they_are_of_use() {
    let server = ChatServer::start(|asked| {
        let mut whole = completion("1");
        if asked.body["logprobs"] == true {
            let top = json!([{ "token": "1", "logprob": -0.1 }, { "token": "0", "logprob": -2.4 }]);
            whole["choices"][0]["logprobs"] =
                json!({ "content": [{ "token": "1", "logprob": -0.1, "top_logprobs": top }] });
        }
        whole
    });
    let endpoint = Endpoint::new(options(&server)).unwrap();
    let requests = [Request { odds: 5, ..request("a") }, request("a")];
    let answered = endpoint.ask_all(&requests, &Silent, |_| {});
    let lengths: Vec<usize> = answered.replies.iter().flatten().map(|reply| reply.odds.len()).collect();
    assert_eq!(lengths, [1, 0]);
}
