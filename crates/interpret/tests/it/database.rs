//! Feature databases come back as they were written, broken ones are refused by name, and labels find features.

use crate::planted::{model, random_dictionary};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use untangle_interpret::steer::step::Change;
use untangle_interpret::{
    Database, DatabaseEditor, DatabaseWriter, Dictionary, InterpretError, Operator, Run, resolve,
};
use untangle_schema::label::F1;
use untangle_schema::{
    Classify, Example, Fault, FeatureCard, Histogram, Label, LabelKind, LogitEffect, Nearness, Neighbour, Score,
};
use untangle_store::StoreError;

fn score(scorer: &str, value: f64) -> Score {
    Score {
        judge: None,
        scorer: scorer.to_owned(),
        value,
        interval: None,
        floor: Some(0.125),
        control: Some(0.0625),
        n: 1000,
        detail: [("precision".to_owned(), 0.5), ("recall".to_owned(), 0.25)].into(),
    }
}

fn card(feature: usize, label: Option<&str>) -> FeatureCard {
    let label = label.map(|text| Label {
        kind: LabelKind::Input,
        source: "tokens".to_owned(),
        text: text.to_owned(),
        scores: vec![score(F1, 0.9 - feature as f64 / 100.0)],
    });
    let example = |row: u64, activation: f32| Example {
        row,
        document: 7,
        position: 2,
        activation,
        tokens: vec![" the".into(), " \"old\"".into(), " bridge".into(), "\n".into()],
        activations: vec![0.0, 0.1, activation, 0.0],
        peak: 2,
    };
    let effect = |token: &str, effect: f32| LogitEffect { token: token.into(), id: 9, effect };
    FeatureCard {
        feature,
        labels: label.into_iter().collect(),
        held_out_firings: 40,
        density: 0.01,
        max_activation: 4.5 + feature as f32,
        mean_activation: 0.1,
        examples: vec![example(1 << 40, 4.5), example(3, 0.1)],
        sampled: vec![example(5, 0.3)],
        banded: vec![example(6, 0.2)],
        histogram: Histogram { edges: vec![1.0, 2.0, 4.0], counts: vec![3, 4] },
        top_logits: vec![effect(" river", 1.5), effect("?!", 1.25)],
        bottom_logits: vec![effect(" sky", -1.5)],
        neighbours: vec![
            Neighbour { kind: Nearness::Decoder, feature: (feature + 1) % 5, value: 0.75 },
            Neighbour { kind: Nearness::Decoder, feature: (feature + 2) % 5, value: -0.5 },
            Neighbour { kind: Nearness::Coactivation, feature: (feature + 3) % 5, value: 0.25 },
        ],
        ..FeatureCard::default()
    }
}

const LABELS: [Option<&str>; 5] =
    [Some("\"bridge\""), Some("after \"bridge\""), Some("end of a sentence"), None, Some("Ünder")];

fn run() -> Run {
    Run {
        tool_version: "0".into(),
        sae: "mid".into(),
        config: serde_json::to_value(random_dictionary(3, 5).written()).expect("JSON"),
        sae_sha256: "22".into(),
        store: "x.h5".into(),
        store_content: "33".into(),
        model: None,
        rows: 1000,
        held_out_rows: 50,
        seed: 0,
        is_frozen: false,
        parts: vec!["a of m".into()],
        frozen: None,
    }
}

pub(crate) fn write(path: &Path) {
    let mut writer = DatabaseWriter::create(path, false).expect("free");
    LABELS.iter().enumerate().for_each(|(feature, label)| writer.put(card(feature, *label)).expect("written"));
    writer.finish(&run()).expect("finished");
}

#[test]
fn cards_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    write(&path);
    let database = Database::open(&path).expect("valid");
    for (feature, label) in LABELS.into_iter().enumerate() {
        assert_eq!(database.card(feature).expect("there"), card(feature, label));
    }
    assert_eq!((database.run().expect("there"), database.n_features().expect("counted")), (run(), 5));
    let beyond = database.card(5).expect_err("five features");
    assert_eq!(
        (beyond.to_string().as_str(), beyond.fault()),
        ("there is no feature 5: the dictionary has 5, from 0", Fault::Usage)
    );
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing beside the database");
}

