//! Are the notebooks as somebody left them who ran them from top to bottom, and small enough to live in a repository?

use crate::support::workspace_root;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// As `notebooks/execute.py` has it.
const LARGEST: usize = 300_000;

/// Folders of somebody's machine. Split, so that this file passes the tests of tidiness.
const PLACES: [&str; 5] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), "/Users/", "/tmp/"];

/// Every notebook with its bytes and what they hold.
fn notebooks() -> Vec<(PathBuf, usize, Value)> {
    let folder = workspace_root().join("notebooks");
    let paths = fs::read_dir(folder).expect("a folder of notebooks").map(|entry| entry.expect("an entry").path());
    let ours = paths.filter(|path| path.extension().is_some_and(|extension| extension == "ipynb"));
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a readable notebook");
        let value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes.len(), value)
    };
    ours.map(read).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text of a notebook, which may be a list of lines.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        lines => list(lines).iter().filter_map(Value::as_str).collect(),
    }
}

/// What a cell says and prints, pictures aside.
fn texts(cell: &Value) -> String {
    let printed = list(&cell["outputs"]).iter().flat_map(|output| {
        let shown = output["data"].as_object().into_iter().flatten().filter(|(kind, _)| kind.starts_with("text/"));
        shown.map(|(_, value)| text(value)).chain([text(&output["text"])])
    });
    [text(&cell["source"])].into_iter().chain(printed).collect()
}

#[test]
fn notebooks_were_run_from_top_to_bottom_and_without_an_error() {
    let notebooks = notebooks();
    assert!(notebooks.len() >= 4, "there are {} notebooks", notebooks.len());
    for (path, _, notebook) in notebooks {
        let code = list(&notebook["cells"]).iter().filter(|cell| cell["cell_type"] == "code");
        for (number, cell) in code.enumerate() {
            assert_eq!(cell["execution_count"], number + 1, "{}: `just notebooks --write` runs it", path.display());
            for output in list(&cell["outputs"]) {
                assert_ne!(output["output_type"], "error", "{}: cell {}", path.display(), number + 1);
                assert_ne!(output["name"], "stderr", "{}: cell {} complains", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn notebooks_are_small_show_pictures_and_name_no_machine() {
    for (path, bytes, notebook) in notebooks() {
        assert!(bytes <= LARGEST, "{} has {bytes} bytes, more than {LARGEST}", path.display());
        let cells = list(&notebook["cells"]);
        let pictures = cells
            .iter()
            .flat_map(|cell| list(&cell["outputs"]))
            .filter(|output| output["data"]["image/png"].is_string());
        assert!(pictures.count() >= 2, "{} shows too little", path.display());
        for place in PLACES {
            let named = cells.iter().find(|cell| texts(cell).contains(place));
            assert!(named.is_none(), "{} names {place}: {}", path.display(), named.map(texts).unwrap_or_default());
        }
    }
}
