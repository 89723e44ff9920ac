//! What is known of every dictionary that is served, for those who take requests: the engine has the dictionaries themselves.
//!
//! Databases are opened a second time, so that nobody who looks at a feature waits for the model. A line of every feature is kept,
//! because gathering them takes long: label by label, seconds where there are many.

use crate::listing;
use crate::problem::Problem;
use crate::wire::dictionaries::{Described, DictionaryInfo, Overview};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use untangle_interpret::database::{Query, Sort, most_interpretable};
use untangle_interpret::page::Tallies;
use untangle_interpret::steer::Kind;
use untangle_interpret::{Database, Dictionary, InterpretError, Summary};

/// Features that an overview begins with.
const BEST: usize = 12;

/// See the module.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) info: DictionaryInfo,
    database: Option<Mutex<Database>>,
    path: Option<PathBuf>,
    /// A line of every feature, by number; once they have been read.
    lines: OnceLock<Vec<Summary>>,
    overview: OnceLock<Arc<Overview>>,
}

impl Book {
    /// A dictionary, and whether it reads texts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn of(dictionary: &Dictionary<'_>, reads: bool) -> Result<Self, InterpretError> {
        let database = dictionary.database.map(|database| Database::open(database.path())).transpose()?;
        let described = database.as_ref().map(described).transpose()?;
        let info = info(dictionary, reads, described);
        let path = dictionary.database.map(|database| database.path().to_owned());
        Ok(Book { info, database: database.map(Mutex::new), path, lines: OnceLock::new(), overview: OnceLock::new() })
    }

    /// Asks the database.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Database) -> Result<T, InterpretError>) -> Result<T, Problem> {
        let database = self.database.as_ref().ok_or_else(|| Problem::no_database(&self.info.name))?;
        let database = database.lock().unwrap_or_else(PoisonError::into_inner);
        question(&database).map_err(|error| Problem::from(&error).at("dictionary"))
    }

    /// What is known of these features; nothing without a database.
    pub(crate) fn lines(&self, features: &[usize]) -> Result<Vec<Summary>, Problem> {
        if self.database.is_none() || features.is_empty() {
            return Ok(Vec::new());
        }
        match self.lines.get() {
            Some(all) => Ok(listing::of(all, features)),
            None => self.ask(|database| database.summaries_of(features)),
        }
    }

    /// Labels of those features that have one.
    pub(crate) fn names(&self, features: &[usize]) -> Result<BTreeMap<usize, String>, Problem> {
        Ok(self.lines(features)?.into_iter().filter_map(|line| Some((line.feature, line.label?))).collect())
    }

    /// A line of every feature, by number. They are read by a connection of their own, so that others need not wait.
    pub(crate) fn all_lines(&self) -> Result<&[Summary], Problem> {
        if let Some(lines) = self.lines.get() {
            return Ok(lines);
        }
        let path = self.path.as_ref().ok_or_else(|| Problem::no_database(&self.info.name))?;
        let all = Query { sort: Sort::Number, ..Query::default() };
        let read = Database::open(path).and_then(|database| database.query(&all));
        let lines = read.map_err(|error| Problem::from(&error).at("dictionary"))?;
        Ok(self.lines.get_or_init(|| lines))
    }

    /// What a query finds.
    pub(crate) fn find(&self, query: &Query) -> Result<Vec<Summary>, Problem> {
        match listing::can(query) {
            true => Ok(listing::listed(self.all_lines()?, query)),
            false => self.ask(|database| database.query(query)),
        }
    }

    /// The dictionary as a whole.
    pub(crate) fn overview(&self) -> Result<Arc<Overview>, Problem> {
        if let Some(overview) = self.overview.get() {
            return Ok(Arc::clone(overview));
        }
        let lines = self.all_lines()?;
        let mut tallies = Tallies::default();
        lines.iter().for_each(|line| tallies.add_line(line));
        let scores: Vec<f64> = lines.iter().filter_map(|line| line.label_score).collect();
        let mean_f1 = (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64);
        let (dictionary, best) = (self.info.name.clone(), most_interpretable(lines.to_vec(), BEST));
        let overview = Arc::new(Overview { dictionary, tallies, mean_f1, best });
        Ok(Arc::clone(self.overview.get_or_init(|| overview)))
    }
}

fn described(database: &Database) -> Result<Described, InterpretError> {
    let run = database.run()?;
    Ok(Described {
        rows: run.rows,
        held_out_rows: run.held_out_rows,
        store: run.store,
        model: run.model.map(|model| model.name),
        parts: run.parts,
        tool_version: run.tool_version,
        sources: database.sources()?,
        scorers: database.scorers()?,
    })
}

fn info(dictionary: &Dictionary<'_>, reads: bool, described: Option<Described>) -> DictionaryInfo {
    let sae = dictionary.sae();
    let kind = match dictionary.kind {
        Kind::Crosscoder(_) => "crosscoder",
        Kind::Sae(sae) if sae.is_transcoder() => "transcoder",
        Kind::Sae(_) => "autoencoder",
    };
    DictionaryInfo {
        name: dictionary.name.to_owned(),
        kind,
        architecture: sae.architecture(),
        k: sae.k(),
        features: sae.d_sae(),
        width: sae.d_in(),
        hook: sae.provenance().hook().map(str::to_owned),
        writes: sae.provenance().predicts.clone(),
        reads,
        notes: sae.notes().to_vec(),
        described,
    }
}
