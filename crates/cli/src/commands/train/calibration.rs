//! Which rows set thresholds: neither those that training reads nor those that judge the result.
//!
//! The rows that a rule holds out are nested: a larger fraction holds out all that a smaller one does. Training leaves out
//! the larger part, `evaluate` reads the smaller, and the rows between are for calibration.

use std::sync::Arc;
use untangle_schema::capture::row_flags;
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, Scan, Split, StoreError};

/// More rows than this change a threshold less than the choice of documents does.
const MOST_ROWS: usize = 1 << 15;
/// Rows read at a time.
const BLOCK_ROWS: usize = 4096;

/// `held_out` with a further `fraction` of the rows.
pub(super) fn widened(held_out: &HeldOut, fraction: f64, n_rows: u64) -> HeldOut {
    match *held_out {
        _ if fraction == 0.0 => held_out.clone(),
        HeldOut::Fraction { fraction: own, seed } => HeldOut::Fraction { fraction: own + fraction, seed },
        HeldOut::LastRows(rows) => HeldOut::LastRows(rows + (fraction * n_rows as f64).ceil() as u64),
        HeldOut::None => HeldOut::Fraction { fraction, seed: 0 },
    }
}

/// The rows between two rules, of which the store has `column`.
pub(super) struct Between<'a> {
    pub(super) store: &'a Arc<ActivationSet>,
    /// What judges.
    pub(super) inner: &'a HeldOut,
    /// What training leaves out.
    pub(super) outer: &'a HeldOut,
    /// Whether rows of special tokens count.
    pub(super) keep_special: bool,
    /// Whether rows with an outlier's norm count.
    pub(super) keep_outliers: bool,
}

impl Between<'_> {
    /// At most [`MOST_ROWS`] of them, evenly spread, with these columns, `[n, d]` each.
    pub(super) fn rows(&self, columns: &[usize]) -> Result<Vec<Vec<f32>>, StoreError> {
        if self.inner == self.outer {
            return Ok(Vec::new());
        }
        let mut count = 0usize;
        self.each(&[], |_, _| count += 1)?;
        let stride = count.div_ceil(MOST_ROWS).max(1);
        let width = |column: &usize| self.store.columns()[*column].d;
        let room = |column: &usize| Vec::with_capacity(count.div_ceil(stride) * width(column));
        let (mut at, mut rows) = (0usize, columns.iter().map(room).collect::<Vec<_>>());
        self.each(columns, |block, row| {
            if at.is_multiple_of(stride) {
                for ((rows, read), d) in rows.iter_mut().zip(&block.columns).zip(columns.iter().map(width)) {
                    rows.extend_from_slice(&read[row * d..(row + 1) * d]);
                }
            }
            at += 1;
        })?;
        Ok(rows)
    }

    fn each(&self, columns: &[usize], mut visit: impl FnMut(&RowBlock, usize)) -> Result<(), StoreError> {
        let judges = Split::new(self.inner, self.store)?;
        let mut scan = Scan::new(Arc::clone(self.store), self.outer, Part::HeldOut, columns, BLOCK_ROWS)?;
        let mut block = RowBlock::default();
        while scan.next_block(&mut block)? {
            for row in 0..block.len() {
                let is = |flag: u8| block.flags[row] & flag != 0;
                let left_out =
                    is(row_flags::ANY_SPECIAL) && !self.keep_special || is(row_flags::OUTLIER) && !self.keep_outliers;
                if !left_out && !judges.is_held_out(block.rows[row], block.documents[row]) {
                    visit(&block, row);
                }
            }
        }
        Ok(())
    }
}
