//! What may a feature database do that somebody else wrote?
//!
//! An SQLite file is more than numbers: its schema is program text (views, triggers, generated columns), and its pages
//! can point at each other in a way that makes a small file an endless walk. So a database is believed only where its
//! tables are the ones that this program writes, views and triggers are switched off, and every query has a budget of
//! steps within which an interruption is heard too. The measures are those of SQLite's own advice for files of unknown
//! origin (<https://sqlite.org/security.html>, "Untrusted SQLite Database Files").

use super::{TABLES, failure};
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

/// The steps that the running query has taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    /// Begins to count anew; to be called before each query.
    pub(super) fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether a query that was stopped had used up its steps; else the user stopped it.
    pub(super) fn is_used_up(&self, file_bytes: u64) -> bool {
        self.0.load(Ordering::Relaxed) > limit(file_bytes)
    }
}

fn limit(file_bytes: u64) -> u64 {
    STEPS.saturating_add(file_bytes.saturating_mul(STEPS_PER_BYTE))
}

/// Takes the connection's program text away and counts its steps from now on.
pub(super) fn restrain(connection: &Connection, file_bytes: u64, mut stop: Stop) -> rusqlite::Result<Budget> {
    for (setting, to) in [
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    ] {
        connection.set_db_config(setting, to)?;
    }
    let budget = Budget::default();
    let (counted, limit) = (budget.clone(), limit(file_bytes));
    let look = move || {
        let steps = counted.0.fetch_add(STEPS_PER_LOOK as u64, Ordering::Relaxed) + STEPS_PER_LOOK as u64;
        steps > limit || stop()
    };
    connection.progress_handler(STEPS_PER_LOOK, Some(look));
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(budget)
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

/// Whether the error is about what stands in a cell, and what is wrong with it.
pub(super) fn problem_of_cell(error: &Error) -> Option<String> {
    match error {
        Error::FromSqlConversionFailure(_, _, problem) => Some(problem.to_string()),
        Error::IntegralValueOutOfRange(_, value) => Some(format!("{value} is no number of things")),
        Error::InvalidColumnType(_, name, kind) => Some(format!("{name} is a value of the type {kind}")),
        Error::Utf8Error(problem) => Some(format!("a text is not UTF-8: {problem}")),
        _ => None,
    }
}
