//! Features are found by text, score, density and kind of label, in every order.

use std::collections::BTreeMap;
use std::path::Path;
use untangle_interpret::database::{Only, Query, Sort};
use untangle_interpret::{Database, DatabaseEditor};
use untangle_schema::{Label, LabelKind, Score};

/// The database of `database.rs`, in which feature 3 has no label; 1 gets an output label of another source and scorer.
fn database(folder: &Path) -> Database {
    let path = folder.join("FEATURES.db");
    crate::database::write(&path);
    let mut editor = DatabaseEditor::open(&path).expect("valid");
    let score = |value| Score {
        judge: None,
        scorer: "detection".into(),
        value,
        interval: None,
        floor: None,
        control: None,
        n: 9,
        detail: BTreeMap::new(),
    };
    let label =
        |kind, text: &str, value| Label { kind, source: "llm".into(), text: text.into(), scores: vec![score(value)] };
    editor.put_label(1, &label(LabelKind::Output, "says river", 0.75)).expect("put");
    editor.put_label(4, &label(LabelKind::Input, "umlauts", 0.5)).expect("put");
    editor.commit().expect("kept");
    drop(editor);
    let changed = rusqlite::Connection::open(&path).expect("a database");
    let set = "UPDATE features SET density = CASE id WHEN 0 THEN 0.5 WHEN 2 THEN 0 ELSE id / 100.0 END";
    changed.execute_batch(set).expect("changed");
    drop(changed);
    Database::open(&path).expect("valid")
}

#[test]
fn queries_narrow_down_and_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = database(folder.path());
    let found = |query: Query| -> Vec<usize> {
        database.query(&query).expect("asked").iter().map(|summary| summary.feature).collect()
    };
    let all = Query::default;
    // F1 is 0.9, 0.89, 0.88, none, 0.86.
    assert_eq!(found(all()), [0, 1, 2, 4, 3]);
    assert_eq!(found(Query { reversed: true, ..all() }), [4, 2, 1, 0, 3], "what has no score stays last");
    assert_eq!(found(Query { sort: Sort::Density, ..all() }), [0, 4, 3, 1, 2]);
    assert_eq!(found(Query { sort: Sort::Density, reversed: true, ..all() }), [2, 1, 3, 4, 0]);
    assert_eq!(found(Query { sort: Sort::Activation, ..all() }), [4, 3, 2, 1, 0]);
    assert_eq!(found(Query { sort: Sort::Number, limit: Some(2), ..all() }), [0, 1]);
    assert_eq!(found(Query { sort: Sort::Number, limit: Some(2), offset: 3, ..all() }), [3, 4]);
    assert_eq!(found(Query { sort: Sort::Number, offset: usize::MAX, ..all() }), [0; 0]);
    assert_eq!(found(Query { sort: Sort::Score(Some("detection".into())), ..all() }), [1, 4, 0, 2, 3]);
    let scored = Query { sort: Sort::Score(Some("detection".into())), min_score: Some(0.6), ..all() };
    assert_eq!(found(scored), [1]);
    assert_eq!(found(Query { min_score: Some(0.885), ..all() }), [0, 1]);
    assert_eq!(found(Query { min_density: Some(0.03), max_density: Some(0.1), ..all() }), [4, 3]);
    assert_eq!(found(Query { kind: Some(LabelKind::Output), ..all() }), [1]);
    assert_eq!(found(Query { source: Some("llm".into()), ..all() }), [1, 4]);
    assert_eq!(found(Query { only: Some(Only::Unlabelled), ..all() }), [3]);
    assert_eq!(
        found(Query { only: Some(Only::ByRulesAlone), ..all() }),
        [0, 1, 3],
        "an output label says nothing of when"
    );
    assert_eq!(found(Query { only: Some(Only::Dead), ..all() }), [2]);
    assert_eq!(found(Query { only: Some(Only::Alive), ..all() }), [0, 1, 4, 3]);
    assert_eq!(found(Query { only: Some(Only::Labelled), sort: Sort::Number, ..all() }), [0, 1, 2, 4]);
    let words = |text: &str| Query { text: text.into(), ..all() };
    assert_eq!(found(Query { kind: Some(LabelKind::Output), ..words("bridge") }), [1]);
    assert_eq!(found(Query { sort: Sort::Number, ..words("umlauts") }), [4]);
    assert_eq!(
        found(Query { max_density: Some(0.02), ..words("?!") }),
        [1, 2],
        "text without letters is narrowed down, too"
    );
    for (only, n) in [(Only::Labelled, 4), (Only::Unlabelled, 1), (Only::Dead, 1), (Only::Alive, 4)] {
        assert_eq!(database.count(only).expect("counted"), n, "{only:?}");
    }
}

#[test]
fn summaries_are_those_that_were_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = database(folder.path());
    let found: Vec<usize> =
        database.summaries_of(&[4, 0, 99, 4]).expect("asked").iter().map(|summary| summary.feature).collect();
    assert_eq!(found, [0, 4]);
    assert!(database.summaries_of(&[]).expect("asked").is_empty());
}
