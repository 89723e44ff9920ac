//! Which shapes are a matrix of activations?

use crate::error::StoreError;
use crate::layout::stored;
use std::path::Path;

/// Widest row; the largest vocabularies, whose logits are wider than all else in a model, have a quarter of this.
const MOST_COLUMNS: u64 = 1 << 20;

/// Refuses rows that are wider than any activation, of which a few would fill every memory.
pub(super) fn check_width(d: u64, path: &Path, object: &str) -> Result<(), StoreError> {
    if d <= MOST_COLUMNS {
        return Ok(());
    }
    let problem = format!("has {d} columns, of which at most {MOST_COLUMNS} are taken");
    Err(stored(path, object, problem, "reshape it to rows of one token's activations"))
}

/// `n * d` elements of `size` bytes; none where no file could be as large.
pub(super) fn matrix_bytes(n: u64, d: u64, size: usize) -> Option<u64> {
    n.checked_mul(d)?.checked_mul(size as u64).filter(|bytes| *bytes <= i64::MAX as u64)
}

/// The two sizes of a shape that is a matrix'.
pub(super) fn as_matrix(shape: &[u64], path: &Path, object: &str) -> Result<(u64, u64), StoreError> {
    match *shape {
        [n, d] => Ok((n, d)),
        _ => Err(StoreError::NotAMatrix { path: path.to_owned(), object: object.to_owned(), shape: shape.to_vec() }),
    }
}
