//! Which crate may use which: the dependency direction of ARCHITECTURE.md, held against the manifests.

use crate::support::workspace_root;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Edges between the workspace's crates. A new edge is a decision: it is added here and defended in ARCHITECTURE.md.
const INTERNAL: [(&str, &[&str]); 12] = [
    ("schema", &[]),
    ("endpoint", &["schema"]),
    ("store", &["schema"]),
    ("model", &["schema"]),
    ("sae", &["schema"]),
    ("capture", &["schema", "store", "model"]),
    ("train", &["schema", "store", "sae"]),
    ("interpret", &["schema", "store", "model", "sae", "endpoint"]),
    ("organism", &["schema", "model"]),
    ("sources", &["schema", "store", "model", "sae", "capture", "train", "interpret", "organism"]),
    ("serve", &["schema", "model", "interpret"]),
    (
        "cli",
        &[
            "schema",
            "store",
            "model",
            "sae",
            "endpoint",
            "capture",
            "train",
            "interpret",
            "organism",
            "sources",
            "serve",
        ],
    ),
];

/// Libraries that only the named crates may use: native code, and what only a terminal program needs.
const QUARANTINED: [(&str, &[&str]); 17] = [
    ("hdf5-metno", &["store"]),
    ("rusqlite", &["interpret"]),
    ("parquet", &["capture", "interpret"]),
    ("regex", &["model"]),
    ("tokenizers", &["model", "organism"]),
    ("tch", &["model", "sae", "capture", "train", "interpret", "organism", "cli", "tests", "bench"]),
    ("axum", &["serve"]),
    ("hyper", &["serve"]),
    ("tokio", &["serve"]),
    ("anyhow", &["cli"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("console", &["cli"]),
    ("indicatif", &["cli"]),
    ("signal-hook", &["cli"]),
    ("rayon", &["model", "sae", "train", "interpret", "cli", "bench"]),
];

/// All that the vocabulary may use.
const OF_SCHEMA: [&str; 3] = ["serde", "serde_json", "thiserror"];

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Every crate of the workspace with what it uses outside its tests, names without the `untangle-` prefix.
fn direct_edges() -> Edges {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let output = cargo.current_dir(workspace_root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let short = |name: &serde_json::Value| {
        let name = name.as_str().expect("a name");
        name.strip_prefix("untangle-").unwrap_or(name).to_owned()
    };
    let uses = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().expect("a list");
        dependencies.iter().filter(|d| d["kind"] != "dev").map(|d| short(&d["name"])).collect()
    };
    let packages = metadata["packages"].as_array().expect("a list");
    packages.iter().map(|package| (short(&package["name"]), uses(package))).collect()
}

#[test]
fn crates_use_only_the_crates_below_them() {
    let edges = direct_edges();
    let allowed: BTreeMap<_, _> = INTERNAL.into();
    let members: BTreeSet<_> = edges.keys().map(String::as_str).collect();
    for (name, uses) in &edges {
        let internal: BTreeSet<_> = uses.iter().map(String::as_str).filter(|u| members.contains(u)).collect();
        if matches!(name.as_str(), "tests" | "bench" | "examples") {
            assert!(!internal.contains("cli"), "{name} uses the binary's crate");
            continue;
        }
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the list of edges"));
        for used in internal {
            assert!(allowed.contains(&used), "{name} -> {used} is not an allowed edge");
        }
    }
}

#[test]
fn native_libraries_and_terminal_libraries_stay_where_they_belong() {
    for (name, uses) in direct_edges() {
        for (library, users) in QUARANTINED {
            let uses_it = uses.contains(library);
            assert!(!uses_it || users.contains(&name.as_str()), "{name} uses {library}; only {users:?} may");
        }
    }
}

#[test]
fn the_vocabulary_needs_no_library_but_serde() {
    let edges = direct_edges();
    let extra: Vec<_> = edges["schema"].iter().filter(|used| !OF_SCHEMA.contains(&used.as_str())).collect();
    assert!(extra.is_empty(), "schema uses {extra:?}");
}
