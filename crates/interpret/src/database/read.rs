//! Reads a feature database.

use super::{APPLICATION_ID, Run, VERSION, failure, kind, side};
use crate::error::InterpretError;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use untangle_schema::{Example, FeatureCard, LabelEvidence, LogitEffect};

/// A finished feature database, opened for reading.
#[derive(Debug)]
pub struct Database {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

/// One line of a list of features.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Index of the feature.
    pub feature: usize,
    /// Its label, where there is one.
    pub label: Option<String>,
    /// F1 of the label on held-out rows.
    pub label_score: Option<f64>,
    /// Held-out rows on which the feature fires.
    pub held_out_firings: u64,
    /// Fraction of rows on which it fires.
    pub density: f64,
    /// Largest activation seen.
    pub max_activation: f32,
}

/// Columns of a [`Summary`], in the order that `summary` reads them.
pub(super) const SUMMARY: &str = "SELECT f.id, l.text, l.f1, l.firings, f.density, f.max_activation
    FROM features f LEFT JOIN labels l ON l.feature = f.id";

impl Database {
    /// Opens a database.
    ///
    /// # Errors
    /// When the file is missing, damaged, not a feature database, or of another version.
    pub fn open(path: &Path) -> Result<Self, InterpretError> {
        if let Err(source) = std::fs::File::open(path) {
            return Err(untangle_store::StoreError::Io { path: path.to_owned(), source }.into());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failure(path))?;
        let pragma =
            |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failure(path));
        if pragma("application_id")? != APPLICATION_ID {
            return Err(InterpretError::NotAFeatureDatabase { path: path.to_owned() });
        }
        let found = pragma("user_version")?;
        if found != VERSION {
            return Err(InterpretError::DatabaseVersion { path: path.to_owned(), found, supported: VERSION });
        }
        let database = Self { path: path.to_owned(), connection };
        database.check_size()?;
        Ok(database)
    }

    /// A file that was cut short still opens; its header says how long it should be.
    fn check_size(&self) -> Result<(), InterpretError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let pages = pragma("page_count").and_then(|pages| Ok(pages * pragma("page_size")?)).map_err(self.fail())?;
        let on_disk = std::fs::metadata(&self.path).map(|meta| meta.len()).unwrap_or(0);
        if on_disk < pages {
            return Err(InterpretError::DamagedDatabase { path: self.path.clone() });
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fail(&self) -> impl Fn(rusqlite::Error) -> InterpretError + '_ {
        failure(&self.path)
    }

    /// How the database was made.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run(&self) -> Result<Run, InterpretError> {
        let read = || -> rusqlite::Result<Map<String, Value>> {
            let mut select = self.connection.prepare("SELECT key, value FROM run")?;
            let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, from_json(row, 1)?)))?;
            rows.collect()
        };
        let fields = read().map_err(self.fail())?;
        serde_json::from_value(Value::Object(fields))
            .map_err(|_| InterpretError::DamagedDatabase { path: self.path.clone() })
    }

    /// Number of features.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn n_features(&self) -> Result<usize, InterpretError> {
        let count = self.connection.query_row("SELECT count(*) FROM features", [], |row| row.get::<_, i64>(0));
        Ok(count.map_err(self.fail())? as usize)
    }

    /// Everything about one feature.
    ///
    /// # Errors
    /// When there is no such feature.
    pub fn card(&self, feature: usize) -> Result<FeatureCard, InterpretError> {
        let Some(mut card) = self.bare_card(feature).map_err(self.fail())? else {
            return Err(InterpretError::NoSuchFeature { feature, d_sae: self.n_features()? });
        };
        self.fill(&mut card).map_err(self.fail())?;
        Ok(card)
    }

    fn bare_card(&self, feature: usize) -> rusqlite::Result<Option<FeatureCard>> {
        let mut select = self.connection.prepare_cached(
            "SELECT f.density, f.max_activation, f.mean_activation, f.histogram, l.text, l.source, l.f1, l.precision,
                l.recall, l.mass_recall, l.floor, l.control, l.firings, l.rows
             FROM features f LEFT JOIN labels l ON l.feature = f.id WHERE f.id = ?1",
        )?;
        let read = |row: &Row<'_>| {
            Ok(FeatureCard {
                feature,
                density: row.get(0)?,
                max_activation: row.get(1)?,
                mean_activation: row.get(2)?,
                histogram: from_json(row, 3)?,
                label: row.get(4)?,
                label_source: row.get(5)?,
                label_score: row.get(6)?,
                label_evidence: evidence(row)?,
                examples: Vec::new(),
                sampled: Vec::new(),
                top_logits: Vec::new(),
                bottom_logits: Vec::new(),
            })
        };
        select.query_row([feature as i64], read).optional()
    }

    fn fill(&self, card: &mut FeatureCard) -> rusqlite::Result<()> {
        card.examples = self.examples(card.feature, kind::TOP)?;
        card.sampled = self.examples(card.feature, kind::SAMPLED)?;
        card.top_logits = self.logits(card.feature, side::TOP)?;
        card.bottom_logits = self.logits(card.feature, side::BOTTOM)?;
        Ok(())
    }

    fn examples(&self, feature: usize, kind: &str) -> rusqlite::Result<Vec<Example>> {
        let mut select = self.connection.prepare_cached(
            "SELECT row, document, position, activation, tokens, activations, peak FROM examples
             WHERE feature = ?1 AND kind = ?2 ORDER BY rank",
        )?;
        let read = |row: &Row<'_>| {
            let bytes: Vec<u8> = row.get(5)?;
            Ok(Example {
                row: row.get::<_, i64>(0)? as u64,
                document: row.get(1)?,
                position: row.get(2)?,
                activation: row.get(3)?,
                tokens: from_json(row, 4)?,
                activations: bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
                peak: row.get::<_, i64>(6)? as usize,
            })
        };
        select.query_map(params![feature as i64, kind], read)?.collect()
    }

    fn logits(&self, feature: usize, side: &str) -> rusqlite::Result<Vec<LogitEffect>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT token, id, effect FROM logits WHERE feature = ?1 AND side = ?2 ORDER BY rank")?;
        let read = |row: &Row<'_>| Ok(LogitEffect { token: row.get(0)?, id: row.get(1)?, effect: row.get(2)? });
        select.query_map(params![feature as i64, side], read)?.collect()
    }
}

fn evidence(row: &Row<'_>) -> rusqlite::Result<Option<LabelEvidence>> {
    let Some(precision) = row.get::<_, Option<f64>>(7)? else { return Ok(None) };
    Ok(Some(LabelEvidence {
        precision,
        recall: row.get(8)?,
        mass_recall: row.get(9)?,
        floor: row.get(10)?,
        control: row.get(11)?,
        firings: row.get::<_, i64>(12)? as u64,
        rows: row.get::<_, i64>(13)? as u64,
    }))
}

pub(super) fn summary(row: &Row<'_>) -> rusqlite::Result<Summary> {
    Ok(Summary {
        feature: row.get::<_, i64>(0)? as usize,
        label: row.get(1)?,
        label_score: row.get(2)?,
        held_out_firings: row.get::<_, Option<i64>>(3)?.unwrap_or(0) as u64,
        density: row.get(4)?,
        max_activation: row.get(5)?,
    })
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}
