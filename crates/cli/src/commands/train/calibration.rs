//! Which rows set thresholds: neither those that training reads nor those that judge the result.
//!
//! The rows that a rule holds out are nested: a larger fraction holds out all that a smaller one does. Training leaves out
//! the larger part, `evaluate` reads the smaller, and the rows between are for calibration.

use std::sync::Arc;
use untangle_schema::capture::row_flags;
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, Scan, Split, StoreError};

/// More rows than this change a threshold less than the choice of documents does.
pub(super) const MOST_ROWS: usize = 1 << 15;
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

/// Takes blocks of rows, the columns of each, and which rows are ordinary.
type Visit<'a> = &'a mut dyn FnMut(&[Vec<f32>], &[bool]);

/// The rows that judge a result, and what training reads of their kind.
pub(super) struct Judged<'a> {
    pub(super) store: &'a Arc<ActivationSet>,
    /// What judges.
    pub(super) held_out: &'a HeldOut,
    /// Whether rows of special tokens set thresholds.
    pub(super) keep_special: bool,
    /// Whether rows with an outlier's norm do.
    pub(super) keep_outliers: bool,
}

impl Judged<'_> {
    /// Visits all of them in blocks, with these columns, `[n, d]` each, and which rows are ordinary; none where nothing is
    /// held out. They are the blocks of rows that `evaluate` reads.
    pub(super) fn each_block(&self, columns: &[usize], visit: Visit<'_>) -> Result<(), StoreError> {
        if *self.held_out == HeldOut::None {
            return Ok(());
        }
        let mut scan = Scan::new(Arc::clone(self.store), self.held_out, Part::HeldOut, columns, BLOCK_ROWS)?;
        let mut block = RowBlock::default();
        while scan.next_block(&mut block)? {
            let ordinary: Vec<bool> = block.flags.iter().map(|flags| row_flags::is_ordinary(*flags)).collect();
            visit(&block.columns, &ordinary);
        }
        Ok(())
    }

    /// Visits the rows that `rule` holds out and that are of the kind that training reads.
    fn each(
        &self,
        rule: &HeldOut,
        columns: &[usize],
        mut visit: impl FnMut(&RowBlock, usize),
    ) -> Result<(), StoreError> {
        let mut scan = Scan::new(Arc::clone(self.store), rule, Part::HeldOut, columns, BLOCK_ROWS)?;
        let mut block = RowBlock::default();
        while scan.next_block(&mut block)? {
            for row in 0..block.len() {
                let is = |flag: u8| block.flags[row] & flag != 0;
                let left_out =
                    is(row_flags::ANY_SPECIAL) && !self.keep_special || is(row_flags::OUTLIER) && !self.keep_outliers;
                if !left_out {
                    visit(&block, row);
                }
            }
        }
        Ok(())
    }
}

/// Rows of some columns.
struct Columns {
    widths: Vec<usize>,
    /// `[n, d]` each.
    rows: Vec<Vec<f32>>,
}

impl Columns {
    fn new(store: &ActivationSet, columns: &[usize]) -> Self {
        let widths: Vec<usize> = columns.iter().map(|column| store.columns()[*column].d).collect();
        Columns { rows: vec![Vec::new(); widths.len()], widths }
    }

    /// Adds a row of a block that was read with the same columns.
    fn add(&mut self, block: &RowBlock, row: usize) {
        for ((rows, read), d) in self.rows.iter_mut().zip(&block.columns).zip(&self.widths) {
            rows.extend_from_slice(&read[row * d..(row + 1) * d]);
        }
    }
}

/// The rows that training leaves out and that do not judge.
pub(super) struct Between<'a> {
    pub(super) judged: &'a Judged<'a>,
    /// What training leaves out.
    pub(super) outer: &'a HeldOut,
}

impl Between<'_> {
    /// At most [`MOST_ROWS`] of them, evenly spread, with these columns, `[n, d]` each.
    pub(super) fn rows(&self, columns: &[usize]) -> Result<Vec<Vec<f32>>, StoreError> {
        if self.judged.held_out == self.outer {
            return Ok(Vec::new());
        }
        let mut count = 0usize;
        self.each(&[], |_, _| count += 1)?;
        let stride = count.div_ceil(MOST_ROWS).max(1);
        let (mut at, mut sampled) = (0usize, Columns::new(self.judged.store, columns));
        self.each(columns, |block, row| {
            if at.is_multiple_of(stride) {
                sampled.add(block, row);
            }
            at += 1;
        })?;
        Ok(sampled.rows)
    }

    fn each(&self, columns: &[usize], mut visit: impl FnMut(&RowBlock, usize)) -> Result<(), StoreError> {
        let judges = Split::new(self.judged.held_out, self.judged.store)?;
        self.judged.each(self.outer, columns, |block, row| {
            if !judges.is_held_out(block.rows[row], block.documents[row]) {
                visit(block, row);
            }
        })
    }
}
