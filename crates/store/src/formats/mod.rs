//! Which kinds of file hold activations? One module each; all give a [`Shard`].

mod foreign_hdf5;
mod npy;
pub(crate) mod own;
mod safetensors;

pub(crate) use own::sum_of_checksums;

use crate::error::StoreError;
use crate::matrix::{Matrix, RowNumbers};
use crate::place::{Kind, Place};
use crate::statistics::ColumnStatistics;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use untangle_schema::{CaptureManifest, Fault, git_lfs};

/// Widest row; the largest vocabularies, whose logits are wider than all else in a model, have a quarter of this.
const MOST_COLUMNS: u64 = 1 << 20;

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

/// Opens and validates what `place` names.
pub(crate) fn open(place: &Place) -> Result<Shard, StoreError> {
    let object = place.object.as_deref();
    refuse_pointer(&place.path)?;
    let shard = match (place.kind, object) {
        (Kind::Hdf5, None) => own::open(&place.path)?,
        (Kind::Hdf5, Some(dataset)) => single(foreign_hdf5::open(&place.path, dataset)?),
        (Kind::Npy, _) => single(npy::open(&place.path)?),
        (Kind::Npz, key) => single(npy::open_archive(&place.path, key)?),
        (Kind::Safetensors, key) => single(safetensors::open(&place.path, key)?),
    };
    check_sizes(&shard)?;
    Ok(shard)
}

/// Refuses what Git left in the place of a file that it did not fetch.
fn refuse_pointer(path: &Path) -> Result<(), StoreError> {
    let mut begin = Vec::new();
    let file = File::open(path).map_err(StoreError::io(path))?;
    file.take(git_lfs::POINTER.len() as u64).read_to_end(&mut begin).map_err(StoreError::io(path))?;
    if git_lfs::is_pointer(&begin) {
        let (path, problem) = (path.to_owned(), git_lfs::REMEDY.to_owned());
        return Err(StoreError::Refused { path, problem, fault: Fault::BadInput });
    }
    Ok(())
}

/// Refuses what has no rows.
fn check_sizes(shard: &Shard) -> Result<(), StoreError> {
    if shard.n_rows == 0 || shard.columns.iter().any(|column| column.d == 0) {
        return Err(StoreError::Empty { path: shard.path.clone() });
    }
    shard.columns.iter().try_for_each(|column| check_width(column.d as u64, &shard.path, &column.name))
}

/// Refuses rows that are wider than any activation, of which a few would fill every memory.
fn check_width(d: u64, path: &Path, object: &str) -> Result<(), StoreError> {
    if d <= MOST_COLUMNS {
        return Ok(());
    }
    let problem = format!("has {d} columns, of which at most {MOST_COLUMNS} are taken");
    Err(crate::layout::stored(path, object, problem, "reshape it to rows of one token's activations"))
}

/// Whether a finished file of our own format lies at `path`.
pub(crate) fn open_own(path: &Path) -> Result<(), StoreError> {
    own::open(path).map(|_| ())
}

fn single(matrix: Matrix) -> Shard {
    Shard { path: matrix.path.clone(), n_rows: matrix.n, columns: vec![matrix], captured: None }
}

/// `n * d` elements of `size` bytes; none where no file could be as large.
fn matrix_bytes(n: u64, d: u64, size: usize) -> Option<u64> {
    n.checked_mul(d)?.checked_mul(size as u64).filter(|bytes| *bytes <= i64::MAX as u64)
}

/// The two sizes of a shape that is a matrix'.
fn as_matrix(shape: &[u64], path: &Path, object: &str) -> Result<(u64, u64), StoreError> {
    match *shape {
        [n, d] => Ok((n, d)),
        _ => Err(StoreError::NotAMatrix { path: path.to_owned(), object: object.to_owned(), shape: shape.to_vec() }),
    }
}
