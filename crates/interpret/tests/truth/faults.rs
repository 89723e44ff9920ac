//! What is wrong with a file of annotated text is said with its line and a remedy.

use std::path::Path;
use untangle_interpret::{AnnotatedCorpus, InterpretError};
use untangle_schema::{Classify, Fault};

const HEADER: &str = r#"{"format":"untangle-annotated-text","version":1,"concepts":[
    {"id":0,"name":"landmark","family":"places","kind":"mention","parents":[],"definition":"a landmark"},
    {"id":1,"name":"bridge","family":"places","kind":"mention","parents":[0],"definition":"a bridge"}]}"#;
const DOCUMENT: &str = r#"{"text":"A brídge.","split":"train","annotations":[
    {"concept":1,"kind":"mention","start":2,"end":9,"decidable_from":9}]}"#;

/// Header and documents, each on a line of its own.
fn file(header: &str, documents: &[&str]) -> Vec<u8> {
    let lines = std::iter::once(header).chain(documents.iter().copied());
    lines.map(|line| line.replace('\n', " ") + "\n").collect::<String>().into_bytes()
}

fn read(dir: &Path, bytes: &[u8]) -> Result<AnnotatedCorpus, InterpretError> {
    let path = dir.join("known.jsonl");
    std::fs::write(&path, bytes).expect("written");
    AnnotatedCorpus::read(&path)
}

/// The documents of all splits.
fn whole() -> Vec<String> {
    ["train", "validation", "test"].map(|split| DOCUMENT.replace("train", split)).to_vec()
}

#[test]
fn a_whole_file_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let documents = whole();
    let mut lines: Vec<&str> = documents.iter().map(String::as_str).collect();
    lines.insert(1, "");
    let corpus = read(dir.path(), &file(HEADER, &lines)).expect("valid");
    assert_eq!((corpus.concepts().len(), corpus.documents().len()), (2, 3));
    let again = AnnotatedCorpus::new(corpus.concepts().to_vec(), corpus.documents().to_vec()).expect("valid");
    assert_eq!(again.documents(), corpus.documents());
}

#[test]
fn every_fault_names_its_line_and_a_remedy() {
    let dir = tempfile::tempdir().expect("a folder");
    let documents = whole();
    let check = |header: &str, broken: &str, expected: &[&str]| {
        let lines: Vec<&str> = documents.iter().map(String::as_str).chain([broken]).collect();
        let error = read(dir.path(), &file(header, &lines)).expect_err(broken);
        let message = error.to_string();
        assert!(message.contains("known.jsonl") && expected.iter().all(|e| message.contains(e)), "{message}");
        assert!(!message.contains('\n') && error.fault() == Fault::BadInput, "{message}");
    };
    let header = |from: &str, to: &str, expected: &[&str]| check(&HEADER.replace(from, to), "", expected);
    header("untangle-annotated-text", "other", &["line 1: ", "`other`", "expected a header with format"]);
    header("\"version\":1", "\"version\":2", &["line 1: ", "version is 2", "reads version 1"]);
    header("\"id\":1", "\"id\":7", &["line 1: ", "`bridge` has id 7", "place 1", "from 0"]);
    header("\"bridge\"", "\"landmark\"", &["line 1: ", "two concepts are named `landmark`"]);
    header("[0]", "[1]", &["line 1: ", "`bridge` has parent 1", "put parents before children"]);
    header("\"name\"", "\"nom\"", &["line 1: ", "missing field `name`", "the header {"]);
    check(
        "{\"format\":\"untangle-annotated-text\",\"version\":1,\"concepts\":[]}",
        "",
        &["line 1: ", "name at least one concept"],
    );
    check(documents[0].as_str(), "", &["line 1: ", "missing field `format`", "as the first line"]);

    let document = |from: &str, to: &str, expected: &[&str]| check(HEADER, &DOCUMENT.replace(from, to), expected);
    document("\"train\"", "\"dev\"", &["line 5: ", "unknown variant `dev`", "train, validation or test"]);
    document("\"text\"", "\"txt\"", &["line 5: ", "missing field `text`"]);
    document("]}", "", &["line 5: column ", "EOF"]);
    document("\"concept\":1", "\"concept\":2", &["line 5: annotation 1 names concept 2", "ends at 1"]);
    document("mention", "scope", &["line 5: annotation 1 is a Scope", "`bridge` is a Mention"]);
    document("\"start\":2", "\"start\":9", &["line 5: annotation 1 covers bytes 9..9 of a text of 10"]);
    document("\"end\":9", "\"end\":5", &["covers bytes 2..5", "whole characters"]);
    document("\"end\":9", "\"end\":99", &["covers bytes 2..99"]);
    document("from\":9", "from\":11", &["told from byte 11 on", "or null"]);
}

#[test]
fn files_that_are_not_annotated_text_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let message = |bytes: &[u8]| read(dir.path(), bytes).expect_err("not valid").to_string();
    assert!(message(b"").contains("the file is empty"));
    assert!(message(&[0xff, 0xfe, b'\n']).contains("line 1: not UTF-8"));
    let training_only = message(&file(HEADER, &[DOCUMENT]));
    assert!(training_only.contains("no document is for validation"), "{training_only}");
    let missing = AnnotatedCorpus::read(&dir.path().join("none.jsonl")).expect_err("not there");
    assert!(missing.fault() == Fault::BadInput && missing.to_string().contains("none.jsonl"), "{missing}");
    let split = AnnotatedCorpus::read(dir.path()).expect_err("a folder");
    assert_eq!(split.fault(), Fault::BadInput);
}
