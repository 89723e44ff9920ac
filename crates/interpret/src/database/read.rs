//! Reads a feature database.

use super::foreign::{self, Budget, Stop, count, finite, finite_or_none, unfit};
use super::format::{APPLICATION_ID, Run, VERSION, failure, from_json, is_database, kind, sae_sha256, side};
use super::labels;
use crate::error::InterpretError;
use crate::point::model_name;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use untangle_model::LanguageModel;
use untangle_sae::Sae;
use untangle_schema::whole::with_suffix;
use untangle_schema::{Example, FeatureCard, LabelKind, LogitEffect, NearMiss, Nearness, Neighbour, PartShares};

/// A finished feature database, opened for reading.
#[derive(Debug)]
pub struct Database {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) budget: Budget,
    file_bytes: u64,
}

/// One line of a list of features.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Index of the feature.
    pub feature: usize,
    /// Its label, where there is one.
    pub label: Option<String>,
    /// What that speaks of.
    pub label_kind: Option<LabelKind>,
    /// Who gave it.
    pub label_source: Option<String>,
    /// F1 of the label on held-out rows.
    pub label_score: Option<f64>,
    /// What the scorer that was asked for says of it, with what no knowledge reaches.
    #[serde(skip)]
    pub asked: Option<(f64, Option<f64>)>,
    /// Held-out rows on which the feature fires.
    pub held_out_firings: u64,
    /// Fraction of rows on which it fires.
    pub density: f64,
    /// Largest activation seen.
    pub max_activation: f32,
}

/// A query of [`Summary`]s with its columns in the order that `summary` reads them; `join` are further tables, `of_label` what joins
/// the label that is shown.
pub(super) fn summary_query(join: &str, of_label: &str) -> String {
    let columns =
        "f.id, l.text, b.value, f.held_out_firings, f.density, f.max_activation, l.kind, l.source, s.value, s.floor";
    format!("SELECT {columns} FROM features f {join} {of_label}")
}

impl Database {
    /// Opens a database.
    ///
    /// # Errors
    /// When the file is missing, damaged, not a feature database, of another version, or made by something else.
    pub fn open(path: &Path) -> Result<Self, InterpretError> {
        Self::open_until(path, || false)
    }