#[test]
fn features_are_found_by_words_and_by_rank() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    write(&path);
    let database = Database::open(&path).expect("valid");
    let found = |text: &str| -> Vec<usize> {
        database.search(text, 10).expect("searched").iter().map(|summary| summary.feature).collect()
    };
    assert_eq!(found("sentence"), [2]);
    assert_eq!(found("bridge")[..2], [0, 1], "labels before examples");
    assert_eq!(found("bridge").len(), 5, "all fire on it");
    assert_eq!(found("sen end"), [2], "beginnings of words, in any order");
    assert_eq!(found("under"), [4], "accents aside");
    assert_eq!(found("river").len(), 5);
    assert_eq!(found("river")[4], 3, "what has no label comes last");
    assert_eq!(found("?!").len(), 5, "punctuation is looked up as it stands");
    for harmless in ["\"", "a OR", "NEAR(", "*", "", "nothing such", "label:x", "100%"] {
        let _ = found(harmless);
    }
    let listed: Vec<usize> = database.list(10).expect("listed").iter().map(|summary| summary.feature).collect();
    assert_eq!(listed, [0, 1, 2, 4, 3]);
}

fn by(kind: LabelKind, source: &str, text: &str, scores: Vec<Score>) -> Label {
    Label { kind, source: source.to_owned(), text: text.to_owned(), scores }
}

#[test]
fn labels_of_several_sources_stand_side_by_side() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    write(&path);
    let output = by(LabelKind::Output, "logits", "says water", vec![]);
    let judged = by(LabelKind::Input, "somebody", "old bridges", vec![score("detection", 0.8), score("fuzzing", 0.7)]);
    let better = by(LabelKind::Input, "words", "\"stone\"", vec![score(F1, 0.99)]);
    let mut editor = DatabaseEditor::open(&path).expect("ours");
    for label in [&output, &judged, &better] {
        editor.put_label(1, label).expect("added");
    }
    // Another word of the same source takes the place of the first.
    editor.put_label(3, &by(LabelKind::Input, "somebody", "first thought", vec![])).expect("added");
    editor.put_label(3, &by(LabelKind::Input, "somebody", "second thought", vec![])).expect("replaced");
    editor.commit().expect("written");
    drop(editor);

    let database = Database::open(&path).expect("valid");
    let mut expected = card(1, LABELS[1]);
    [&output, &judged, &better].into_iter().for_each(|label| expected.add_label(label.clone()));
    assert_eq!(expected.label_text(), Some("\"stone\""), "the one that holds best");
    assert_eq!(database.card(1).expect("there"), expected);
    assert_eq!(database.card(3).expect("there").labels.len(), 1);
    // A list has each feature once, with the label to show.
    let listed = database.list(10).expect("listed");
    assert_eq!(listed.iter().map(|summary| summary.feature).collect::<Vec<_>>(), [1, 0, 2, 4, 3]);
    assert_eq!((listed[0].label.as_deref(), listed[0].label_score), (Some("\"stone\""), Some(0.99)));
    assert_eq!((listed[4].label.as_deref(), listed[4].label_score), (Some("second thought"), None));
    // All labels are looked up, replaced ones are not.
    let found = |text: &str| -> Vec<usize> {
        database.search(text, 10).expect("searched").iter().map(|summary| summary.feature).collect()
    };
    assert_eq!(
        (found("old bridges")[0], found("water"), found("second"), found("first")),
        (1, vec![1], vec![3], vec![])
    );
    assert_eq!(database.by_label("says water").expect("read")[0].feature, 1);
}

#[test]
fn what_is_added_counts_from_its_commit_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    write(&path);
    let label = by(LabelKind::Output, "logits", "says water", vec![score("intervention", 0.5)]);
    let mut editor = DatabaseEditor::open(&path).expect("ours");
    editor.put_label(0, &label).expect("added");
    let taken = DatabaseEditor::open(&path).expect_err("one at a time");
    assert!(matches!(taken, InterpretError::DatabaseTaken { .. }) && taken.fault() == Fault::Io, "{taken}");
    assert_eq!(Database::open(&path).expect("readable").card(0).expect("there"), card(0, LABELS[0]));
    drop(editor);
    assert_eq!(Database::open(&path).expect("readable").card(0).expect("there"), card(0, LABELS[0]));

    let mut editor = DatabaseEditor::open(&path).expect("free again");
    editor.put_label(0, &label).expect("added");
    let beyond = editor.put_label(5, &label).expect_err("five features");
    assert_eq!(beyond.to_string(), "there is no feature 5: the dictionary has 5, from 0");
    editor.commit().expect("written");
    assert_eq!(editor.remove_source("tokens").expect("removed"), 4);
    editor.commit().expect("written");
    drop(editor);
    let card = Database::open(&path).expect("valid").card(0).expect("there");
    assert_eq!(card.labels, [label]);
    assert!(Database::open(&path).expect("valid").by_label("bridge").expect("read").is_empty());
}

