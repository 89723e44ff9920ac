//! Models and data sets of a hub by their names on the command line, and what a hub that misbehaves leads to.

use crate::hub_server::{COMMIT, Hub, Mishap};
use crate::support::{TinyModel, Untangle, corpus_text, entries, scratch};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const BAD_INPUT: i32 = 3;
const IO: i32 = 4;
const USAGE: i32 = 2;
/// The longest that the hub may ask to wait is a minute: what asks for more is told to the user at once.
const COME_BACK_LATER: &str = "Retry-After: 3600\r\n";

/// A hub with the tiny model and a data set, a folder to work in and an empty cache.
struct Bench {
    hub: Hub,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let (hub, folder) = (Hub::start(), scratch());
        let model = TinyModel::write(folder.path());
        for name in entries(&model.path) {
            hub.put("owner/tiny", "main", &name, &fs::read(model.path.join(&name)).expect("a file"));
        }
        let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/capture/tests/fixtures/pyarrow.parquet");
        let table = fs::read(table).expect("a fixture");
        for file in ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-0.parquet"] {
            hub.put("datasets/owner/stories", "main", file, &table);
        }
        Bench { hub, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `capture MODEL` into x.h5, with the hub as the environment names it and nothing else of the environment.
    fn capture(&self, model: &str, text: impl AsRef<std::ffi::OsStr>) -> Untangle {
        let command = Untangle::new("capture --context 64 --threads 1").words(model).option("--text", text);
        let command = command.words(&format!("--hook {}", TinyModel::HOOK)).option("--out", self.path("x.h5"));
        self.asks(command)
    }

    /// A command that asks this hub, with an empty cache of its own.
    fn asks(&self, command: Untangle) -> Untangle {
        let proxies = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"];
        let ours = ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        let command = command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", self.path("cache"));
        proxies.into_iter().chain(ours).fold(command, Untangle::without_env)
    }

    fn text(&self) -> PathBuf {
        corpus_text(self.folder.path(), 20)
    }
}

#[test]
fn a_capture_from_a_model_and_a_data_set_of_the_hub() {
    let bench = Bench::new();
    let captured = bench.capture("owner/tiny", "dataset:owner/stories/train").env("HF_TOKEN", "secret").json();
    let manifest = &captured["manifest"];
    assert_eq!(
        (manifest["model"]["name"].as_str(), manifest["model"]["revision"].as_str()),
        (Some("owner/tiny"), Some(COMMIT))
    );
    let name = |n: usize| format!("hf://datasets/owner/stories@{COMMIT}/data/train-0000{n}-of-00002.parquet");
    let corpus = manifest["corpus"].as_array().expect("a list");
    let names: Vec<_> = corpus.iter().map(|file| file["name"].as_str().expect("a name")).collect();
    assert_eq!(names, [name(0), name(1)]);
    assert_eq!(manifest["n_documents"], 2 * 53, "60 rows, 7 of them null");
    assert!(bench.hub.requests().iter().any(|request| request.authorization.as_deref() == Some("Bearer secret")));

    // All of it again without the hub, byte by byte.
    let first = fs::read(bench.path("x.h5")).expect("captured");
    fs::remove_file(bench.path("x.h5")).expect("there");
    bench.capture("owner/tiny", "dataset:owner/stories/train").arg("--offline").succeed();
    assert!(bench.hub.requests().is_empty(), "offline nobody is asked");
    assert!(fs::read(bench.path("x.h5")).expect("captured") == first);
}

#[test]
fn a_model_of_the_hub_is_inspected_without_its_weights() {
    let bench = Bench::new();
    let inspect = |what: &str| bench.asks(Untangle::new("inspect").arg(what));
    let found = inspect("owner/tiny").json();
    assert_eq!((found["kind"].as_str(), found["name"].as_str()), (Some("model"), Some("owner/tiny")));
    assert_eq!((found["revision"].as_str(), found["n_layers"].as_u64()), (Some(COMMIT), Some(2)));
    let requests = bench.hub.requests();
    assert!(requests.iter().all(|request| !request.path.contains("safetensors")), "{requests:?}");

    let shown = inspect(&format!("hf:owner/tiny@{COMMIT}")).run();
    assert!(shown.stdout.starts_with(&format!("owner/tiny at {COMMIT}\n")), "{}", shown.stdout);
    assert_eq!(inspect("owner/tiny").arg("--offline").json(), found);
    assert!(bench.hub.requests().is_empty(), "what is cached asks nobody");
    // What only the configuration was fetched of is no model for a capture yet.
    let offline = bench.capture("owner/tiny", bench.text()).arg("--offline").run();
    offline.fails_with(BAD_INPUT, &["owner/tiny: offline", "model.safetensors"]);
    bench.capture("owner/tiny", bench.text()).succeed();

    bench.hub.requests();
    inspect("owner/absent").run().fails_with(BAD_INPUT, &["owner/absent: neither a folder here nor a repository"]);
    inspect("owner/tiny@v9").run().fails_with(BAD_INPUT, &["no revision `v9`"]);
    inspect("owner/tiny@v1").arg("--offline").run().fails_with(BAD_INPUT, &["owner/tiny: offline", "--offline"]);
    bench.hub.requests();
    inspect("runs/absent.h5").run().fails_with(BAD_INPUT, &["runs/absent.h5: no such file"]);
    assert!(bench.hub.requests().is_empty(), "files ask nobody");
}