    /// As [`Self::open`]; what is asked of the database ends with [`InterpretError::Interrupted`] once `stop` says so.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_until(path: &Path, stop: impl FnMut() -> bool + Send + 'static) -> Result<Self, InterpretError> {
        let io = |source| InterpretError::from(untangle_store::StoreError::Io { path: path.to_owned(), source });
        if path.is_dir() {
            return Err(InterpretError::NotAFeatureDatabase { path: path.to_owned() });
        }
        take_back_half_an_addition(path);
        let file_bytes = std::fs::File::open(path).and_then(|file| file.metadata()).map_err(io)?.len();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failure(path))?;
        let (stop, budget): (Stop, _) = (Box::new(stop), Budget::of(file_bytes));
        foreign::restrain(&connection, &budget, stop).map_err(failure(path))?;
        let database = Self { path: path.to_owned(), connection, budget, file_bytes };
        database.check_version()?;
        database.check_size()?;
        foreign::check_tables(&database.connection, path).map_err(|error| database.explain(error))?;
        Ok(database)
    }

    fn check_version(&self) -> Result<(), InterpretError> {
        let pragma =
            |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(self.fail());
        if pragma("application_id")? != APPLICATION_ID {
            return Err(InterpretError::NotAFeatureDatabase { path: self.path.clone() });
        }
        let found = pragma("user_version")?;
        if found != VERSION {
            return Err(InterpretError::DatabaseVersion { path: self.path.clone(), found, supported: VERSION });
        }
        Ok(())
    }

    /// A file that was cut short still opens; its header says how long it should be.
    fn check_size(&self) -> Result<(), InterpretError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let pages = pragma("page_count").and_then(|pages| Ok(pages * pragma("page_size")?)).map_err(self.fail())?;
        if self.file_bytes < pages {
            return Err(InterpretError::DamagedDatabase { path: self.path.clone() });
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a failure of SQLite means.
    pub(super) fn fail(&self) -> impl Fn(rusqlite::Error) -> InterpretError + '_ {
        |source| self.explain(failure(&self.path)(source))
    }

    /// A query that was stopped was stopped by the user, or because it found no end.
    fn explain(&self, error: InterpretError) -> InterpretError {
        match error {
            InterpretError::Interrupted if self.budget.is_used_up() => InterpretError::ForeignDatabase {
                path: self.path.clone(),
                problem: format!("reading it found no end in a file of {} bytes", self.file_bytes),
            },
            error => error,
        }
    }

    /// How the database was made.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run(&self) -> Result<Run, InterpretError> {
        self.budget.begin();
        let read = || -> rusqlite::Result<Map<String, Value>> {
            let mut select = self.connection.prepare("SELECT key, value FROM run")?;
            let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, from_json(row, 1)?)))?;
            rows.collect()
        };
        let fields = read().map_err(self.fail())?;
        serde_json::from_value(Value::Object(fields)).map_err(|error| InterpretError::ForeignDatabase {
            path: self.path.clone(),
            problem: format!("run: {error}"),
        })
    }

    /// Number of features.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn n_features(&self) -> Result<usize, InterpretError> {
        self.budget.begin();
        let features = self.connection.query_row("SELECT count(*) FROM features", [], |row| count(row, 0));
        Ok(features.map_err(self.fail())? as usize)
    }

    /// Refuses a database that does not describe `sae` as it is.
    ///
    /// # Errors
    /// When it describes another dictionary, or the file is damaged.
    pub fn check_dictionary(&self, sae: &Sae) -> Result<(), InterpretError> {
        let (path, found, d_sae) = (self.path.clone(), self.n_features()?, sae.d_sae());
        if found != d_sae {
            return Err(InterpretError::OtherDictionary { path, found, d_sae });
        }
        let run = self.run()?;
        match run.sae_sha256 == sae_sha256(sae) {
            true => Ok(()),
            false => Err(InterpretError::OtherWeights { path, described: run.sae }),
        }
    }

    /// Refuses a database whose features were described on another model than `model`.
    ///
    /// # Errors
    /// When it names other weights, or the file is damaged.
    pub fn check_model(&self, model: &LanguageModel) -> Result<(), InterpretError> {
        let given = model.identity();
        match self.run()?.model {
            Some(own) if own.weights_sha256 != given.weights_sha256 => Err(InterpretError::OtherModel {
                expected: model_name(&own.name, &own.weights_sha256),
                found: model_name(&given.name, &given.weights_sha256),
            }),
            _ => Ok(()),
        }
    }

    /// Everything about one feature.
    ///
    /// # Errors
    /// When there is no such feature.
    pub fn card(&self, feature: usize) -> Result<FeatureCard, InterpretError> {
        self.budget.begin();
        let Some(mut card) = self.bare_card(feature).map_err(self.fail())? else {
            return Err(InterpretError::NoSuchFeature { feature, d_sae: self.n_features()? });
        };
        self.fill(&mut card).map_err(self.fail())?;
        Ok(card)
    }

    fn bare_card(&self, feature: usize) -> rusqlite::Result<Option<FeatureCard>> {
        let mut select = self.connection.prepare_cached(
            "SELECT density, max_activation, mean_activation, histogram, held_out_firings FROM features WHERE id = ?1",
        )?;
        let read = |row: &Row<'_>| {
            Ok(FeatureCard {
                feature,
                density: finite(row, 0)?,
                max_activation: finite(row, 1)? as f32,
                mean_activation: finite(row, 2)? as f32,
                histogram: from_json(row, 3)?,
                held_out_firings: count(row, 4)?,
                ..FeatureCard::default()
            })
        };
        select.query_row([feature as i64], read).optional()
    }

    fn fill(&self, card: &mut FeatureCard) -> rusqlite::Result<()> {
        card.labels = labels::read(&self.connection, card.feature as i64)?;
        let plain = |(_, example)| example;
        card.examples = self.examples(card.feature, kind::TOP)?.into_iter().map(plain).collect();
        card.sampled = self.examples(card.feature, kind::SAMPLED)?.into_iter().map(plain).collect();
        card.banded = self.examples(card.feature, kind::BAND)?.into_iter().map(plain).collect();
        let near = self.examples(card.feature, kind::NEAR)?.into_iter();
        card.near_misses = near.filter_map(|(by, example)| Some(NearMiss { by: by?, example })).collect();
        card.sharing = self.sharing(card.feature)?;
        card.top_logits = self.logits(card.feature, side::TOP)?;
        card.bottom_logits = self.logits(card.feature, side::BOTTOM)?;
        card.neighbours = self.neighbours(card.feature)?;
        Ok(())
    }

    /// How a crosscoder's feature is shared.
    fn sharing(&self, feature: usize) -> rusqlite::Result<Option<PartShares>> {
        let mut select =
            self.connection.prepare_cached("SELECT kind, shares, cosines, present FROM sharing WHERE feature = ?1")?;
        let read = |row: &Row<'_>| {
            let (shares, cosines, present) = (from_json(row, 1)?, from_json(row, 2)?, from_json(row, 3)?);
            Ok(PartShares { kind: row.get(0)?, shares, cosines, present })
        };
        select.query_row([feature as i64], read).optional()
    }

    /// Examples, each with the feature that fires in place of this one, where one does.
    fn examples(&self, feature: usize, kind: &str) -> rusqlite::Result<Vec<(Option<usize>, Example)>> {
        let mut select = self.connection.prepare_cached(
            "SELECT row, document, position, activation, tokens, activations, peak, by FROM examples
             WHERE feature = ?1 AND kind = ?2 ORDER BY rank",
        )?;
        let read = |row: &Row<'_>| {
            let bytes: Vec<u8> = row.get(5)?;
            let example = Example {
                row: count(row, 0)?,
                document: row.get(1)?,
                position: row.get(2)?,
                activation: finite(row, 3)? as f32,
                tokens: from_json(row, 4)?,
                activations: bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
                peak: count(row, 6)? as usize,
            };
            let tokens = example.tokens.len();
            if bytes.len() != 4 * tokens || example.peak >= tokens {
                let (bytes, peak) = (bytes.len(), example.peak);
                return Err(unfit(
                    5,
                    format!("an example of {tokens} tokens has {bytes} bytes of activations, peak {peak}"),
                ));
            }
            let by: Option<i64> = row.get(7)?;
            Ok((by.map(|by| by as usize), example))
        };
        select.query_map(params![feature as i64, kind], read)?.collect()
    }

    fn logits(&self, feature: usize, side: &str) -> rusqlite::Result<Vec<LogitEffect>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT token, id, effect FROM logits WHERE feature = ?1 AND side = ?2 ORDER BY rank")?;
        let read =
            |row: &Row<'_>| Ok(LogitEffect { token: row.get(0)?, id: row.get(1)?, effect: finite(row, 2)? as f32 });
        select.query_map(params![feature as i64, side], read)?.collect()
    }

    fn neighbours(&self, feature: usize) -> rusqlite::Result<Vec<Neighbour>> {
        let mut select = self.connection.prepare_cached(
            "SELECT kind, other, value FROM neighbours WHERE feature = ?1 ORDER BY kind = 'coactivation', rank",
        )?;
        let read = |row: &Row<'_>| {
            let kind: String = row.get(0)?;
            let kind = Nearness::named(&kind).ok_or_else(|| unfit(0, format!("{kind:?} is no kind of nearness")))?;
            Ok(Neighbour { kind, feature: count(row, 1)? as usize, value: finite(row, 2)? as f32 })
        };
        select.query_map([feature as i64], read)?.collect()
    }
}

/// Where a process was killed while it added to the database, its journal says how the file was before. SQLite puts that back
/// for whoever may write; who may not is told of the journal when the file is read.
fn take_back_half_an_addition(path: &Path) {
    let journal = with_suffix(path, "-journal");
    if journal.exists() && is_database(path).unwrap_or(false) {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let look = |connection: Connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        let _ = Connection::open_with_flags(path, flags).and_then(look);
    }
}

pub(super) fn summary(row: &Row<'_>) -> rusqlite::Result<Summary> {
    let kind = |name: String| LabelKind::named(&name).ok_or_else(|| unfit(6, format!("{name:?} is no kind of label")));
    Ok(Summary {
        feature: count(row, 0)? as usize,
        label: row.get(1)?,
        label_kind: row.get::<_, Option<String>>(6)?.map(kind).transpose()?,
        label_source: row.get(7)?,
        label_score: finite_or_none(row, 2)?,
        asked: finite_or_none(row, 8)?.map(|value| finite_or_none(row, 9).map(|floor| (value, floor))).transpose()?,
        held_out_firings: count(row, 3)?,
        density: finite(row, 4)?,
        max_activation: finite(row, 5)? as f32,
    })
}