#[test]
fn what_a_killed_process_had_half_added_is_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, killed) = (folder.path().join("FEATURES.db"), folder.path().join("killed.db"));
    write(&path);
    let connection = Connection::open(&path).expect("opened");
    // With a cache of a page, what is added is in the file before it counts.
    let adding = "PRAGMA cache_size = 1; BEGIN IMMEDIATE;
        UPDATE labels SET text = 'half'; UPDATE examples SET tokens = replace(tokens, 'the', hex(zeroblob(9000)));";
    connection.execute_batch(adding).expect("added");
    let before = fs::read(&path).expect("read");
    fs::copy(&path, &killed).expect("copied");
    fs::copy(folder.path().join("FEATURES.db-journal"), folder.path().join("killed.db-journal")).expect("a journal");
    drop(connection);
    assert_ne!(before, fs::read(&path).expect("read"), "something was half added");
    let database = Database::open(&killed).expect("taken back");
    for (feature, label) in LABELS.into_iter().enumerate() {
        assert_eq!(database.card(feature).expect("there"), card(feature, label));
    }
    assert!(!folder.path().join("killed.db-journal").exists());
}

#[test]
fn specifications_are_resolved_and_ambiguity_is_spelt_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    write(&path);
    let database = Database::open(&path).expect("valid");
    let (model, sae, other) = (model(), random_dictionary(16, 5), random_dictionary(16, 6));
    let of = |sae, database| [Dictionary { name: "a", database, ..Dictionary::only(sae) }];
    let known = of(&sae, Some(&database));
    let resolved =
        |text: &str| resolve(&[text.parse().expect("valid")], &model, &known).map(|mut steps| steps.remove(0));
    let turned = |text: &str| match resolved(text).expect("known").change {
        Change::Feature { feature, operator, .. } => (feature, operator),
        Change::Along { .. } => panic!("{text} turns a feature"),
    };
    assert_eq!(turned("bridge:add=2x"), (0, Operator::Add(9.0)), "an exact label is preferred to a part of one");
    assert_eq!(turned("3").1, Operator::Add(7.5), "once its maximum, by default");
    assert_eq!(turned("sentence:ablate").0, 2);
    assert_eq!(turned("'sentence':min=0.5x"), (2, Operator::Min(0.5 * 6.5)));
    assert_eq!(turned("bridge after:max=1").0, 1, "its words in another order");
    let two = [known[0], Dictionary { name: "b", ..Dictionary::only(&other) }];
    let in_two = |text: &str| resolve(&[text.parse().expect("valid")], &model, &two).map(|mut steps| steps.remove(0));
    assert!(matches!(in_two("b#5:add=1").expect("named").change, Change::Feature { dictionary: 1, feature: 5, .. }));
    assert!(matches!(in_two("bridge").expect("labelled").change, Change::Feature { dictionary: 0, feature: 0, .. }));
    let which = in_two("3:add=1").expect_err("of either").to_string();
    assert!(which.contains("any of a, b") && which.contains("a#3"), "{which}");
    assert!(in_two("c#3:add=1").expect_err("none").to_string().contains("no dictionary `c`; at hand are a, b"));
    let several = resolved("bri:add=1").expect_err("two labels have it").to_string();
    assert!(
        several.contains("2 features") && several.contains("0 (\"bridge\")") && several.contains("1 (after"),
        "{several}"
    );
    let none = resolved("river:add=1").expect_err("not a label").to_string();
    assert!(none.contains("no feature is labelled `river`") && none.contains("0 (\"bridge\")"), "{none}");
    assert!(matches!(resolved("9:add=1"), Err(InterpretError::NoSuchFeature { feature: 9, d_sae: 5 })));
    let spec = ["4:add=2x".parse().expect("valid")];
    assert!(matches!(resolve(&spec, &model, &of(&sae, None)), Err(InterpretError::NeedsDatabase { .. })));
    let mistaken = resolve(&spec, &model, &of(&other, Some(&database)));
    assert!(matches!(mistaken, Err(InterpretError::OtherDictionary { .. })));
}

