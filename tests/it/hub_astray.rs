//! Hubs that mean no good: where the token goes, what ends without end, and who still hears an interruption.

use crate::hub_server::{COMMIT, Hub, Mishap};
use crate::support::{Outcome, Untangle, entries, scratch, timed};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BAD_INPUT: i32 = 3;
const IO: i32 = 4;
const INTERRUPTED: i32 = 130;

/// A hub with a model's configuration and a data set, a folder to work in and an empty cache.
struct Bench {
    hub: Hub,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let (hub, folder) = (Hub::start(), scratch());
        hub.put("owner/tiny", "main", "config.json", b"{}");
        hub.put("datasets/owner/stories", "main", "train.parquet", b"PAR1");
        Bench { hub, folder }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// A command that asks this hub and proves who asks.
    fn asks(&self, words: &str) -> Untangle {
        let proxies = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"];
        let others = ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        let command = Untangle::new(words).env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", self.cache());
        proxies.into_iter().chain(others).fold(command.env("HF_TOKEN", "secret"), Untangle::without_env)
    }

    fn inspect(&self) -> Outcome {
        self.asks("inspect owner/tiny").run()
    }

    /// A capture that comes as far as the list of the data set's files.
    fn list(&self, dataset: &str) -> Outcome {
        let command = self.asks("capture organism --threads 1 --hook blocks.0.hook_resid_post");
        command.option("--text", dataset).option("--out", self.folder.path().join("x.h5")).run()
    }

    /// Whether anything of a content lies in the cache.
    fn kept(&self) -> u64 {
        fn bytes(path: &Path) -> u64 {
            match path.is_dir() {
                true => entries(path).iter().map(|name| bytes(&path.join(name))).sum(),
                false => path.symlink_metadata().map_or(0, |about| about.len()),
            }
        }
        let blobs = self.cache().join("hub/models--owner--tiny/blobs");
        if blobs.exists() { bytes(&blobs) } else { 0 }
    }
}

