//! Which kinds of file hold activations? One module each; all give a [`Shard`].

mod foreign_hdf5;
mod npy;
pub(crate) mod own;
mod safetensors;
mod shape;
mod shard;

pub(crate) use own::sum_of_checksums;
pub(crate) use shard::{Captured, Shard};

use crate::error::StoreError;
use crate::matrix::Matrix;
use crate::place::{Kind, Place};
use shape::check_width;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use untangle_schema::{Fault, git_lfs};

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

/// Whether a finished file of our own format lies at `path`.
pub(crate) fn open_own(path: &Path) -> Result<(), StoreError> {
    own::open(path).map(|_| ())
}

fn single(matrix: Matrix) -> Shard {
    Shard { path: matrix.path.clone(), n_rows: matrix.n, columns: vec![matrix], captured: None }
}
