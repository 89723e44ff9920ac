//! Features for other tools, and explanations of theirs.
//!
//! | form | what |
//! |---|---|
//! | [`Form::Neuronpedia`] | the rows of Neuronpedia's tables: `features/`, `activations/` and `explanations/`, `batch-N.jsonl.gz` each, with `model.jsonl`, `sourceset.jsonl`, `source.jsonl` and `release.jsonl` |
//! | [`Form::SaeDashboard`] | `batch-N.json` as SAEDashboard's Neuronpedia runner writes them, with `run_settings.json` and `skipped_indexes.json` |
//! | [`Form::Csv`] | `features.csv`: a line for each feature, its labels, scores and statistics |
//! | [`Form::Parquet`] | `features.parquet` and `labels.parquet`: the same, and every label with every score |
//! | [`Form::Delphi`] | `latents/`: where every feature fires in a store, as delphi caches it |
//!
//! What a form has a field for and nobody measured is left out, or is an empty list where the tools read it without asking.
//! [`explanations`] reads Neuronpedia's explanations, which become labels of a source of their own.

mod csv;
mod delphi;
mod explanations;
mod files;
mod neuronpedia;
mod parquet;
mod plan;
mod saedashboard;
mod shown;

pub use explanations::{Explained, Explanation, explanations};
pub use files::{EXPORT, exported};
pub use plan::{ExportPlan, Form};

use crate::database::{Database, Run};
use crate::error::InterpretError;
use crate::progress::Progress;
use files::{Record, is_part};
use serde::Serialize;
use std::path::{Path, PathBuf};
use untangle_schema::{Observer, TOOL_VERSION, Unit};
use untangle_store::PartialFolder;

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExportReport {
    /// Where.
    pub folder: PathBuf,
    /// Features.
    pub features: usize,
    /// Files.
    pub files: usize,
}

/// Writes all features of `database` to the folder `out`; a finished export is replaced where `force` is set.
///
/// # Errors
/// When a name cannot be one, the database is damaged or is not of the dictionary, `out` holds anything but a finished export, or the
/// disk refuses; nothing is then left.
pub fn export(
    database: &Database,
    plan: &ExportPlan<'_>,
    out: &Path,
    force: bool,
    observer: &dyn Observer,
) -> Result<ExportReport, InterpretError> {
    plan.check()?;
    plan.sae.map_or(Ok(()), |sae| database.check_dictionary(sae))?;
    let folder = PartialFolder::claim(out, EXPORT, is_part, force)?;
    let (n, run) = (database.n_features()?, database.run()?);
    let root = folder.data();
    let mut files = match plan.form {
        // Its work is in the rows of a store, and not in the database.
        Form::Delphi => delphi::write(&run, plan, &root, observer)?,
        _ => of_database(database, &run, plan, &root, observer)?,
    };
    files::write(&root, files::RECORD, Record::of(n, TOOL_VERSION).text().as_bytes())?;
    files += 1;
    Ok(ExportReport { folder: folder.finish()?, features: n, files })
}

/// Writes what the database says of every feature; returns how many files that makes.
fn of_database(
    database: &Database,
    run: &Run,
    plan: &ExportPlan<'_>,
    root: &Path,
    observer: &dyn Observer,
) -> Result<usize, InterpretError> {
    let mut progress = Progress::start(observer, "export", Unit::Features, database.n_features()? as u64);
    let mut advance = |features: usize| progress.advance(features as u64);
    let files = match plan.form {
        Form::Neuronpedia => neuronpedia::write(database, run, plan, root, &mut advance)?,
        Form::SaeDashboard => saedashboard::write(database, run, plan, root, &mut advance)?,
        Form::Csv => csv::write(database, root, &mut advance)?,
        Form::Parquet => parquet::write(database, run, root, &mut advance)?,
        // Written of a store, by whoever calls.
        Form::Delphi => 0,
    };
    progress.finish();
    Ok(files)
}
