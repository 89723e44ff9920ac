//! What `activations/FEATURES.md` says of the database of features is what is in one.

use crate::database::write;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Columns by table, in their order, each with its type.
type Schema = BTreeMap<String, Vec<(String, String)>>;

/// The tables of the page: each begins with its name in bold, and every line of its own table with names in code.
fn documented(page: &str) -> Schema {
    let (mut schema, mut table) = (Schema::new(), String::new());
    for line in page.lines() {
        if let Some((name, _)) = line.strip_prefix("**`").and_then(|rest| rest.split_once("`**")) {
            table = name.to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, names, kind, ..] = cells[..]
            && ["INTEGER", "REAL", "TEXT", "BLOB"].contains(&kind)
        {
            let names = names.split(", ").map(|name| (name.trim_matches('`').to_owned(), kind.to_owned()));
            schema.entry(table.clone()).or_default().extend(names);
        }
    }
    schema
}

/// The tables of a database, but for the full-text index, whose columns have no types.
fn real(path: &Path) -> Schema {
    let connection = Connection::open(path).expect("opened");
    let columns = "SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'words%' ORDER BY m.name, c.cid";
    let mut select = connection.prepare(columns).expect("prepared");
    let mut rows = select.query([]).expect("asked");
    let mut schema = Schema::new();
    while let Some(row) = rows.next().expect("read") {
        let [table, name, kind] = [0, 1, 2].map(|at| row.get::<_, String>(at).expect("text"));
        schema.entry(table).or_default().push((name, kind));
    }
    schema
}

#[test]
fn every_column_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../activations/FEATURES.md");
    let page = fs::read_to_string(page).expect("the page");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.db");
    write(&path);
    let sorted = |schema: Schema| -> Schema {
        let sort = |(table, mut columns): (String, Vec<_>)| {
            columns.sort();
            (table, columns)
        };
        schema.into_iter().map(sort).collect()
    };
    let (mut real, documented) = (sorted(real(&path)), sorted(documented(&page)));
    // Its rows are named in a sentence, with the keys.
    real.remove("run").expect("a table of how it was made");
    assert_eq!(documented, real);

    let connection = Connection::open(&path).expect("opened");
    let mut keys = connection.prepare("SELECT key FROM run").expect("prepared");
    let keys: Vec<String> =
        keys.query_map([], |row| row.get(0)).expect("asked").map(|key| key.expect("text")).collect();
    let missing: Vec<&String> = keys.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new(), "keys that the page does not name");
}
