//! What a feature database is: its tables, how it was made, and what SQLite's failures mean for it.

use crate::error::InterpretError;
use rusqlite::{Error, ErrorCode, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use untangle_sae::{Activation, Sae, Written};
use untangle_schema::ModelIdentity;
use untangle_store::{ActivationSet, Artefact};

/// `PRAGMA application_id`: "Untg".
pub(super) const APPLICATION_ID: i32 = 0x556e_7467;
/// `PRAGMA user_version`: raised whenever a table changes.
pub(super) const VERSION: i32 = 7;

pub(super) const TABLES: &str = "
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE features (
    id INTEGER PRIMARY KEY, density REAL NOT NULL, max_activation REAL NOT NULL, mean_activation REAL NOT NULL,
    histogram TEXT NOT NULL, held_out_firings INTEGER NOT NULL);
CREATE TABLE labels (
    feature INTEGER NOT NULL REFERENCES features (id), kind TEXT NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (feature, kind, source)) WITHOUT ROWID;
CREATE TABLE scores (
    feature INTEGER NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL, scorer TEXT NOT NULL, value REAL NOT NULL,
    low REAL, high REAL, floor REAL, control REAL, n INTEGER NOT NULL, detail TEXT NOT NULL, judge TEXT,
    PRIMARY KEY (feature, kind, source, scorer), FOREIGN KEY (feature, kind, source) REFERENCES labels) WITHOUT ROWID;
CREATE TABLE examples (
    feature INTEGER NOT NULL REFERENCES features (id), kind TEXT NOT NULL, rank INTEGER NOT NULL, row INTEGER NOT NULL,
    document INTEGER NOT NULL, position INTEGER NOT NULL, activation REAL NOT NULL, peak INTEGER NOT NULL,
    tokens TEXT NOT NULL, activations BLOB NOT NULL, by INTEGER, PRIMARY KEY (feature, kind, rank)) WITHOUT ROWID;
CREATE TABLE sharing (
    feature INTEGER PRIMARY KEY REFERENCES features (id), kind TEXT NOT NULL, first INTEGER NOT NULL,
    shares TEXT NOT NULL, cosines TEXT NOT NULL, present TEXT NOT NULL);
CREATE TABLE logits (
    feature INTEGER NOT NULL REFERENCES features (id), side TEXT NOT NULL, rank INTEGER NOT NULL, id INTEGER NOT NULL,
    token TEXT NOT NULL, effect REAL NOT NULL, PRIMARY KEY (feature, side, rank)) WITHOUT ROWID;
CREATE TABLE neighbours (
    feature INTEGER NOT NULL REFERENCES features (id), kind TEXT NOT NULL, rank INTEGER NOT NULL, other INTEGER NOT NULL,
    value REAL NOT NULL, PRIMARY KEY (feature, kind, rank)) WITHOUT ROWID;
CREATE TABLE excerpts (
    id INTEGER PRIMARY KEY, row INTEGER NOT NULL, document INTEGER NOT NULL, position INTEGER NOT NULL,
    peak INTEGER NOT NULL, tokens TEXT NOT NULL);
CREATE TABLE firings (
    feature INTEGER NOT NULL REFERENCES features (id), excerpt INTEGER NOT NULL REFERENCES excerpts (id),
    activations BLOB NOT NULL, PRIMARY KEY (feature, excerpt)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (label, examples, logits, tokenize = 'unicode61 remove_diacritics 2');
";

/// A feature database, as an output.
pub const DATABASE: Artefact =
    Artefact { name: "a finished feature database of Untangle", is_folder: false, is_at: is_database };

/// Whether a file is of SQLite and of this program, whatever its version: both stand in the first hundred bytes.
pub(super) fn is_database(path: &Path) -> std::io::Result<bool> {
    let mut header = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut header)?;
    let application = header.get(68..72).is_some_and(|id| *id == APPLICATION_ID.to_be_bytes());
    Ok(header.starts_with(b"SQLite format 3\0") && application)
}

/// Kinds of examples.
pub(super) mod kind {
    pub(crate) const TOP: &str = "top";
    pub(crate) const SAMPLED: &str = "sampled";
    /// Of each fifth of the range of the activations.
    pub(crate) const BAND: &str = "band";
    pub(crate) const NEAR: &str = "near";
}

/// Sides of the logit effects.
pub(super) mod side {
    pub(crate) const TOP: &str = "top";
    pub(crate) const BOTTOM: &str = "bottom";
}

/// What labels reach of a dictionary whose decoder or encoder was left as it was drawn: what labels reach of features that nobody
/// learned (arXiv 2602.14111).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Name of its directory.
    pub sae: String,
    /// By scorer, the scores of its features' labels at 0, 1, … 100 % of them, ascending.
    pub quantiles: BTreeMap<String, Vec<f64>>,
}

