//! What may a feature database do that somebody else wrote?
//!
//! An SQLite file is more than numbers: its schema is program text (views, triggers, generated columns), and its pages
//! can point at each other in a way that makes a small file an endless walk. So a database is believed only where its
//! tables are the ones that this program writes, views and triggers are switched off, and every query has a budget of
//! steps within which an interruption is heard too. The measures are those of SQLite's own advice for files of unknown
//! origin (<https://sqlite.org/security.html>, "Untrusted SQLite Database Files").

use super::format::{TABLES, failure};
use crate::error::InterpretError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, Row};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps of SQLite's machine between two looks at the clock of steps and at the interruption: well under a millisecond.
const STEPS_PER_LOOK: i32 = 10_000;
/// Steps that any query may take: about two seconds.
const STEPS: u64 = 200_000_000;
/// Further steps for each byte of the file. A row takes some fifty steps to read and at least as many bytes.
const STEPS_PER_BYTE: u64 = 16;

/// Says when to stop: the user's interruption.
pub(super) type Stop = Box<dyn FnMut() -> bool + Send>;

/// The steps that the running query has taken, and those that it may take.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    taken: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    /// For a file of so many bytes.
    pub(super) fn of(file_bytes: u64) -> Self {
        Budget { taken: Arc::default(), limit: STEPS.saturating_add(file_bytes.saturating_mul(STEPS_PER_BYTE)) }
    }

    /// Begins to count anew; to be called before each query.
    pub(super) fn begin(&self) {
        self.taken.store(0, Ordering::Relaxed);
    }

    /// Whether a query that was stopped had used up its steps; else the user stopped it.
    pub(super) fn is_used_up(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.limit
    }

    /// Takes another stretch of steps; whether they were still there.
    fn take(&self) -> bool {
        let steps = STEPS_PER_LOOK as u64;
        self.taken.fetch_add(steps, Ordering::Relaxed) + steps <= self.limit
    }
}

/// Takes the connection's program text away and counts its steps from now on.
pub(super) fn restrain(connection: &Connection, budget: &Budget, mut stop: Stop) -> rusqlite::Result<()> {
    for (setting, to) in [
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    ] {
        connection.set_db_config(setting, to)?;
    }
    let counted = budget.clone();
    connection.progress_handler(STEPS_PER_LOOK, Some(move || !counted.take() || stop()));
    connection.pragma_update(None, "cell_size_check", true)
}

/// Refuses a database whose tables are not the ones that this program writes. Tables and indices beside them, which
/// somebody may have added for queries of his own, are left alone: nothing here reads them.
pub(super) fn check_tables(connection: &Connection, path: &Path) -> Result<(), InterpretError> {
    let model = Connection::open_in_memory().map_err(failure(path))?;
    model.execute_batch(TABLES).map_err(failure(path))?;
    let expected = objects(&model).map_err(failure(path))?;
    let found = objects(connection).map_err(failure(path))?;
    for (name, wanted) in &expected {
        let problem = match found.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            None => format!("the table {name} is missing"),
            Some((_, Object { kind, .. })) if kind != "table" => format!("{name} is a {kind} and not a table"),
            Some((_, object)) if object != wanted => format!("the table {name} is made in another way"),
            Some(_) => continue,
        };
        return Err(InterpretError::ForeignDatabase { path: path.to_owned(), problem });
    }
    Ok(())
}

/// What a schema says of one of its objects.
#[derive(Debug, PartialEq)]
struct Object {
    /// `table`, `view`, `index` or `trigger`.
    kind: String,
    /// The statement that makes it; white space counts once.
    sql: String,
}

/// Tables and views with what they are made by, without SQLite's own. Those that the text index keeps its words in are
/// among them.
fn objects(connection: &Connection) -> rusqlite::Result<Vec<(String, Object)>> {
    let mut select = connection.prepare(
        "SELECT name, type, coalesce(sql, '') FROM sqlite_schema WHERE type IN ('table', 'view')
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let read = |row: &Row<'_>| {
        let sql: String = row.get(2)?;
        Ok((row.get(0)?, Object { kind: row.get(1)?, sql: sql.split_whitespace().collect::<Vec<_>>().join(" ") }))
    };
    select.query_map([], read)?.collect()
}

/// A number of things, or an index.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

/// A number that can be reckoned with. SQLite has no NaN but knows infinity.
pub(super) fn finite(row: &Row<'_>, column: usize) -> rusqlite::Result<f64> {
    let value: f64 = row.get(column)?;
    if value.is_finite() { Ok(value) } else { Err(unfit(column, format!("{value} is not a finite number"))) }
}

/// As [`finite`], where there may be none.
pub(super) fn finite_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<f64>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null { Ok(None) } else { finite(row, column).map(Some) }
}

/// A cell that holds what it cannot hold.
pub(super) fn unfit(column: usize, problem: String) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";

    #[test]
    fn a_query_without_end_ends_by_its_steps_or_by_the_user() {
        let ended_by_steps = |limit: u64, stop: bool| {
            let (connection, budget) =
                (Connection::open_in_memory().expect("memory"), Budget { taken: Arc::default(), limit });
            restrain(&connection, &budget, Box::new(move || stop)).expect("set");
            let error = connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)).expect_err("no end");
            assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
            let used_up = budget.is_used_up();
            budget.begin();
            assert!(!budget.is_used_up());
            used_up
        };
        assert!(ended_by_steps(1_000_000, false));
        assert!(!ended_by_steps(u64::MAX, true));
    }

    #[test]
    fn views_and_triggers_are_switched_off() {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch("CREATE TABLE t (x); CREATE VIEW v AS SELECT 1 AS x").expect("made");
        restrain(&connection, &Budget::of(0), Box::new(|| false)).expect("set");
        assert!(connection.query_row("SELECT x FROM v", [], |_| Ok(())).is_err());
    }
}
