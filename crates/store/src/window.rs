//! Which rows are in memory together, and in which order are they served?
//!
//! A store is divided into blocks of contiguous rows. In every epoch the blocks are permuted and cut into windows; the
//! training rows of a window are loaded in file order, then permuted exactly. All of it is a pure function of seed,
//! epoch and window, so any point of the stream can be found without replaying what came before.

use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::order::{Purpose, permute};
use crate::set::ActivationSet;
use crate::source::RowBlock;
use crate::split::Split;
use std::ops::Range;
use std::sync::Arc;
use untangle_schema::capture::row_flags;

/// Rows counted at a time when a store is opened.
const COUNTED_ROWS: u64 = 1 << 20;

/// Blocks that are announced to the system before they are read.
const BLOCKS_AHEAD: usize = 8;

/// The rows that are served, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) set: Arc<ActivationSet>,
    pub(crate) split: Split,
    pub(crate) keep_special: bool,
    pub(crate) keep_outliers: bool,
    pub(crate) columns: Vec<usize>,
    pub(crate) seed: u64,
    pub(crate) block_rows: u64,
    /// Blocks that have rows to serve: number and how many.
    blocks: Vec<(u32, u32)>,
    /// Windows per epoch.
    pub(crate) windows: usize,
    pub(crate) rows_per_epoch: u64,
}

/// A window of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowId {
    pub(crate) epoch: u64,
    pub(crate) window: usize,
}

/// The order of one epoch.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub(crate) epoch: u64,
    /// Indices into `Plan::blocks`, in order.
    order: Vec<u32>,
    /// Rows of the epoch before every window, and all of them.
    starts: Vec<u64>,
}

impl Epoch {
    /// The window that holds row `at` of this epoch, and how many rows of the window come before it.
    pub(crate) fn window_at(&self, at: u64) -> (usize, u64) {
        let window = self.starts.partition_point(|start| *start <= at) - 1;
        (window, at - self.starts[window])
    }
}

/// Bytes that a row takes in a window, beside its activations: its number, what is known about it, its place.
const ROW_OVERHEAD: usize = 8 + 3 * 4 + 8 + 1 + 4;

impl Plan {
    /// Counts the rows to serve in every block, and cuts windows so that one (or two, where one does not suffice) fit
    /// into `memory_bytes`.
    pub(crate) fn new(
        set: Arc<ActivationSet>,
        split: Split,
        config: &crate::shuffle::ShuffleConfig,
        block_bytes: usize,
    ) -> Result<Self, StoreError> {
        let about = |column: usize| &set.columns()[column];
        let bytes = |column: &usize| about(*column).d * about(*column).dtype.size();
        let narrowest = config.columns.iter().map(bytes).min().unwrap_or(ROW_OVERHEAD);
        let granule = config.columns.iter().map(|column| set.granule(*column)).max().unwrap_or(1);
        let block_rows = block_bytes.div_ceil(narrowest).next_multiple_of(granule.min(block_bytes).max(1)) as u64;
        let row_bytes = config.columns.iter().map(bytes).sum::<usize>() + ROW_OVERHEAD;
        let mut plan = Plan {
            keep_special: config.keep_special,
            keep_outliers: config.keep_outliers,
            columns: config.columns.clone(),
            seed: config.seed,
            block_rows: block_rows.min(u64::from(u32::MAX)),
            blocks: Vec::new(),
            windows: 1,
            rows_per_epoch: 0,
            set,
            split,
        };
        plan.count()?;
        if plan.rows_per_epoch.saturating_mul(row_bytes as u64) > config.memory_bytes as u64 {
            let block = (plan.block_rows as usize).saturating_mul(row_bytes);
            let per_window = (config.memory_bytes / 2 / block).max(1);
            plan.windows = plan.blocks.len().div_ceil(per_window).max(1);
        }
        Ok(plan)
    }

    fn count(&mut self) -> Result<(), StoreError> {
        let mut about = RowBlock::default();
        let mut counts = vec![0u32; self.set.n_rows().div_ceil(self.block_rows) as usize];
        let mut first = 0;
        while first < self.set.n_rows() {
            let rows = first..(first + COUNTED_ROWS).min(self.set.n_rows());
            about.reset(0);
            about.rows.extend(rows.clone());
            self.set.own().append_documents(rows.clone(), &mut about.documents)?;
            let columns: &[usize] = if self.keep_outliers { &[] } else { &self.columns };
            self.set.append_flags(rows.clone(), columns, &mut about.flags)?;
            for at in (0..about.len()).filter(|at| self.serves(&about, *at)) {
                counts[(about.rows[at] / self.block_rows) as usize] += 1;
            }
            first = rows.end;
        }
        let served = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        self.blocks = served.map(|(block, count)| (block as u32, count)).collect();
        self.rows_per_epoch = self.blocks.iter().map(|(_, count)| u64::from(*count)).sum();
        Ok(())
    }

    /// Whether row `at` of `about` is served.
    fn serves(&self, about: &RowBlock, at: usize) -> bool {
        let special = about.flags[at] & row_flags::ANY_SPECIAL != 0;
        let outlier = about.flags[at] & row_flags::OUTLIER != 0;
        (self.keep_special || !special)
            && (self.keep_outliers || !outlier)
            && !self.split.is_held_out(about.rows[at], about.documents[at])
            && self.set.is_paired(about.rows[at])
    }

