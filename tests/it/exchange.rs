//! Features for other tools, and explanations of theirs, from the command line.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const FEATURES: usize = 300;

fn described() -> (TempDir, PathBuf, PathBuf) {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (store, sae, database) = (path("store.h5"), path("sae"), path("features.db"));
    let capture = "capture organism --text organism --hook blocks.2.hook_resid_post --tokens 30000";
    Untangle::new(capture).option("--out", &store).succeed();
    let train = format!("train --d-sae {FEATURES} --k 8 --tokens 60000 --batch 1024");
    Untangle::new(&train).arg(&store).option("--out", &sae).succeed();
    let features = Untangle::new("features --no-outputs --model organism").arg(&sae).option("--store", &store);
    features.option("--out", &database).succeed();
    (folder, sae, database)
}

/// The rows of all batches of a folder.
fn rows(folder: &Path, batches: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in 0..batches {
        let file = fs::File::open(folder.join(format!("batch-{batch}.jsonl.gz"))).expect("is there");
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("is packed");
        rows.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("is JSON")));
    }
    rows
}

#[test]
fn features_go_to_other_tools_and_explanations_come_back() {
    let (folder, sae, database) = described();
    let out = folder.path().join("np");
    let export = || Untangle::new("export --form neuronpedia").arg(&database).option("--out", &out);
    export().option("--sae", &sae).option("--source-id", "2-toy-res").succeed();
    let features = rows(&out.join("features"), 2);
    assert_eq!(features.len(), FEATURES);
    let best = Untangle::new("show").arg(&database).json()["features"][0].clone();
    let number = best["feature"].as_u64().expect("a number") as usize;
    let row = &features[number];
    assert_eq!((&row["index"], &row["layer"]), (&Value::from(number.to_string()), &Value::from("2-toy-res")));
    assert_eq!((&row["modelId"], &row["sourceSetName"]), (&Value::from("organism"), &Value::from("toy-res")));
    assert_eq!(row["hookName"], "blocks.2.hook_resid_post");
    assert!(row["vector"].as_array().expect("a list").len() > 8 && row["hasVector"] == true, "{row}");
    let activations = rows(&out.join("activations"), 2);
    let name = number.to_string();
    let of_best: Vec<&Value> = activations.iter().filter(|row| row["index"] == name.as_str()).collect();
    let top = of_best[0];
    let values = top["values"].as_array().expect("a list");
    let peak = top["maxValueTokenIndex"].as_u64().expect("a place") as usize;
    assert_eq!((&values[peak], values.len()), (&top["maxValue"], top["tokens"].as_array().expect("a list").len()));
    assert!(
        of_best.iter().any(|row| row["binMin"] == -1.0)
            && of_best.iter().any(|row| row["binContains"].as_f64() > Some(0.0))
    );
    // Also where the token that an example was chosen for is not the strongest of its window.
    for row in &activations {
        let at = row["maxValueTokenIndex"].as_u64().expect("a place") as usize;
        assert_eq!(row["values"][at], row["maxValue"], "{row}");
    }
    let ids: BTreeSet<&str> = activations.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids.len(), activations.len(), "every id is its own");

    // What is there already is replaced with --force alone, and nothing else ever is.
    export().run().fails_with(USAGE, &["--force"]);
    fs::write(out.join("mine.txt"), "mine").expect("is written");
    export().words("--force").run().fails_with(USAGE, &["np"]);

    // The explanations that were written are read again, as labels of another source.
    let explanations = out.join("explanations").join("batch-0.jsonl.gz");
    let imported = Untangle::new("import").arg(&database).arg(&explanations).option("--source", "np").json();
    assert!(imported["sources"]["np"].as_u64() > Some(10), "{imported}");
    let shown = Untangle::new("show").arg(&database).arg(number.to_string()).json();
    let labels = shown["features"][0]["labels"].as_array().or(shown["labels"].as_array()).expect("a list").clone();
    let texts: Vec<&str> =
        labels.iter().filter(|label| label["source"] == "np").filter_map(|l| l["text"].as_str()).collect();
    assert_eq!(texts.len(), 2, "{labels:?}");
    let kinds = |kind: &str| labels.iter().filter(|l| l["source"] == "np" && l["kind"] == kind).count();
    assert_eq!((kinds("input"), kinds("output")), (1, 1), "each kind comes back as what it was: {labels:?}");
    let own = Untangle::new("import").arg(&database).arg(&explanations).option("--source", "tokens").run();
    own.fails_with(USAGE, &["--source tokens", "the program's own"]);
    let wrong = folder.path().join("wrong.jsonl");
    fs::write(&wrong, "{\"index\": 3}\n{\"index\": 4, \"description\": \" \"}\n").expect("is written");
    let nothing = Untangle::new("import").arg(&database).arg(&wrong).run();
    nothing.fails_with_story(BAD_INPUT, &["nothing was changed"]);
    assert!(nothing.stderr.contains("2 rows have no description"), "{}", nothing.stderr);
    fs::write(&wrong, "{\"index\": 9999, \"description\": \"too far\"}").expect("is written");
    Untangle::new("import").arg(&database).arg(&wrong).run().fails_with(BAD_INPUT, &["9999", "wrong.jsonl"]);
}

#[test]
fn tables_and_batches_hold_every_feature_and_a_wrong_name_makes_nothing() {
    let (folder, _, database) = described();
    let out = |name: &str| folder.path().join(name);
    let export = |form: &str| Untangle::new("export --form").words(form).arg(&database).option("--out", out(form));
    export("csv").succeed();
    let table = fs::read_to_string(out("csv").join("features.csv")).expect("is there");
    assert!(table.starts_with("feature,density,") && table.contains("input_label"), "{}", &table[..200]);
    assert_eq!(
        table.lines().filter(|line| line.split(',').next().is_some_and(|id| id.parse::<usize>().is_ok())).count(),
        FEATURES
    );
    export("saedashboard").succeed();
    let batch = fs::read_to_string(out("saedashboard").join("batch-0.json")).expect("is there");
    let batch: Value = serde_json::from_str(&batch).expect("is JSON");
    let skipped = fs::read_to_string(out("saedashboard").join("skipped_indexes.json")).expect("is there");
    let skipped: Value = serde_json::from_str(&skipped).expect("is JSON");
    let silent =
        skipped["skipped_indexes"].as_array().expect("a list").iter().filter(|id| id.as_u64() < Some(128)).count();
    assert_eq!(batch["features"].as_array().expect("a list").len(), 128 - silent);
    assert_eq!((&batch["model_id"], &batch["layer"]), (&Value::from("organism"), &Value::from(2)));
    let refused = export("neuronpedia").option("--source-id", "../2-res").run();
    refused.fails_with(USAGE, &["../2-res"]);
    assert!(!out("neuronpedia").exists() && !out("neuronpedia.partial").exists());
}