impl Frozen {
    /// The share of its labels whose score is less than `value`, 0 to 1; none of a scorer that did not score them.
    pub fn below(&self, scorer: &str, value: f64) -> Option<f64> {
        let quantiles = self.quantiles.get(scorer).filter(|quantiles| !quantiles.is_empty())?;
        Some(quantiles.partition_point(|quantile| *quantile < value) as f64 / quantiles.len() as f64)
    }
}

/// How a database was made: enough to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Version of the tool.
    pub tool_version: String,
    /// Name of the dictionary's directory.
    pub sae: String,
    /// Its configuration, as its file has it.
    pub config: serde_json::Value,
    /// SHA-256 over its tensors, see [`sae_sha256`].
    pub sae_sha256: String,
    /// Name of the store.
    pub store: String,
    /// Hash over what is known of its content, see [`untangle_store::ActivationSet::content_identity`].
    pub store_content: String,
    /// The model that the store's activations come from, where it says so.
    pub model: Option<ModelIdentity>,
    /// Rows behind the statistics, the examples and the choice of labels; special tokens left out.
    pub rows: u64,
    /// Held-out rows behind the label scores; special tokens left out.
    pub held_out_rows: u64,
    /// Seed of the samples and of the shuffled controls.
    pub seed: u64,
    /// Whether a part of the dictionary was never trained, as far as its training says.
    #[serde(default)]
    pub is_frozen: bool,
    /// The parts of a crosscoder, in order.
    #[serde(default)]
    pub parts: Vec<String>,
    /// What labels of a dictionary reach that did not learn what it writes.
    #[serde(default)]
    pub frozen: Option<Frozen>,
}

impl Run {
    /// The hook point that the dictionary reads, as its configuration has it.
    pub fn hook(&self) -> Option<String> {
        let found = [&self.config["metadata"]["hook_name"], &self.config["hook_name"]];
        found.into_iter().find_map(serde_json::Value::as_str).map(str::to_owned)
    }

    /// Whether the database describes `sae` as it is on `store` as it is.
    pub fn is_of(&self, sae: &Sae, store: &ActivationSet) -> bool {
        let config = serde_json::from_value::<Written>(self.config.clone());
        config.is_ok_and(|config| config == sae.written())
            && self.sae_sha256 == sae_sha256(sae)
            && self.store_content == store.content_identity()
    }
}

/// SHA-256 (hexadecimal) over the tensors of a dictionary, in the order of [`untangle_sae::Parts`], little-endian.
pub fn sae_sha256(sae: &Sae) -> String {
    let parts = sae.parts();
    let [first, second] = match &parts.activation {
        Activation::JumpRelu { threshold } => [&threshold[..], &[]],
        Activation::Gated { r_mag, b_mag } => [&r_mag[..], b_mag],
        Activation::Relu | Activation::TopK { .. } | Activation::AbsTopK { .. } => [&[][..], &[]],
    };
    let mut hash = Sha256::new();
    let skip = parts.w_skip.as_deref().unwrap_or_default();
    for tensor in [&parts.w_enc[..], &parts.b_enc, &parts.w_dec, &parts.b_dec, first, second, skip] {
        for values in tensor.chunks(4096) {
            hash.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an SQLite failure means for the file at `path`.
pub(super) fn failure(path: &Path) -> impl Fn(rusqlite::Error) -> InterpretError + '_ {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => InterpretError::NotAFeatureDatabase { path: path.to_owned() },
        Some(ErrorCode::DatabaseCorrupt) => InterpretError::DamagedDatabase { path: path.to_owned() },
        Some(ErrorCode::OperationInterrupted) => InterpretError::Interrupted,
        _ => match problem_of_cell(&source) {
            Some(problem) => InterpretError::ForeignDatabase { path: path.to_owned(), problem },
            None => InterpretError::Database { path: path.to_owned(), source },
        },
    }
}

/// Whether the error is about what stands in a cell, and what is wrong with it.
fn problem_of_cell(error: &Error) -> Option<String> {
    match error {
        Error::FromSqlConversionFailure(_, _, problem) => Some(problem.to_string()),
        Error::IntegralValueOutOfRange(_, value) => Some(format!("{value} is no number of things")),
        Error::InvalidColumnType(_, name, kind) => Some(format!("{name} is a value of the type {kind}")),
        Error::Utf8Error(problem) => Some(format!("a text is not UTF-8: {problem}")),
        _ => None,
    }
}

/// A cell that holds JSON.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}

/// A value as JSON for a cell.
pub(super) fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