    /// The order of an epoch. A window that is the whole store is the same in every epoch, so it is loaded once.
    pub(crate) fn epoch(&self, epoch: u64) -> Epoch {
        let mut order = Vec::new();
        match self.windows {
            1 => order.extend(0..self.blocks.len() as u32),
            _ => permute(&mut order, self.blocks.len(), self.seed, Purpose::Blocks, epoch, 0),
        }
        let mut starts = vec![0];
        for window in 0..self.windows {
            let rows: u64 =
                order[self.share(window)].iter().map(|block| u64::from(self.blocks[*block as usize].1)).sum();
            starts.push(starts[window] + rows);
        }
        Epoch { epoch, order, starts }
    }

    /// The window's share of an epoch's blocks; shares differ by at most one block.
    fn share(&self, window: usize) -> Range<usize> {
        let bound = |window: usize| window * self.blocks.len() / self.windows;
        bound(window)..bound(window + 1)
    }

    /// What a window holds.
    pub(crate) fn content(&self, epoch: &Epoch, window: usize) -> Content {
        let mut blocks: Vec<u64> =
            epoch.order[self.share(window)].iter().map(|block| u64::from(self.blocks[*block as usize].0)).collect();
        blocks.sort_unstable();
        let end = self.set.n_rows();
        let range = |block: u64| block * self.block_rows..((block + 1) * self.block_rows).min(end);
        Content { blocks: blocks.into_iter().map(range).collect(), most_rows: self.most_rows() }
    }

    /// Bytes that a window takes, with the block that is read at a time.
    pub(crate) fn window_bytes(&self) -> u64 {
        let columns = self.columns.iter().map(|column| &self.set.columns()[*column]);
        let values: usize = columns.map(|column| column.d * column.dtype.size()).sum();
        let block = self.block_rows.min(self.set.n_rows()) * values as u64;
        self.most_rows() as u64 * (values + ROW_OVERHEAD) as u64 + block
    }

    /// Rows of the largest window of any epoch, or a little more: what windows are allocated for, once.
    fn most_rows(&self) -> usize {
        let blocks = self.blocks.len().div_ceil(self.windows) as u64;
        self.rows_per_epoch.min(blocks * self.block_rows) as usize
    }
}

/// What a window is to hold.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Rows of the store, block by block in file order.
    blocks: Vec<Range<u64>>,
    /// How many any window may have to serve.
    most_rows: usize,
}

/// Rows in memory, in their stored type.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// One buffer per selected column, `[most rows, d]`.
    columns: Vec<Elements>,
    /// One block of every column, as it was read.
    block: Vec<Elements>,
    /// Numbers, tokens, documents, positions and flags, `[n]`; no columns.
    about: RowBlock,
    /// The order in which rows are served.
    order: Vec<u32>,
}

impl Window {
    /// Replaces the content by the rows to serve of these blocks. Buffers are allocated once.
    pub(crate) fn load(&mut self, plan: &Plan, content: &Content) -> Result<(), StoreError> {
        let columns: Vec<_> = plan.columns.iter().map(|column| &plan.set.columns()[*column]).collect();
        self.about.reset(0);
        self.about.reserve_exact(content.most_rows);
        if self.columns.is_empty() {
            let longest = plan.block_rows.min(plan.set.n_rows()) as usize;
            let room = |rows: usize| columns.iter().map(|c| Elements::zeros(c.dtype, rows * c.d)).collect();
            (self.columns, self.block) = (room(content.most_rows), room(longest));
        }
        // The disk gets all it can do at once: the many small reads, and always some blocks before they are waited for.
        let announce = |rows: &Range<u64>| plan.set.announce(rows.clone(), &plan.columns);
        content.blocks.iter().for_each(|rows| plan.set.announce_about(rows.clone(), &plan.columns));
        content.blocks.iter().take(BLOCKS_AHEAD).for_each(announce);
        let mut about = RowBlock::default();
        for (index, rows) in content.blocks.iter().enumerate() {
            content.blocks.get(index + BLOCKS_AHEAD).into_iter().for_each(announce);
            about.reset(0);
            plan.set.append_about(rows.clone(), &plan.columns, &mut about)?;
            let served: Vec<u32> = (0..about.len() as u32).filter(|at| plan.serves(&about, *at as usize)).collect();
            for (index, block) in self.block.iter_mut().enumerate() {
                let d = columns[index].d;
                plan.set.read_elements(plan.columns[index], rows.clone(), block, 0)?;
                let mut at = self.about.len();
                for run in served.chunk_by(|a, b| a + 1 == *b) {
                    self.columns[index].copy_from(at * d, block, run[0] as usize * d, run.len() * d);
                    at += run.len();
                }
            }
            self.about.append_about(&about, &served);
        }
        Ok(())
    }

    /// Puts the rows into the order that belongs to `id`.
    pub(crate) fn shuffle(&mut self, plan: &Plan, id: WindowId) {
        permute(&mut self.order, self.about.len(), plan.seed, Purpose::Rows, id.epoch, id.window as u64);
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.about.len()
    }

    /// Appends `places` of the window's order to `block`.
    pub(crate) fn gather(&self, plan: &Plan, places: Range<usize>, block: &mut RowBlock) -> Result<(), StoreError> {
        let order = &self.order[places];
        let before = block.len();
        block.append_about(&self.about, order);
        for ((elements, column), out) in self.columns.iter().zip(&plan.columns).zip(&mut block.columns) {
            let d = plan.set.columns()[*column].d;
            out.reserve(order.len() * d);
            for (index, row) in order.iter().enumerate() {
                let (row, start) = (*row as usize, out.len());
                elements.append_f32(row * d..(row + 1) * d, out);
                // At once, while the row is in the nearest cache.
                if first_not_finite(&out[start..]).is_some() {
                    return Err(plan.set.not_finite(*column, block.rows[before + index]));
                }
            }
        }
        Ok(())
    }
}
