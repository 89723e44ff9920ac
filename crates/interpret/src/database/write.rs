//! Writes a feature database under a partial name, and gives it its final name when it is whole.

use super::excerpts;
use super::format::{APPLICATION_ID, DATABASE, Run, TABLES, VERSION, failure, json, kind, side};
use super::labels::{self, joined};
use crate::error::InterpretError;
use crate::excerpts::Excerpts;
use rusqlite::{Connection, params};
use std::fs::File;
use std::path::{Path, PathBuf};
use untangle_schema::{Example, FeatureCard, LogitEffect, Neighbour, PartShares};
use untangle_store::durable::{create, remove};
use untangle_store::{Partial, StoreError};

/// A database that is being written. Dropped unfinished, it leaves nothing under the final name.
#[derive(Debug)]
pub struct DatabaseWriter {
    // Dropped in this order: the file goes while its lock is still held.
    connection: Connection,
    _unfinished: Unfinished,
    partial: Partial,
}

/// Removes the unfinished file, which nothing could resume; there is none once it has its final name.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // One that cannot be removed is removed by the next run.
        let _ = remove(&self.0);
    }
}

impl DatabaseWriter {
    /// Begins a database that will be `path`; an existing one is replaced only where `force` is set.
    ///
    /// # Errors
    /// When `path` exists and `force` is not set, when another process writes the same file, or the disk refuses.
    pub fn create(path: &Path, force: bool) -> Result<Self, InterpretError> {
        let partial = Partial::claim_for(path, DATABASE, force)?;
        // What a killed run left behind is of no use: features are written at the end, in one go.
        remove(partial.data())?;
        create(partial.data()).map_err(StoreError::io(partial.data()))?;
        let unfinished = Unfinished(partial.data().to_owned());
        let connection = begin(partial.data()).map_err(failure(partial.data()))?;
        Ok(Self { connection, _unfinished: unfinished, partial })
    }

    /// Adds one feature.
    ///
    /// # Errors
    /// When writing fails, above all on a full disk.
    pub fn put(&mut self, card: FeatureCard) -> Result<(), InterpretError> {
        let ready = Ready::new(card, self.partial.data())?;
        self.put_ready(&ready)
    }

    /// The same with what takes time done before, on another thread.
    pub(crate) fn put_ready(&mut self, ready: &Ready) -> Result<(), InterpretError> {
        put(&self.connection, ready).map_err(failure(self.partial.data()))
    }

    /// Adds the excerpts.
    ///
    /// # Errors
    /// When writing fails, above all on a full disk.
    pub fn put_excerpts(&mut self, excerpts: &Excerpts) -> Result<(), InterpretError> {
        excerpts::put(&self.connection, excerpts).map_err(failure(self.partial.data()))
    }

    /// Completes the file: writes `run`, syncs, and renames.
    ///
    /// # Errors
    /// When writing fails, or the final name was taken meanwhile.
    pub fn finish(self, run: &Run) -> Result<(), InterpretError> {
        put_run(&self.connection, run)
            .and_then(|()| self.connection.execute_batch("INSERT INTO words (words) VALUES ('optimize'); COMMIT"))
            .map_err(failure(self.partial.data()))?;
        self.connection.close().map_err(|(_, error)| failure(self.partial.data())(error))?;
        let data = self.partial.data();
        let synced = File::open(data).and_then(|file| file.sync_all());
        synced.map_err(|source| StoreError::Io { path: data.to_owned(), source })?;
        self.partial.finish()?;
        Ok(())
    }
}

/// A feature with the texts of its rows.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Its examples have no tokens any more.
    pub(crate) card: FeatureCard,
    /// The tokens of its examples, those of every kind behind one another, as JSON.
    tokens: Vec<String>,
    /// What is searched of the examples.
    words: String,
}

impl Ready {
    /// Makes the texts, for the database `path`.
    pub(crate) fn new(mut card: FeatureCard, path: &Path) -> Result<Self, InterpretError> {
        let all = [&card.examples, &card.sampled, &card.banded].into_iter().flatten();
        let all = all.chain(card.near_misses.iter().map(|near| &near.example));
        let tokens =
            all.map(|example| json(&example.tokens)).collect::<rusqlite::Result<_>>().map_err(failure(path))?;
        let words = card.examples.iter().map(around_peak).collect::<Vec<_>>().join(" | ");
        // Freed by the thread that made them: of many threads that free what others made, each waits for the others.
        let all = [&mut card.examples, &mut card.sampled, &mut card.banded].into_iter().flatten();
        all.chain(card.near_misses.iter_mut().map(|near| &mut near.example))
            .for_each(|example| example.tokens = Vec::new());
        Ok(Self { card, tokens, words })
    }
}