/// What an answer begins with that says where to go on, and what a large file's content is called.
fn moved(to: &str) -> String {
    format!(
        "HTTP/1.1 302 X\r\nLocation: {to}\r\nX-Linked-Etag: \"ab\"\r\nX-Linked-Size: 2\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn the_token_goes_to_nobody_else() {
    // Another port of the same machine, another name of it, and URLs that only begin like the hub's.
    let places: [fn(&str, &str) -> String; 4] = [
        |_, port| format!("http://127.0.0.1:{port}/x"),
        |_, port| format!("http://localhost:{port}/x"),
        |home, port| format!("{home}@127.0.0.1:{port}/x"),
        |home, port| format!("{home}@localhost:{port}"),
    ];
    for place in places {
        for path in ["/revision/", "config.json"] {
            let (bench, other) = (Bench::new(), Hub::start());
            let port = other.endpoint().rsplit(':').next().expect("a port").to_owned();
            let place = place(&bench.hub.endpoint(), &port);
            other.mishap("/", 9, Mishap::Raw(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}".to_vec()));
            bench.hub.mishap(path, 9, Mishap::Raw(moved(&place).into_bytes()));
            let outcome = bench.inspect();
            assert!(matches!(outcome.code, Some(BAD_INPUT | IO)), "{place}: {outcome:?}");
            assert!(!outcome.stderr.contains("secret") && !outcome.stderr.contains("panicked"), "{}", outcome.stderr);
            let (here, there) = (bench.hub.requests(), other.requests());
            assert!(here.iter().all(|request| request.authorization.as_deref() == Some("Bearer secret")), "{here:?}");
            assert!(there.iter().all(|request| request.authorization.is_none()), "{place} of {path}: {there:?}");
            // A plain redirection is followed, so that the test sees what the other is sent.
            assert_eq!(there.is_empty(), place.contains('@'), "{place} of {path}: {there:?}");
        }
    }
}

#[test]
fn a_list_goes_on_neither_elsewhere_nor_in_a_circle() {
    let (elsewhere, circle) = ("the list goes on at another host", "leads back to a page that was read already");
    let same = format!("/api/datasets/owner/stories/tree/{COMMIT}?recursive=true");
    // What a page says is the next one, of the addresses of this hub and of another.
    type Next<'a> = &'a dyn Fn(&str, &str) -> String;
    let places: [(&str, Next<'_>); 4] = [
        (circle, &|_, _| same.clone()),
        (circle, &|home, _| format!("{home}{same}#again")),
        (elsewhere, &|_, other| format!("http://{other}/x")),
        (elsewhere, &|home, other| format!("{home}@{other}/x")),
    ];
    for (problem, place) in places {
        let (bench, other) = (Bench::new(), Hub::start());
        let next = place(&bench.hub.endpoint(), other.endpoint().trim_start_matches("http://"));
        let page = format!("HTTP/1.1 200 X\r\nLink: <{next}>; rel=\"next\"\r\nContent-Length: 2\r\n\r\n[]");
        bench.hub.mishap("/tree/", 100, Mishap::Raw(page.into_bytes()));
        bench.list("dataset:owner/stories").fails_with(IO, &[problem]);
        let pages = bench.hub.requests().iter().filter(|request| request.path.contains("/tree/")).count();
        assert_eq!(pages, 1, "{next}");
        assert!(other.requests().is_empty(), "nobody else is asked");
    }
}

#[test]
fn answers_without_end_are_cut_off_and_leave_nothing() {
    let bench = Bench::new();
    bench.hub.mishap("/revision/", 1, Mishap::Endless("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n{"));
    bench.inspect().fails_with(IO, &["a list of more than 64 MiB"]);
    // Neither the question nor the content says a size.
    bench.hub.mishap("config.json", 2, Mishap::Endless("HTTP/1.1 200 X\r\nETag: \"ab\"\r\nConnection: close\r\n\r\n"));
    bench.inspect().fails_with(IO, &["config.json: it is longer than 268435456 bytes"]);
    assert_eq!(bench.kept(), 0, "a file without end stays nowhere");
}

#[test]
fn a_file_that_always_comes_short_is_given_up() {
    let bench = Bench::new();
    // As a proxy answers that shows a page of its own instead: the same few bytes whatever is asked for.
    let page = b"HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\n<";
    bench.hub.mishap("config.json", 1000, Mishap::RawBody(page.to_vec()));
    let (outcome, took) = timed(|| bench.inspect());
    outcome.fails_with(IO, &["config.json"]);
    assert!(took < Duration::from_secs(60), "{took:?}");
    let asked = bench.hub.requests().iter().filter(|request| request.method == "GET").count();
    assert!((2..20).contains(&asked), "{asked} requests");
}

#[test]
fn a_silent_hub_is_left_at_the_first_interruption() {
    let begun = "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{";
    for (path, mishap) in [
        ("/revision/", Mishap::Silence("")),
        ("/revision/", Mishap::Silence(begun)),
        ("config.json", Mishap::Silence("")),
        // Between two attempts the hub is waited for as well.
        ("/revision/", Mishap::Status(503, "Retry-After: 50\r\n")),
    ] {
        let bench = Bench::new();
        bench.hub.mishap(path, 9, mishap.clone());
        let mut child = bench.asks("inspect owner/tiny").start();
        let until = Instant::now() + Duration::from_secs(60);
        while !bench.hub.requests().iter().any(|request| request.path.contains(path)) {
            assert!(child.try_wait().expect("our own child").is_none() && Instant::now() < until, "nobody asks");
            thread::sleep(Duration::from_millis(5));
        }
        // So that it is the wait that is interrupted, and not the question.
        thread::sleep(Duration::from_millis(200));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
        let (status, took) = timed(|| child.wait().expect("our own child"));
        assert_eq!(status.code(), Some(INTERRUPTED), "{mishap:?}");
        assert!(took < Duration::from_secs(2), "{mishap:?}: {took:?}");
    }
}

#[test]
fn names_that_are_no_paths_are_refused() {
    let bench = Bench::new();
    let outside = bench.folder.path().join("outside.parquet");
    let long = format!("{}.parquet", "x".repeat(300));
    let names =
        ["../../../../../../outside.parquet", "/outside.parquet", "a//b.parquet", "a\\b.parquet", "./b.parquet", &long];
    for (at, name) in names.into_iter().enumerate() {
        bench.hub.put(&format!("datasets/owner/odd{at}"), "main", name, b"PAR1");
        bench.list(&format!("dataset:owner/odd{at}")).fails_with(BAD_INPUT, &["cannot be kept under that name"]);
    }
    // One that would have to be a folder as well.
    bench.hub.put("datasets/owner/both", "main", "a.parquet", b"PAR1");
    bench.hub.put("datasets/owner/both", "main", "a.parquet/b.parquet", b"PAR1");
    bench.list("dataset:owner/both").fails_with(BAD_INPUT, &["cannot be kept under that name"]);

    let index = json!({"weight_map": {"wte.weight": "../../../../../../outside.parquet"}}).to_string();
    bench.hub.put("owner/sharded", "main", "config.json", b"{}");
    bench.hub.put("owner/sharded", "main", "model.safetensors.index.json", index.as_bytes());
    let command = bench.asks("capture owner/sharded --threads 1 --hook blocks.0.hook_resid_post --text organism");
    let outcome = command.option("--out", bench.folder.path().join("x.h5")).run();
    outcome.fails_with(BAD_INPUT, &["outside.parquet"]);
    assert!(!outside.exists() && entries(bench.folder.path()) == ["cache"]);
}
