//! How does a trainer read a matrix that is in memory?

use crate::error::StoreError;
use crate::order::{Purpose, permute};
use crate::source::{RowBlock, RowSource};

/// The rows of a matrix in memory, permuted exactly in every epoch: the order that [`crate::Shuffled`] gives a store of
/// the same rows that fits into memory.
#[derive(Clone, Debug)]
pub struct MemoryRows {
    rows: Vec<f32>,
    width: [usize; 1],
    batch_rows: usize,
    seed: u64,
    order: Vec<u32>,
    /// Epoch that `order` belongs to.
    epoch: Option<u64>,
}

impl MemoryRows {
    /// Serves `rows`, row-major `[n, d]`, in batches.
    ///
    /// # Errors
    /// [`StoreError::TooFewRows`] where there is less than a batch.
    ///
    /// # Panics
    /// Where `rows` is not a whole number of rows of width `d`.
    pub fn new(rows: Vec<f32>, d: usize, batch_rows: usize, seed: u64) -> Result<Self, StoreError> {
        assert!(d > 0 && rows.len().is_multiple_of(d), "{} values are not rows of {d}", rows.len());
        let n = rows.len() / d;
        match batch_rows {
            0 => Err(StoreError::EmptyBatch),
            batch if batch > n => {
                let store = "the matrix in memory".to_owned();
                Err(StoreError::TooFewRows { store, rows: n as u64, total: n as u64, batch })
            }
            _ => Ok(MemoryRows { rows, width: [d], batch_rows, seed, order: Vec::new(), epoch: None }),
        }
    }
}

impl RowSource for MemoryRows {
    fn widths(&self) -> &[usize] {
        &self.width
    }

    fn rows_per_epoch(&self) -> u64 {
        (self.rows.len() / self.width[0]) as u64
    }

    fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    fn read(&mut self, index: u64, block: &mut RowBlock) -> Result<(), StoreError> {
        block.reset(1);
        let (n, d) = (self.rows_per_epoch(), self.width[0]);
        let first = index * self.batch_rows as u64;
        for at in first..first + self.batch_rows as u64 {
            if self.epoch != Some(at / n) {
                self.epoch = Some(at / n);
                permute(&mut self.order, n as usize, self.seed, Purpose::Rows, at / n, 0);
            }
            let row = self.order[(at % n) as usize] as usize;
            let values = &self.rows[row * d..(row + 1) * d];
            if values.iter().any(|value| !value.is_finite()) {
                let (path, column) = ("the matrix in memory".into(), "rows".to_owned());
                return Err(StoreError::NotFinite { path, column, row: row as u64, rounded: false });
            }
            block.columns[0].extend_from_slice(values);
            block.rows.push(row as u64);
        }
        for numbers in [&mut block.tokens, &mut block.documents, &mut block.positions] {
            numbers.resize(self.batch_rows, 0);
        }
        block.offsets.resize(self.batch_rows, 0);
        block.flags.resize(self.batch_rows, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_per_epoch_and_batches_run_on() {
        let mut source = MemoryRows::new((0..14).map(|x| x as f32).collect(), 2, 3, 9).expect("enough rows");
        let mut block = RowBlock::default();
        let mut served = Vec::new();
        for index in 0..7 {
            source.read(index, &mut block).expect("read");
            assert!(
                block
                    .rows
                    .iter()
                    .zip(block.columns[0].chunks(2))
                    .all(|(r, x)| x == [*r as f32 * 2.0, *r as f32 * 2.0 + 1.0])
            );
            served.extend(block.rows.iter().copied());
        }
        let epochs: Vec<Vec<u64>> = served.chunks(7).map(|epoch| epoch.to_vec()).collect();
        assert_ne!(epochs[0], epochs[1]);
        for mut epoch in epochs {
            epoch.sort_unstable();
            assert_eq!(epoch, [0, 1, 2, 3, 4, 5, 6]);
        }
        source.read(2, &mut block).expect("read");
        assert_eq!(block.rows, served[6..9]);
    }

    #[test]
    fn bad_requests_and_rows_are_refused() {
        assert!(matches!(
            MemoryRows::new(vec![0.0; 4], 2, 3, 0),
            Err(StoreError::TooFewRows { rows: 2, batch: 3, .. })
        ));
        assert!(matches!(MemoryRows::new(vec![0.0; 4], 2, 0, 0), Err(StoreError::EmptyBatch)));
        let mut source = MemoryRows::new(vec![0.0, f32::NAN], 1, 2, 0).expect("enough rows");
        let error = source.read(0, &mut RowBlock::default()).expect_err("refused");
        assert!(matches!(error, StoreError::NotFinite { row: 1, .. }));
    }
}
