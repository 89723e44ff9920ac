//! Adds labels to a finished feature database, which stays readable all the while.

use super::format::failure;
use super::labels;
use super::read::Database;
use crate::error::InterpretError;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::time::Duration;
use untangle_schema::{Label, LabelKind};

/// How long another process may hold the file before it counts as taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// A feature database that is being added to.
///
/// What was added counts from [`Self::commit`] on. A process that is killed in between leaves SQLite's journal beside the
/// file, by which whoever opens it next takes the half-done part back.
#[derive(Debug)]
pub struct DatabaseEditor {
    connection: Connection,
    path: PathBuf,
}

impl DatabaseEditor {
    /// Opens a database to add to it.
    ///
    /// # Errors
    /// As those of [`Database::open`]; where another process adds to it, or the file cannot be written.
    pub fn open(path: &Path) -> Result<Self, InterpretError> {
        // Whether it is one of ours is found out before anything is written.
        drop(Database::open(path)?);
        let fail = failure(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
        let prepare = || {
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "journal_mode", "DELETE")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch("BEGIN IMMEDIATE")
        };
        prepare().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                InterpretError::DatabaseTaken { path: path.to_owned() }
            }
            _ => fail(error),
        })?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Adds a label to a feature, in place of one of the same kind and source.
    ///
    /// # Errors
    /// When there is no such feature, or writing fails.
    pub fn put_label(&mut self, feature: usize, label: &Label) -> Result<(), InterpretError> {
        let n: i64 = self
            .connection
            .query_row("SELECT count(*) FROM features", [], |row| row.get(0))
            .map_err(failure(&self.path))?;
        if feature as i64 >= n {
            return Err(InterpretError::NoSuchFeature { feature, d_sae: n as usize });
        }
        self.put(feature as i64, label).map_err(failure(&self.path))
    }

    /// Takes a feature's label of this kind and source away, if there is one.
    ///
    /// # Errors
    /// When writing fails.
    pub fn remove_label(&mut self, feature: usize, kind: LabelKind, source: &str) -> Result<(), InterpretError> {
        let key = params![feature as i64, kind.name(), source];
        let of = "WHERE feature = ?1 AND kind = ?2 AND source = ?3";
        let remove = || {
            self.connection.execute(&format!("DELETE FROM scores {of}"), key)?;
            self.connection.execute(&format!("DELETE FROM labels {of}"), key)?;
            self.index(feature as i64)
        };
        remove().map_err(failure(&self.path))
    }

    /// Takes all labels of a source away; returns how many there were.
    ///
    /// # Errors
    /// When writing fails.
    pub fn remove_source(&mut self, source: &str) -> Result<usize, InterpretError> {
        let remove = || {
            let mut select = self.connection.prepare("SELECT DISTINCT feature FROM labels WHERE source = ?1")?;
            let features = select.query_map([source], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
            self.connection.execute("DELETE FROM scores WHERE source = ?1", [source])?;
            let removed = self.connection.execute("DELETE FROM labels WHERE source = ?1", [source])?;
            features.into_iter().try_for_each(|feature| self.index(feature))?;
            Ok(removed)
        };
        remove().map_err(failure(&self.path))
    }

    /// Makes what was added so far durable.
    ///
    /// # Errors
    /// When writing fails, above all on a full disk; what was added since the last time is then not there.
    pub fn commit(&mut self) -> Result<(), InterpretError> {
        self.connection.execute_batch("COMMIT; BEGIN IMMEDIATE").map_err(failure(&self.path))
    }

    fn put(&self, feature: i64, label: &Label) -> rusqlite::Result<()> {
        labels::put(&self.connection, feature, label)?;
        self.index(feature)
    }

    /// The search finds a feature by all of its labels.
    fn index(&self, feature: i64) -> rusqlite::Result<()> {
        let texts: Vec<String> = labels::read(&self.connection, feature)?.into_iter().map(|label| label.text).collect();
        let words = "SELECT examples, logits FROM words WHERE rowid = ?1";
        let others: Option<(Option<String>, Option<String>)> =
            self.connection.query_row(words, [feature], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (examples, logits) = others.unwrap_or_default();
        self.connection.execute(
            "INSERT OR REPLACE INTO words (rowid, label, examples, logits) VALUES (?1, ?2, ?3, ?4)",
            params![feature, labels::joined(texts.iter().map(String::as_str)), examples, logits],
        )?;
        Ok(())
    }
}
