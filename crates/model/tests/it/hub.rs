//! Models and data sets of a hub: what is fetched, what is kept, and what every failure says.

use crate::hub_server::{COMMIT, Hub, Mishap, etag};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use untangle_model::hub::{
    DatasetSpec, HubOptions, ModelSource, Retry, Snapshot, Token, fetch_dataset_file, fetch_model, list_dataset,
};
use untangle_model::{LoadOptions, ModelError};
use untangle_schema::{Classify, Event, Fault, Observer, Silent};

const MODEL: &str = "owner/tiny";

/// A hub with one model, whose weights are as large as given, and an empty cache.
pub(crate) fn hub(weights: usize) -> (Hub, TempDir, HubOptions, Vec<u8>) {
    let hub = Hub::start();
    let content: Vec<u8> = (0..weights).map(|i| (i * 31 % 251) as u8).collect();
    hub.put(MODEL, "main", "config.json", br#"{"model_type": "gpt2"}"#);
    hub.put(MODEL, "main", "tokenizer.json", b"{}");
    hub.put(MODEL, "main", "README.md", b"not wanted");
    hub.put(MODEL, "main", "pytorch_model.bin", b"not wanted either");
    hub.put(MODEL, "main", "model.safetensors", &content);
    let cache = tempfile::tempdir().unwrap();
    let options =
        HubOptions { endpoint: hub.endpoint(), retry: quick(), ..HubOptions::with_cache(cache.path().into()) };
    (hub, cache, options, content)
}

fn quick() -> Retry {
    let (wait, silence) = (Duration::from_millis(1), Duration::from_secs(10));
    Retry { attempts: 3, first_wait: wait, longest_wait: Duration::from_secs(2), silence, answer: silence }
}

pub(crate) fn fetch(options: &HubOptions) -> Result<Snapshot, ModelError> {
    fetch_model(MODEL, None, options, &Silent)
}

#[track_caller]
pub(crate) fn refused(options: &HubOptions, fault: Fault, words: &[&str]) -> String {
    let error = fetch(options).unwrap_err();
    let text = error.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "{text}\nlacks {word}"));
    assert_eq!(error.fault(), fault, "{text}");
    assert!(!text.contains("secret"), "{text}");
    text
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Hears everything, and asks to stop once so many bytes have come.
#[derive(Default)]
struct Listener {
    lines: Mutex<Vec<String>>,
    stop_at: Option<u64>,
    done: Mutex<u64>,
}

impl Observer for Listener {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Started { task, done, total, .. } => format!("{task} {done} of {total}"),
            Event::Advanced { done, .. } => {
                *self.done.lock().unwrap() = done;
                return;
            }
            Event::Compared { .. } => return,
            Event::Finished => format!("finished at {}", self.done.lock().unwrap()),
            Event::Note(text) => format!("note: {text}"),
            Event::Warning(text) => format!("warning: {text}"),
        };
        self.lines.lock().unwrap().push(line);
    }

    fn interrupted(&self) -> bool {
        self.stop_at.is_some_and(|stop| *self.done.lock().unwrap() >= stop)
    }
}