#[test]
fn files_are_fetched_when_reading_comes_to_them() {
    let bench = Bench::new();
    bench.capture("owner/tiny", "hf://datasets/owner/stories").words("--tokens 100").succeed();
    let fetched =
        |file: &str| bench.path("cache/hub/datasets--owner--stories/snapshots").join(COMMIT).join(file).exists();
    assert!(fetched("data/test-0.parquet") && !fetched("data/train-00000-of-00002.parquet"));
}

#[test]
fn revisions_and_folders_are_told_apart() {
    let bench = Bench::new();
    let text = bench.text();
    let refused = |outcome: crate::support::Untangle, code, words: &[&str]| outcome.run().fails_with(code, words);
    refused(bench.capture("owner/tiny@v9", &text), BAD_INPUT, &["owner/tiny", "no revision `v9`"]);
    refused(bench.capture("owner/tiny --revision v9", &text), BAD_INPUT, &["no revision `v9`"]);
    refused(bench.capture("owner/tiny@v9 --revision v8", &text), USAGE, &["--revision v8", "choose one"]);
    refused(bench.capture("organism --revision v8", &text), USAGE, &["--revision is for models of the hub"]);
    refused(bench.capture("tinny", &text), BAD_INPUT, &["tinny: does not exist", "owner/name"]);
    refused(bench.capture("hf:a/b/c", &text), USAGE, &["`a/b/c` is no id of a model"]);
    assert!(bench.hub.requests().iter().all(|request| request.path.contains("v9")), "slips ask nobody");
    bench.capture(&format!("hf:owner/tiny@{COMMIT}"), &text).succeed();
}

#[test]
fn what_the_hub_refuses_is_said_with_the_remedy() {
    let bench = Bench::new();
    let text = bench.text();
    let fails = |path: &str, status, headers, code, words: &[&str]| {
        bench.hub.mishap(path, 1, Mishap::Status(status, headers));
        bench.capture("owner/tiny", &text).run().fails_with(code, words);
        assert!(!bench.path("x.h5").exists());
    };
    fails("/revision/", 401, "", BAD_INPUT, &["owner/tiny", "401", "set HF_TOKEN"]);
    fails("/revision/", 403, "X-Error-Code: GatedRepo\r\n", BAD_INPUT, &["accept its licence at"]);
    fails("/revision/", 404, "X-Error-Code: RepoNotFound\r\n", BAD_INPUT, &["neither a folder here nor a repository"]);
    fails("/revision/", 429, COME_BACK_LATER, IO, &["too many requests", "asks to wait 3600 s"]);
    fails("/revision/", 500, COME_BACK_LATER, IO, &["answers 500"]);
    let absent = bench.capture("owner/absent", &text).run();
    absent.fails_with(BAD_INPUT, &["owner/absent: neither a folder here nor a repository at http://127"]);
    bench
        .capture("owner/tiny", &text)
        .arg("--offline")
        .run()
        .fails_with(BAD_INPUT, &["owner/tiny: offline", "--offline"]);
    let other = bench.capture("owner/tiny", "dataset:owner/stories/valid").run();
    other.fails_with(BAD_INPUT, &["hf://datasets/owner/stories", "no file `valid`", "data/test-0.parquet"]);
}

#[test]
fn a_busy_hub_and_a_broken_transfer_are_sat_out() {
    let bench = Bench::new();
    bench.hub.mishap("/revision/", 1, Mishap::Status(500, ""));
    bench.hub.mishap(&format!("/cdn/owner/tiny/resolve/{COMMIT}/model."), 2, Mishap::Cut(3000));
    let outcome = bench.capture("owner/tiny", bench.text()).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the hub answers 500; again in 1 s"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("download: begins"), "{}", outcome.stderr);
    assert!(bench.hub.requests().iter().any(|request| request.range.as_deref() == Some("bytes=3000-")));
}

#[test]
fn a_data_set_that_is_no_text_is_named() {
    let bench = Bench::new();
    let outcome = bench.capture("owner/tiny", "dataset:owner/stories/train").words("--field body").run();
    outcome
        .fails_with(BAD_INPUT, &["hf://datasets/owner/stories@", "no column `body`; it has id, text, label, meta.url"]);
    assert_eq!(entries(bench.folder.path()), ["cache", "tiny"], "nothing is left");
    let path: &Path = "dataset:owner".as_ref();
    bench.capture("owner/tiny", path).run().fails_with(USAGE, &["`owner/` is no id of a data set"]);
}
