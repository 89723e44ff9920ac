//! Transfers that never end by themselves, and commits that the cache holds in part.

use crate::hub::{fetch, hub, names, refused};
use crate::hub_server::{COMMIT, Mishap};
use std::fs;
use untangle_model::hub::{HubOptions, Snapshot, fetch_model};
use untangle_schema::{Fault, Silent};

const MODEL: &str = "owner/tiny";

#[test]
fn a_hub_that_is_given_up_on_is_told_as_often_as_it_was_asked() {
    let (server, _cache, options, _) = hub(5000);
    for _ in 0..40 {
        server.mishap("/cdn/", 1, Mishap::Status(503, ""));
        server.mishap("/cdn/", 1, Mishap::Cut(20));
    }
    refused(&options, Fault::Io, &["the hub answers 503 (not available), 31 times; try again later"]);

    let (server, _cache, options, _) = hub(5000);
    server.mishap("/cdn/", 100, Mishap::Cut(20));
    let text = refused(&options, Fault::Io, &["stopped at 620 of 5000 bytes", "31 times; the same command continues"]);
    assert!(!text.contains("without progress"), "{text}");

    let (server, _cache, options, _) = hub(5000);
    server.mishap("/cdn/", 100, Mishap::Cut(0));
    refused(&options, Fault::Io, &["no answer", "3 times"]);
}

/// A cache as Python's `AutoModel` leaves it: without the tokenizer, and without a mark of ours.
fn without_tokenizer(cache: &std::path::Path, options: &HubOptions) -> Snapshot {
    let snapshot = fetch(options).unwrap();
    fs::remove_file(snapshot.dir.join("tokenizer.json")).unwrap();
    fs::remove_dir_all(cache.join("models--owner--tiny/untangle")).unwrap();
    snapshot
}

#[test]
fn a_commit_that_the_cache_holds_in_part_is_completed_once() {
    let (server, cache, options, _) = hub(5000);
    without_tokenizer(cache.path(), &options);
    let fetched = || fetch_model(MODEL, Some(COMMIT), &options, &Silent).unwrap();
    server.requests();
    assert_eq!(names(&fetched().dir), ["config.json", "model.safetensors", "tokenizer.json"]);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(!paths.iter().any(|path| path.contains("safetensors")), "{paths:?}");
    fetched();
    assert!(server.requests().is_empty(), "and never asked for again");
}

#[test]
fn a_commit_in_the_cache_is_used_where_the_hub_does_not_help() {
    for mishap in [Mishap::HangUp, Mishap::Status(404, ""), Mishap::Status(401, "")] {
        let (server, cache, options, _) = hub(5000);
        without_tokenizer(cache.path(), &options);
        server.mishap("/revision/", 100, mishap);
        let snapshot = fetch_model(MODEL, Some(COMMIT), &options, &Silent).unwrap();
        assert_eq!(names(&snapshot.dir), ["config.json", "model.safetensors"]);
        let offline = HubOptions { offline: true, ..options };
        server.requests();
        fetch_model(MODEL, Some(COMMIT), &offline, &Silent).unwrap();
        assert!(server.requests().is_empty());
    }
}