/// No journal: an unfinished file is thrown away, never repaired.
fn begin(partial: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(partial)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

fn put_run(connection: &Connection, run: &Run) -> rusqlite::Result<()> {
    let serialised = serde_json::to_value(run).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let mut insert = connection.prepare("INSERT INTO run VALUES (?1, ?2)")?;
    for (key, value) in serialised.as_object().into_iter().flatten() {
        insert.execute(params![key, value.to_string()])?;
    }
    Ok(())
}

fn put(connection: &Connection, ready: &Ready) -> rusqlite::Result<()> {
    let card = &ready.card;
    let (id, mut tokens) = (card.feature as i64, ready.tokens.iter().map(String::as_str));
    let mut insert = connection.prepare_cached("INSERT INTO features VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let (density, max, mean) = (card.density, card.max_activation, card.mean_activation);
    insert.execute(params![id, density, max, mean, json(&card.histogram)?, card.held_out_firings as i64])?;
    card.labels.iter().try_for_each(|label| labels::put(connection, id, label))?;
    let plain = |example| (None, example);
    put_examples(connection, id, kind::TOP, card.examples.iter().map(plain), &mut tokens)?;
    put_examples(connection, id, kind::SAMPLED, card.sampled.iter().map(plain), &mut tokens)?;
    put_examples(connection, id, kind::BAND, card.banded.iter().map(plain), &mut tokens)?;
    let near = card.near_misses.iter().map(|near| (Some(near.by), &near.example));
    put_examples(connection, id, kind::NEAR, near, &mut tokens)?;
    put_sharing(connection, id, card.sharing.as_ref())?;
    put_logits(connection, id, side::TOP, &card.top_logits)?;
    put_logits(connection, id, side::BOTTOM, &card.bottom_logits)?;
    put_neighbours(connection, id, &card.neighbours)?;
    let mut insert =
        connection.prepare_cached("INSERT INTO words (rowid, label, examples, logits) VALUES (?1, ?2, ?3, ?4)")?;
    let logits: Vec<&str> = card.top_logits.iter().map(|effect| effect.token.as_str()).collect();
    let label = joined(card.labels.iter().map(|label| label.text.as_str()));
    insert.execute(params![id, label, ready.words, logits.join(" ")])?;
    Ok(())
}

/// Examples, each with the feature that fires in place of this one, where one does, and with its tokens as JSON.
fn put_examples<'a>(
    connection: &Connection,
    id: i64,
    kind: &str,
    examples: impl Iterator<Item = (Option<usize>, &'a Example)>,
    tokens: &mut impl Iterator<Item = &'a str>,
) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO examples VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
    for (rank, (by, example)) in examples.enumerate() {
        let activations: Vec<u8> = example.activations.iter().flat_map(|a| a.to_le_bytes()).collect();
        insert.execute(params![
            id,
            kind,
            rank as i64,
            example.row as i64,
            example.document,
            example.position,
            example.activation,
            example.peak as i64,
            tokens.next(),
            activations,
            by.map(|by| by as i64),
        ])?;
    }
    Ok(())
}

fn put_logits(connection: &Connection, id: i64, side: &str, effects: &[LogitEffect]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO logits VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (rank, effect) in effects.iter().enumerate() {
        insert.execute(params![id, side, rank as i64, effect.id, effect.token, effect.effect])?;
    }
    Ok(())
}

fn put_sharing(connection: &Connection, id: i64, sharing: Option<&PartShares>) -> rusqlite::Result<()> {
    let Some(PartShares { kind, shares, cosines, present }) = sharing else { return Ok(()) };
    let first = present.first().map_or(-1, |part| *part as i64);
    let mut insert = connection.prepare_cached("INSERT INTO sharing VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    insert.execute(params![id, kind, first, json(shares)?, json(cosines)?, json(present)?])?;
    Ok(())
}

fn put_neighbours(connection: &Connection, id: i64, neighbours: &[Neighbour]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO neighbours VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (rank, near) in neighbours.iter().enumerate() {
        insert.execute(params![id, near.kind.name(), rank as i64, near.feature as i64, near.value])?;
    }
    Ok(())
}

/// The words around the peak, for the search: what the feature fires on, not everything that stands nearby.
fn around_peak(example: &Example) -> String {
    let (from, to) = (example.peak.saturating_sub(2), (example.peak + 2).min(example.tokens.len()));
    example.tokens[from.min(to)..to].concat()
}
