//! How is a store read from front to back, or only its training or held-out part?

use crate::error::StoreError;
use crate::set::ActivationSet;
use crate::source::RowBlock;
use crate::split::{HeldOut, Split};
use std::ops::Range;
use std::sync::Arc;

/// A part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Every row.
    All,
    /// Rows that training may read.
    Train,
    /// Rows that it may not.
    HeldOut,
}

/// Rows whose membership is looked up at a time.
const LOOKED_UP: u64 = 1 << 14;

/// A sequential pass over a part of a store. Rows of special tokens are included; their flags tell.
#[derive(Debug)]
pub struct Scan {
    set: Arc<ActivationSet>,
    split: Split,
    part: Part,
    columns: Vec<usize>,
    block_rows: usize,
    next: u64,
    about: RowBlock,
    piece: RowBlock,
}

impl Scan {
    /// Prepares a pass over `part`, with these columns, in blocks of `block_rows` rows (at least 1).
    ///
    /// # Errors
    /// What [`Split::new`] refuses.
    pub fn new(
        set: Arc<ActivationSet>,
        held_out: &HeldOut,
        part: Part,
        columns: &[usize],
        block_rows: usize,
    ) -> Result<Self, StoreError> {
        Ok(Scan {
            split: Split::new(held_out, &set)?,
            set,
            part,
            columns: columns.to_vec(),
            block_rows: block_rows.max(1),
            next: 0,
            about: RowBlock::default(),
            piece: RowBlock::default(),
        })
    }

    /// Fills `block` with the next rows, all blocks but the last being full; false when there are no more.
    ///
    /// # Errors
    /// When reading fails or a value is not finite.
    pub fn next_block(&mut self, block: &mut RowBlock) -> Result<bool, StoreError> {
        block.reset(self.columns.len());
        while block.len() < self.block_rows && self.next < self.set.n_rows() {
            let missing = (self.block_rows - block.len()) as u64;
            let run = self.next_run(missing)?;
            if !run.is_empty() {
                self.set.read_rows(run, &self.columns, &mut self.piece)?;
                block.append(&self.piece);
            }
        }
        Ok(!block.is_empty())
    }

    /// The next contiguous rows of the part, at most `most`; empty where none was found before the look-up's end.
    fn next_run(&mut self, most: u64) -> Result<Range<u64>, StoreError> {
        let from = self.next;
        let end = self.set.n_rows();
        if self.part == Part::All && self.set.beside().is_empty() {
            self.next = (from + most).min(end);
            return Ok(from..self.next);
        }
        let rows = from..(from + LOOKED_UP.max(most)).min(end);
        self.about.reset(0);
        self.set.own().append_documents(rows.clone(), &mut self.about.documents)?;
        let documents = &self.about.documents;
        let belongs = |row: u64| match self.part {
            Part::All => true,
            part => self.split.is_held_out(row, documents[(row - from) as usize]) == (part == Part::HeldOut),
        };
        let member = |row: u64| belongs(row) && self.set.is_paired(row);
        let start = rows.clone().find(|row| member(*row)).unwrap_or(rows.end);
        let stop = (start..rows.end.min(start + most)).find(|row| !member(*row)).unwrap_or(rows.end.min(start + most));
        self.next = stop;
        Ok(start..stop)
    }
}