#[test]
fn a_model_is_fetched_once_into_the_layout_that_python_uses() {
    let (hub, cache, mut options, weights) = hub(5000);
    options.token = Token::new("secret");
    let listener = Listener::default();
    let snapshot = fetch_model(MODEL, None, &options, &listener).unwrap();
    assert_eq!(*listener.lines.lock().unwrap(), ["download 0 of 5000", "finished at 5000"]);
    assert_eq!((snapshot.id.as_str(), snapshot.commit.as_str()), (MODEL, COMMIT));
    assert_eq!(names(&snapshot.dir), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(fs::read(snapshot.dir.join("model.safetensors")).unwrap(), weights);
    let root = cache.path().join("models--owner--tiny");
    assert_eq!(snapshot.dir, root.join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(snapshot.dir.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(etag(&weights)));
    assert_eq!(names(&root.join("blobs")).len(), 3, "nothing unfinished is left");
    for request in hub.requests() {
        let elsewhere = request.path.starts_with("/cdn/");
        assert_eq!(request.authorization.is_none(), elsewhere, "the token is for the hub alone: {request:?}");
    }

    fetch(&options).unwrap();
    let again: Vec<_> = hub.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(again, [format!("/api/models/{MODEL}/revision/main")], "only the branch is asked for again");
    fetch_model(MODEL, Some(COMMIT), &options, &Silent).unwrap();
    assert!(hub.requests().is_empty(), "a commit never changes");
}

#[test]
fn what_python_has_fetched_is_used() {
    let (hub, cache, options, weights) = hub(5000);
    let root = cache.path().join("models--owner--tiny");
    fs::create_dir_all(root.join("blobs")).unwrap();
    fs::write(root.join("blobs").join(etag(&weights)), &weights).unwrap();
    let snapshot = fetch(&options).unwrap();
    assert_eq!(fs::read(snapshot.dir.join("model.safetensors")).unwrap(), weights);
    assert!(!hub.requests().iter().any(|request| request.method == "GET" && request.path.contains(".safetensors")));
}

#[test]
fn shards_are_those_of_the_index() {
    let (hub, _cache, options, _) = hub(500);
    let index =
        br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let sharded = "owner/large";
    hub.put(sharded, "main", "config.json", b"{}");
    hub.put(sharded, "main", "model.safetensors.index.json", index);
    for shard in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "unused.safetensors"] {
        hub.put(sharded, "main", shard, &[shard.as_bytes(), &[7; 400]].concat());
    }
    let snapshot = fetch_model(sharded, None, &options, &Silent).unwrap();
    let expected = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert_eq!(names(&snapshot.dir)[..3], expected);
    assert_eq!(names(&snapshot.dir).len(), 4);

    fs::remove_file(snapshot.dir.join("model-00002-of-00002.safetensors")).unwrap();
    let offline = HubOptions { offline: true, ..options };
    let error = fetch_model(sharded, None, &offline, &Silent).unwrap_err().to_string();
    assert!(error.contains("has no model-00002-of-00002.safetensors"), "{error}");

    let climbing = "owner/climbing";
    hub.put(climbing, "main", "config.json", b"{}");
    hub.put(climbing, "main", "model.safetensors.index.json", br#"{"weight_map": {"a": "../../x.safetensors"}}"#);
    let error = fetch_model(climbing, None, &HubOptions { offline: false, ..offline }, &Silent).unwrap_err();
    assert!(error.to_string().contains("weight_map"), "{error}");
}

#[test]
fn a_transfer_that_stops_goes_on_where_it_was() {
    let (hub, cache, options, weights) = hub(5000);
    hub.mishap("/cdn/", 4, Mishap::Cut(1000));
    let snapshot = fetch(&options).unwrap();
    assert_eq!(fs::read(snapshot.dir.join("model.safetensors")).unwrap(), weights);
    let requests = hub.requests();
    let ranges: Vec<_> = requests.iter().filter(|r| r.path.starts_with("/cdn/")).map(|r| r.range.as_deref()).collect();
    let expected = [None, Some("bytes=1000-"), Some("bytes=2000-"), Some("bytes=3000-"), Some("bytes=4000-")];
    assert_eq!(ranges, expected, "progress starts the count of attempts afresh");
    drop(cache);
}

#[test]
fn a_transfer_without_progress_ends_clearly_and_a_later_run_resumes_it() {
    let (hub, _cache, options, weights) = hub(5000);
    hub.mishap("/cdn/", 1, Mishap::Cut(1700));
    hub.mishap("/cdn/", 2, Mishap::Cut(0));
    let text = refused(&options, Fault::Io, &["stopped at 1700 of 5000 bytes", "3 times", "continues from there"]);
    assert!(text.contains("model.safetensors"), "{text}");
    hub.requests();
    let listener = Listener::default();
    let snapshot = fetch_model(MODEL, None, &options, &listener).unwrap();
    assert_eq!(*listener.lines.lock().unwrap(), ["download 1700 of 5000", "finished at 5000"]);
    assert_eq!(fs::read(snapshot.dir.join("model.safetensors")).unwrap(), weights);
    assert!(hub.requests().iter().any(|request| request.range.as_deref() == Some("bytes=1700-")));
}

#[test]
fn a_hub_that_knows_no_ranges_sends_the_whole_file_again() {
    let (hub, _cache, options, weights) = hub(5000);
    hub.mishap("/cdn/", 1, Mishap::Cut(1700));
    hub.mishap("/cdn/", 1, Mishap::IgnoreRange);
    let snapshot = fetch(&options).unwrap();
    assert_eq!(fs::read(snapshot.dir.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn a_garbled_file_is_noticed_and_not_kept() {
    let (hub, cache, options, weights) = hub(5000);
    hub.mishap("/cdn/", 1, Mishap::Garble);
    refused(&options, Fault::Io, &["not what the hub announced", "SHA-256", &etag(&weights)]);
    assert!(!cache.path().join("models--owner--tiny/blobs").join(etag(&weights)).exists());
    fetch(&options).unwrap();
}

#[test]
fn busy_hubs_are_asked_again_and_then_named() {
    for status in [429, 500, 503] {
        let (hub, _cache, options, _) = hub(500);
        hub.mishap("/revision/", 2, Mishap::Status(status, ""));
        hub.mishap("/resolve/", 2, Mishap::Status(status, ""));
        hub.mishap("/cdn/", 2, Mishap::Status(status, ""));
        fetch(&options).unwrap_or_else(|error| panic!("{status}: {error}"));
        hub.mishap("/revision/", 3, Mishap::Status(status, ""));
        let other = tempfile::tempdir().unwrap();
        let options = HubOptions { cache: other.path().into(), ..options };
        refused(&options, Fault::Io, &[&format!("answers {status}"), "3 times"]);
    }
}

#[test]
fn the_wait_that_the_hub_asks_for_is_kept_and_a_long_one_is_told() {
    let (hub, _cache, options, _) = hub(500);
    hub.mishap("/revision/", 1, Mishap::Status(429, "Retry-After: 1\r\n"));
    let listener = Listener::default();
    let since = Instant::now();
    fetch_model(MODEL, None, &options, &listener).unwrap();
    assert!(since.elapsed() >= Duration::from_secs(1));
    assert!(listener.lines.lock().unwrap()[0].ends_with("the hub answers 429; again in 1 s"));
    let (hub, _cache, options, _) = self::hub(500);
    hub.mishap("/revision/", 1, Mishap::Status(429, "Retry-After: 3600\r\n"));
    refused(&options, Fault::Io, &["too many requests", "1 times", "asks to wait 3600 s"]);
}

#[test]
fn refusals_say_what_to_do() {
    let (hub, _cache, options, _) = hub(500);
    hub.mishap("/revision/", 1, Mishap::Status(401, ""));
    refused(&options, Fault::BadInput, &[MODEL, "401", "set HF_TOKEN"]);
    hub.mishap("/revision/", 1, Mishap::Status(403, "X-Error-Code: GatedRepo\r\n"));
    refused(&options, Fault::BadInput, &["accept its licence at", "/owner/tiny", "set HF_TOKEN"]);
    let signed = HubOptions { token: Token::new("secret"), ..options.clone() };
    hub.mishap("/revision/", 1, Mishap::Status(401, ""));
    refused(&signed, Fault::BadInput, &["the token in HF_TOKEN"]);
    hub.mishap("model.safetensors", 1, Mishap::Status(403, "X-Error-Code: GatedRepo\r\n"));
    refused(&signed, Fault::BadInput, &["with the account whose token is used"]);
}

#[test]
fn what_is_missing_is_named() {
    let (hub, _cache, options, _) = hub(500);
    let of = |id: &str, revision| fetch_model(id, revision, &options, &Silent).unwrap_err().to_string();
    let absent = of("owner/absent", None);
    assert!(absent.starts_with("owner/absent: neither a folder here nor a repository at http://127"), "{absent}");
    let revision = of(MODEL, Some("v9"));
    assert!(revision.contains("owner/tiny: it has no revision `v9`"), "{revision}");
    hub.put("owner/pickled", "main", "config.json", b"{}");
    hub.put("owner/pickled", "main", "pytorch_model.bin", b"x");
    let pickled = of("owner/pickled", None);
    assert!(pickled.ends_with("has no weights as safetensors; it has config.json, pytorch_model.bin"), "{pickled}");
    hub.put("owner/empty", "main", "README.md", b"x");
    assert!(of("owner/empty", None).contains("has no config.json, so it is no model"));
    hub.mishap("config.json", 1, Mishap::Status(404, "X-Error-Code: EntryNotFound\r\n"));
    assert!(of(MODEL, None).contains("has no config.json"));
    assert!(of("../owner", None).contains("is no id of a model"));
    assert!(of(MODEL, Some("../main")).contains("is no revision"));
}

#[test]
fn offline_only_the_cache_is_used() {
    let (hub, cache, options, _) = hub(500);
    let offline = HubOptions { offline: true, ..options.clone() };
    refused(&offline, Fault::BadInput, &["offline", "has no config.json", "HF_HUB_OFFLINE"]);
    assert!(hub.requests().is_empty());
    let fetched = fetch(&options).unwrap();
    hub.requests();
    assert_eq!(fetch(&offline).unwrap(), fetched);
    assert_eq!(fetch_model(MODEL, Some(COMMIT), &offline, &Silent).unwrap(), fetched);
    assert!(fetch_model(MODEL, Some("v2"), &offline, &Silent).is_err());
    assert!(hub.requests().is_empty());
    fs::remove_file(fetched.dir.join("model.safetensors")).unwrap();
    refused(&offline, Fault::BadInput, &["has no model.safetensors", cache.path().to_str().unwrap()]);
}

#[test]
fn a_hub_that_cannot_be_reached_is_replaced_by_the_cache_with_a_warning() {
    let (hub, _cache, options, _) = hub(500);
    hub.mishap("/revision/", 3, Mishap::HangUp);
    refused(&options, Fault::Io, &["no answer", "3 times", "--offline"]);
    let fetched = fetch(&options).unwrap();
    let nobody = HubOptions { endpoint: "http://127.0.0.1:9".to_owned(), ..options };
    let listener = Listener::default();
    assert_eq!(fetch_model(MODEL, None, &nobody, &listener).unwrap(), fetched);
    let lines = listener.lines.into_inner().unwrap();
    assert!(lines.last().unwrap().starts_with("warning: http://127.0.0.1:9/api"), "{lines:?}");
    assert!(lines.last().unwrap().ends_with("using the copy in the cache"), "{lines:?}");
}

#[test]
fn an_interrupted_download_continues() {
    let (_hub, cache, options, weights) = hub(6 << 20);
    let listener = Listener { stop_at: Some(1 << 20), ..Listener::default() };
    let error = fetch_model(MODEL, None, &options, &listener).unwrap_err();
    assert_eq!(error.fault(), Fault::Interrupted, "{error}");
    let unfinished = names(&cache.path().join("models--owner--tiny/blobs"));
    assert!(unfinished.iter().any(|name| name.ends_with("incomplete")), "{unfinished:?}");
    let listener = Listener::default();
    let snapshot = fetch_model(MODEL, None, &options, &listener).unwrap();
    assert!(!listener.lines.lock().unwrap()[0].starts_with("download 0 of"), "it begins where it stopped");
    assert_eq!(fs::read(snapshot.dir.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn answers_that_no_hub_gives_are_refused() {
    let (hub, _cache, options, _) = hub(500);
    hub.mishap("/revision/", 1, Mishap::Status(200, ""));
    refused(&options, Fault::Io, &["not JSON", "is HF_ENDPOINT a hub?"]);
    hub.mishap("/revision/", 1, Mishap::Status(418, ""));
    refused(&options, Fault::Io, &["status 418"]);
    for bad in ["ETag: \"../../../evil\"\r\n", "ETag: \".hidden\"\r\n", "ETag: \"\"\r\n", ""] {
        hub.mishap("/resolve/", 1, Mishap::Status(200, bad));
        refused(&options, Fault::Io, &["ETag"]);
    }
}

#[test]
fn a_fetched_model_loads_under_the_name_of_its_id() {
    let (hub, _cache, options, _) = hub(500);
    let dir = crate::support::fixture_dir("gpt2");
    for name in ["config.json", "model.safetensors"] {
        hub.put("owner/real", "v1", name, &fs::read(dir.join(name)).unwrap());
    }
    let source = ModelSource::parse("owner/real", Some("v1")).unwrap();
    let resolved = source.resolve(|| Ok(options), &Silent).unwrap();
    let identity = resolved.load(&LoadOptions::default()).unwrap().identity();
    assert_eq!((identity.name.as_str(), identity.revision.as_deref()), ("owner/real", Some(COMMIT)));
}

fn spec(text: &str) -> DatasetSpec {
    DatasetSpec::parse(text).unwrap().unwrap()
}

#[test]
fn data_sets_are_listed_in_pages_and_fetched_file_by_file() {
    let (hub, cache, options, _) = hub(500);
    for file in ["data/train-1.parquet", "data/train-0.parquet", "data/test.parquet", "README.md", "x.json"] {
        hub.put("datasets/o/n", "main", file, file.as_bytes());
    }
    hub.pages_of(2);
    let list = |text: &str| list_dataset(&spec(text), &options, &Silent);
    let paths = |text: &str| list(text).unwrap().into_iter().map(|file| file.path).collect::<Vec<_>>();
    assert_eq!(paths("dataset:o/n"), ["data/test.parquet", "data/train-0.parquet", "data/train-1.parquet"]);
    assert_eq!(paths("hf://datasets/o/n/data/train-*"), ["data/train-0.parquet", "data/train-1.parquet"]);
    let file = list("hf://datasets/o/n/data/train-1.parquet").unwrap().remove(0);
    assert_eq!(file.name(), format!("hf://datasets/o/n@{COMMIT}/data/train-1.parquet"));
    assert_eq!(file.bytes, 20);
    let path = fetch_dataset_file(&file, &options, &Silent).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "data/train-1.parquet");
    assert!(path.starts_with(cache.path().join("datasets--o--n/snapshots")));
    let offline = HubOptions { offline: true, ..options.clone() };
    assert_eq!(list_dataset(&spec("dataset:o/n"), &offline, &Silent).unwrap(), std::slice::from_ref(&file));
    assert!(list_dataset(&spec("dataset:o/n/data/test.parquet"), &offline, &Silent).is_err());
    let error = list("dataset:o/n/data/valid-*").unwrap_err().to_string();
    assert!(error.contains("has no file `data/valid-*`; it has README.md"), "{error}");
}

#[test]
fn a_data_set_without_parquet_is_taken_from_the_hubs_conversion() {
    let (hub, _cache, options, _) = hub(500);
    hub.put("datasets/o/json", "main", "train.json", b"{}");
    let error = list_dataset(&spec("dataset:o/json"), &options, &Silent).unwrap_err().to_string();
    assert!(error.contains("has no parquet file; it has train.json"), "{error}");
    hub.put("datasets/o/json", "refs/convert/parquet", "default/train/0000.parquet", b"x");
    let found = list_dataset(&spec("dataset:o/json"), &options, &Silent).unwrap();
    assert_eq!(found[0].path, "default/train/0000.parquet");
}