#[test]
fn broken_and_foreign_files_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    write(&path);
    let whole = fs::read(&path).expect("read");
    let opened = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let error = Database::open(&path).map(drop).expect_err("broken");
        assert!(error.to_string().contains("FEATURES.db") && error.fault() == Fault::BadInput, "{error}");
        error
    };
    assert!(matches!(opened(&whole[..whole.len() / 2]), InterpretError::DamagedDatabase { .. }));
    assert!(matches!(
        opened(b"not a database at all, but long enough to be one".repeat(40).as_slice()),
        InterpretError::NotAFeatureDatabase { .. }
    ));
    assert!(matches!(opened(b""), InterpretError::NotAFeatureDatabase { .. }));
    let changed = |at: usize, bytes: [u8; 4]| {
        let mut copy = whole.clone();
        copy[at..at + 4].copy_from_slice(&bytes);
        copy
    };
    // Bytes 60 and 68 of an SQLite header are user_version and application_id.
    assert!(matches!(opened(&changed(60, [0, 0, 0, 9])), InterpretError::DatabaseVersion { found: 9, .. }));
    assert!(matches!(opened(&changed(68, [0; 4])), InterpretError::NotAFeatureDatabase { .. }));
    let missing = Database::open(&folder.path().join("absent.db")).expect_err("absent");
    assert_eq!(missing.fault(), Fault::BadInput);
}

#[test]
fn databases_that_somebody_else_made_or_changed_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, changed) = (folder.path().join("FEATURES.db"), folder.path().join("changed.db"));
    write(&path);
    let with = |sql: &str| {
        fs::copy(&path, &changed).expect("copied");
        Connection::open(&changed)
            .and_then(|connection| connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")))
            .expect("changed");
        Database::open(&changed)
    };
    let endless = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c";
    for (sql, problem) in [
        (format!("DROP TABLE features; CREATE VIEW features AS {endless}"), "features is a view and not a table"),
        ("DROP TABLE logits".to_owned(), "the table logits is missing"),
        ("ALTER TABLE labels ADD COLUMN more TEXT AS (upper(text))".to_owned(), "labels is made in another way"),
        ("DROP TABLE words; CREATE TABLE words (label, examples, logits)".to_owned(), "words is made in another way"),
    ] {
        let error = with(&sql).map(drop).expect_err("refused");
        assert!(error.fault() == Fault::BadInput && error.to_string().contains(problem), "{error}");
    }
    for cell in [
        "features SET histogram = '[]'",
        "features SET density = 9e999",
        "features SET max_activation = 'much'",
        "features SET held_out_firings = -1",
        "labels SET kind = 'sideways'",
        "scores SET value = 9e999",
        "scores SET n = -1",
        "scores SET detail = '[]'",
        "logits SET effect = -9e999",
        "examples SET activations = x'00'",
        "examples SET peak = 1000",
        "examples SET tokens = '{}'",
    ] {
        let database = with(&format!("UPDATE {cell}")).expect("the tables are right");
        let error = (0..5).find_map(|feature| database.card(feature).err()).unwrap_or_else(|| panic!("{cell}"));
        assert!(error.fault() == Fault::BadInput && error.to_string().contains("changed.db"), "{cell}: {error}");
    }
    let with_notes = with("CREATE TABLE notes (x); CREATE INDEX by_density ON features (density)").expect("read");
    assert_eq!(with_notes.n_features().expect("counted"), 5, "what somebody added for himself is no matter");
}

#[test]
fn a_database_is_written_by_one_and_never_overwritten_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("FEATURES.db");
    let first = DatabaseWriter::create(&path, false).expect("free");
    let second = DatabaseWriter::create(&path, false).map(drop);
    assert!(matches!(second, Err(InterpretError::Store(StoreError::Locked { .. }))), "{second:?}");
    drop(first);
    assert!(!path.exists(), "unfinished work has no final name");
    write(&path);
    assert!(matches!(DatabaseWriter::create(&path, false), Err(InterpretError::Store(StoreError::Exists { .. }))));
    let forced = DatabaseWriter::create(&path, true).expect("forced");
    assert_eq!(Database::open(&path).expect("still the old one").n_features().expect("counted"), 5);
    forced.finish(&run()).expect("finished");
    assert_eq!(Database::open(&path).expect("the new one").n_features().expect("counted"), 0);
}
