//! What is known of a file of activations that was opened?

use crate::matrix::{Matrix, RowNumbers};
use crate::statistics::ColumnStatistics;
use std::path::PathBuf;
use untangle_schema::CaptureManifest;

/// One opened and validated file.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) n_rows: u64,
    /// At least one, all of `n_rows` rows.
    pub(crate) columns: Vec<Matrix>,
    /// What only our own format has.
    pub(crate) captured: Option<Captured>,
}

/// What a captured file knows beyond its activations.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) manifest: CaptureManifest,
    /// One per column.
    pub(crate) statistics: Vec<ColumnStatistics>,
    pub(crate) tokens: RowNumbers,
    pub(crate) documents: RowNumbers,
    pub(crate) positions: RowNumbers,
    pub(crate) offsets: RowNumbers,
    pub(crate) flags: RowNumbers,
    /// One per column.
    pub(crate) norms: Vec<RowNumbers>,
}
