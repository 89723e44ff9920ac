//! What a trainer reads: numbered batches of rows in host memory.

use crate::error::StoreError;
use serde_json::Value;
use untangle_schema::Observer;

/// A block of rows, several captured columns aligned. Buffers are reused from call to call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowBlock {
    /// One row-major `[n, d]` buffer per selected column, in the source's order.
    pub columns: Vec<Vec<f32>>,
    /// Number of every row in the store (over all shards), `[n]`.
    pub rows: Vec<u64>,
    /// Token id of every row, `[n]`; 0 where the source has none.
    pub tokens: Vec<u32>,
    /// Document of every row, `[n]`; 0 where the source has none.
    pub documents: Vec<u32>,
    /// Position of every row in its context, `[n]`; 0 where the source has none.
    pub positions: Vec<u32>,
    /// First byte of every token in its document's text, `[n]`; 0 where the source has none.
    pub offsets: Vec<u64>,
    /// Flags of every row (see `untangle_schema::capture::row_flags`), `[n]`.
    pub flags: Vec<u8>,
}

impl RowBlock {
    /// Bytes that are kept of a row beside its columns.
    pub const BYTES_ABOUT_A_ROW: u64 = 8 + 3 * 4 + 8 + 1;

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes all rows and sets the number of columns, keeping the allocations.
    pub fn reset(&mut self, n_columns: usize) {
        self.columns.resize_with(n_columns, Vec::new);
        self.columns.iter_mut().for_each(Vec::clear);
        self.rows.clear();
        self.tokens.clear();
        self.documents.clear();
        self.positions.clear();
        self.offsets.clear();
        self.flags.clear();
    }

    /// Makes room for `n` rows of everything but columns, and no more.
    pub(crate) fn reserve_exact(&mut self, n: usize) {
        self.rows.reserve_exact(n);
        self.tokens.reserve_exact(n);
        self.documents.reserve_exact(n);
        self.positions.reserve_exact(n);
        self.offsets.reserve_exact(n);
        self.flags.reserve_exact(n);
    }

    /// Appends the rows of a block with the same columns.
    pub(crate) fn append(&mut self, other: &RowBlock) {
        self.columns.iter_mut().zip(&other.columns).for_each(|(own, other)| own.extend_from_slice(other));
        self.rows.extend_from_slice(&other.rows);
        self.tokens.extend_from_slice(&other.tokens);
        self.documents.extend_from_slice(&other.documents);
        self.positions.extend_from_slice(&other.positions);
        self.offsets.extend_from_slice(&other.offsets);
        self.flags.extend_from_slice(&other.flags);
    }

    /// Appends everything but the columns of the rows `at` of another block.
    pub(crate) fn append_about(&mut self, other: &RowBlock, at: &[u32]) {
        self.rows.extend(at.iter().map(|at| other.rows[*at as usize]));
        self.tokens.extend(at.iter().map(|at| other.tokens[*at as usize]));
        self.documents.extend(at.iter().map(|at| other.documents[*at as usize]));
        self.positions.extend(at.iter().map(|at| other.positions[*at as usize]));
        self.offsets.extend(at.iter().map(|at| other.offsets[*at as usize]));
        self.flags.extend(at.iter().map(|at| other.flags[*at as usize]));
    }
}

/// An endless, seeded sequence of equal batches over a finite set of rows.
///
/// Batch `index` is a pure function of the source's plan (files, split, seed, batch size, memory setting) and of
/// `index`, so a run resumes by asking for the next index. Every row of the plan is served exactly once per epoch;
/// batches run on across epochs, so every batch is full.
pub trait RowSource: Send {
    /// Width of every column.
    fn widths(&self) -> &[usize];

    /// Rows of one epoch.
    fn rows_per_epoch(&self) -> u64;

    /// Rows of every batch.
    fn batch_rows(&self) -> usize;

    /// Fills `block` with batch `index`. Fast when indices ascend; any order is allowed.
    ///
    /// # Errors
    /// When reading fails, or a row holds a value that is not finite: the error names file, column and row;
    /// [`StoreError::Interrupted`] where the user asked to stop while a source that takes long was waited for.
    fn read(&mut self, index: u64, block: &mut RowBlock) -> Result<(), StoreError>;

    /// What the rows are read from, as far as a later run can hold it against what it finds: see
    /// [`crate::ActivationSet::recognise`]. Sources that keep what they read, or make it, have nothing to say.
    ///
    /// # Errors
    /// Where `known`, which an earlier run was given, says that something was changed since.
    fn recognise(&self, known: Option<&Value>, observer: &dyn Observer) -> Result<Value, StoreError> {
        let _ = (known, observer);
        Ok(Value::Null)
    }
}
