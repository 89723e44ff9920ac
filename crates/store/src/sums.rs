//! Which sums stand for the content of a matrix?

use crate::element::Elements;
use crate::error::StoreError;
use crate::matrix::{Matrix, Storage};
use crc32fast::Hasher;
use std::os::unix::fs::FileExt;
use untangle_schema::{Event, Observer, Unit};

/// Bytes summed up at a time.
const PIECE: usize = 1 << 20;
/// Bytes of rows that are read from HDF5 at a time, however large its chunks are.
const ROWS_AT_ONCE: usize = 64 << 20;
/// And rows at least, where single ones could be read as well.
const ROWS_AT_LEAST: usize = 256;
/// Places of a matrix from which its identity is taken, and the bytes of each: 4 MiB, whatever its size.
const PLACES: u64 = 64;
const BYTES_OF_A_PLACE: u64 = 1 << 16;
/// Where HDF5 has to unpack larger pieces than this for a row, the first and the last row are its identity.
const LARGEST_PIECE: usize = 16 << 20;

/// CRC-32 of all elements of a matrix.
pub(crate) fn sum(matrix: &Matrix, observer: &dyn Observer) -> Result<u32, StoreError> {
    let mut hasher = Hasher::new();
    let total = matrix.n * (matrix.d * matrix.dtype.size()) as u64;
    observer.event(Event::Started { task: "check", unit: Unit::Bytes, done: 0, total });
    let tell = |done| {
        observer.event(Event::Advanced { done, figures: &[] });
        if observer.interrupted() { Err(StoreError::Interrupted) } else { Ok(()) }
    };
    let row_bytes = (matrix.d * matrix.dtype.size()) as u64;
    match &matrix.storage {
        Storage::Contiguous { file, offset } => {
            let (mut at, end, mut piece) = (*offset, offset + matrix.n * row_bytes, vec![0; PIECE]);
            while at < end {
                let piece = &mut piece[..PIECE.min((end - at) as usize)];
                file.read_exact_at(piece, at).map_err(StoreError::io(&matrix.path))?;
                hasher.update(piece);
                at += piece.len() as u64;
                tell(at - offset)?;
            }
        }
        Storage::Foreign(_) | Storage::Hdf5 { .. } => {
            let rows = matrix.granule().max(ROWS_AT_LEAST).min(ROWS_AT_ONCE / row_bytes.max(1) as usize).max(1) as u64;
            let mut elements = Elements::zeros(matrix.dtype, 0);
            for first in (0..matrix.n).step_by(rows as usize) {
                update_by_rows(&mut hasher, matrix, first, rows, &mut elements)?;
                tell(matrix.n.min(first + rows) * row_bytes)?;
            }
        }
    }
    observer.event(Event::Finished);
    Ok(hasher.finalize())
}

fn update_by_rows(
    hasher: &mut Hasher,
    matrix: &Matrix,
    first: u64,
    rows: u64,
    elements: &mut Elements,
) -> Result<(), StoreError> {
    let end = matrix.n.min(first + rows);
    let len = (end - first) as usize * matrix.d;
    elements.resize(len);
    matrix.read(first..end, elements, 0)?;
    hasher.update(elements.bytes(0..len));
    Ok(())
}

/// CRC-32 of places all over a matrix: enough to tell it from another, at no cost that grows with it.
pub(crate) fn sample(matrix: &Matrix) -> Result<u32, StoreError> {
    let mut hasher = Hasher::new();
    let row_bytes = (matrix.d * matrix.dtype.size()) as u64;
    match &matrix.storage {
        Storage::Contiguous { file, offset } => {
            let total = matrix.n * row_bytes;
            let length = BYTES_OF_A_PLACE.min(total);
            let mut piece = vec![0; length as usize];
            for at in spread(total - length) {
                file.read_exact_at(&mut piece, offset + at).map_err(StoreError::io(&matrix.path))?;
                hasher.update(&piece);
            }
        }
        Storage::Foreign(_) | Storage::Hdf5 { .. } => {
            let mut elements = Elements::zeros(matrix.dtype, 0);
            let is_fine = matrix.granule().saturating_mul(row_bytes as usize) <= LARGEST_PIECE;
            let ends = |row: &u64| *row == 0 || *row == matrix.n - 1;
            for first in spread(matrix.n - 1).filter(|row| is_fine || ends(row)) {
                update_by_rows(&mut hasher, matrix, first, 1, &mut elements)?;
            }
        }
    }
    Ok(hasher.finalize())
}

/// Places from 0 to `last`, ends included, each once.
fn spread(last: u64) -> impl Iterator<Item = u64> {
    let mut places: Vec<u64> =
        (0..PLACES).map(|place| (u128::from(last) * u128::from(place) / u128::from(PLACES - 1)) as u64).collect();
    places.dedup();
    places.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_reach_from_end_to_end() {
        assert_eq!(spread(0).collect::<Vec<_>>(), [0]);
        let places: Vec<u64> = spread(6300).collect();
        assert_eq!((places.len(), places[1], places[63]), (64, 100, 6300));
    }
}
