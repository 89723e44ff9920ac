//! Rows of two columns in memory.

use untangle_store::{MemoryRows, RowBlock, RowSource, StoreError};

/// Serves the rows of two matrices together, in the order in which [`MemoryRows`] serves one.
pub(crate) struct TwoColumns {
    joined: MemoryRows,
    widths: [usize; 2],
}

impl TwoColumns {
    /// `left` and `right` have as many rows, of these widths.
    pub(crate) fn new(left: &[f32], right: &[f32], widths: [usize; 2], batch: usize, seed: u64) -> Self {
        let rows = left.chunks_exact(widths[0]).zip(right.chunks_exact(widths[1]));
        let joined = rows.flat_map(|(left, right)| [left, right].concat()).collect();
        let joined = MemoryRows::new(joined, widths[0] + widths[1], batch, seed).expect("enough rows");
        TwoColumns { joined, widths }
    }
}

impl RowSource for TwoColumns {
    fn widths(&self) -> &[usize] {
        &self.widths
    }

    fn rows_per_epoch(&self) -> u64 {
        self.joined.rows_per_epoch()
    }

    fn batch_rows(&self) -> usize {
        self.joined.batch_rows()
    }

    fn read(&mut self, index: u64, block: &mut RowBlock) -> Result<(), StoreError> {
        let mut joined = RowBlock::default();
        self.joined.read(index, &mut joined)?;
        block.reset(2);
        for row in joined.columns[0].chunks_exact(self.widths[0] + self.widths[1]) {
            let (left, right) = row.split_at(self.widths[0]);
            block.columns[0].extend_from_slice(left);
            block.columns[1].extend_from_slice(right);
        }
        block.rows.extend_from_slice(&joined.rows);
        Ok(())
    }
}
