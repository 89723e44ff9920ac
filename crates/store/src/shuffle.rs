//! How does a trainer read a store in random order while the disk reads sequentially?

use crate::error::StoreError;
use crate::set::ActivationSet;
use crate::source::{RowBlock, RowSource};
use crate::split::{HeldOut, Split};
use crate::window::{Content, Epoch, Plan, Window, WindowId};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use untangle_schema::Observer;

/// Smallest read from disk, in bytes; at that length disks are at their full speed.
const BLOCK_BYTES: usize = 1 << 20;

/// How a store is shuffled. Together with the store's files it determines every batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShuffleConfig {
    /// Another seed gives another order.
    pub seed: u64,
    /// Rows per batch.
    pub batch_rows: usize,
    /// Memory for rows. Where all training rows fit, their order is an exact permutation; else half of this is one
    /// window of blocks, within which it is.
    pub memory_bytes: usize,
    /// Whether rows of special tokens are served too.
    pub keep_special: bool,
    /// Whether rows are served whose norm is an outlier in one of the columns (attention sinks).
    pub keep_outliers: bool,
    /// Indices of the columns to read.
    pub columns: Vec<usize>,
}

/// The training rows of a store in seeded random order, epoch after epoch.
#[derive(Debug)]
pub struct Shuffled {
    plan: Arc<Plan>,
    widths: Vec<usize>,
    batch_rows: usize,
    epoch: Epoch,
    current: Option<(WindowId, Window)>,
    /// Reads the next window meanwhile; none where one window is everything.
    reader: Option<Reader>,
}

impl Shuffled {
    /// Prepares to serve the rows that `held_out` leaves. Reads flags and documents once, to count them.
    ///
    /// # Errors
    /// [`StoreError::TooFewRows`] where there is less than a batch; what [`Split::new`] refuses.
    pub fn new(set: Arc<ActivationSet>, held_out: &HeldOut, config: &ShuffleConfig) -> Result<Self, StoreError> {
        Self::with_block_bytes(set, held_out, config, BLOCK_BYTES)
    }

    fn with_block_bytes(
        set: Arc<ActivationSet>,
        held_out: &HeldOut,
        config: &ShuffleConfig,
        block_bytes: usize,
    ) -> Result<Self, StoreError> {
        if config.batch_rows == 0 {
            return Err(StoreError::EmptyBatch);
        }
        let split = Split::new(held_out, &set)?;
        let plan = Arc::new(Plan::new(set, split, config, block_bytes)?);
        if plan.rows_per_epoch < config.batch_rows as u64 {
            let (rows, total) = (plan.rows_per_epoch, plan.set.n_rows());
            return Err(StoreError::TooFewRows { store: plan.set.name(), rows, total, batch: config.batch_rows });
        }
        Ok(Shuffled {
            widths: config.columns.iter().map(|column| plan.set.columns()[*column].d).collect(),
            batch_rows: config.batch_rows,
            epoch: plan.epoch(0),
            current: None,
            reader: (plan.windows > 1).then(|| Reader::start(plan.clone())),
            plan,
        })
    }

    /// Whether the order is an exact permutation of all training rows, because they fit into memory.
    pub fn is_exact(&self) -> bool {
        self.plan.windows == 1
    }

    /// Bytes of memory that the rows take when every window has been read: one, or the one in use and the next.
    pub fn memory_bytes(&self) -> u64 {
        self.plan.window_bytes() * self.plan.windows.min(2) as u64
    }

    /// Makes the window of row `at` of the stream current; gives the rows of the window that come before it.
    fn seek(&mut self, at: u64) -> Result<u64, StoreError> {
        let epoch = at / self.plan.rows_per_epoch;
        if self.epoch.epoch != epoch {
            self.epoch = self.plan.epoch(epoch);
        }
        let (window, before) = self.epoch.window_at(at % self.plan.rows_per_epoch);
        let id = WindowId { epoch, window };
        if self.current.as_ref().is_none_or(|(current, _)| *current != id) {
            let old = self.current.take().map(|(_, window)| window);
            self.current = Some((id, self.obtain(id, old)?));
        }
        Ok(before)
    }

    fn obtain(&mut self, id: WindowId, old: Option<Window>) -> Result<Window, StoreError> {
        let Some(reader) = &mut self.reader else {
            let mut window = match old {
                Some(window) => window,
                None => load(&self.plan, &self.plan.content(&self.epoch, id.window), Window::default())?,
            };
            window.shuffle(&self.plan, id);
            return Ok(window);
        };
        let window = reader.fetch(id, || self.plan.content(&self.epoch, id.window), old)?;
        let next = match id.window + 1 < self.plan.windows {
            true => WindowId { window: id.window + 1, ..id },
            false => WindowId { epoch: id.epoch + 1, window: 0 },
        };
        let content = match next.epoch == id.epoch {
            true => self.plan.content(&self.epoch, next.window),
            false => self.plan.content(&self.plan.epoch(next.epoch), next.window),
        };
        reader.request(next, content)?;
        Ok(window)
    }
}

impl RowSource for Shuffled {
    fn widths(&self) -> &[usize] {
        &self.widths
    }

    fn recognise(
        &self,
        known: Option<&serde_json::Value>,
        observer: &dyn Observer,
    ) -> Result<serde_json::Value, StoreError> {
        self.plan.set.recognise(known, observer)
    }

    fn rows_per_epoch(&self) -> u64 {
        self.plan.rows_per_epoch
    }

    fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    fn read(&mut self, index: u64, block: &mut RowBlock) -> Result<(), StoreError> {
        block.reset(self.widths.len());
        let first = index * self.batch_rows as u64;
        while block.len() < self.batch_rows {
            let before = self.seek(first + block.len() as u64)? as usize;
            let Some((_, window)) = &self.current else { continue };
            let end = window.len().min(before + self.batch_rows - block.len());
            window.gather(&self.plan, before..end, block)?;
        }
        Ok(())
    }
}

fn load(plan: &Plan, content: &Content, mut window: Window) -> Result<Window, StoreError> {
    window.load(plan, content)?;
    Ok(window)
}

struct Request {
    id: WindowId,
    content: Content,
    into: Window,
}

/// A thread that loads windows, at most one ahead. At most two windows exist: the one in use and the one on its way.
#[derive(Debug)]
struct Reader {
    plan: Arc<Plan>,
    requests: Option<SyncSender<Request>>,
    answers: Receiver<Result<Window, StoreError>>,
    pending: Option<WindowId>,
    spare: Window,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(plan: Arc<Plan>) -> Self {
        let (requests, incoming) = sync_channel::<Request>(1);
        let (outgoing, answers) = sync_channel(1);
        let own = plan.clone();
        let thread = std::thread::spawn(move || {
            for Request { id, content, into } in incoming {
                let loaded = load(&own, &content, into).map(|mut window| {
                    window.shuffle(&own, id);
                    window
                });
                if outgoing.send(loaded).is_err() {
                    break;
                }
            }
        });
        let (requests, thread) = (Some(requests), Some(thread));
        Reader { plan, requests, answers, pending: None, spare: Window::default(), thread }
    }

    /// The window `id`, which is on its way already where the stream is read in order.
    fn fetch(
        &mut self,
        id: WindowId,
        content: impl FnOnce() -> Content,
        old: Option<Window>,
    ) -> Result<Window, StoreError> {
        if self.pending.is_some_and(|pending| pending != id) {
            // The stream was left: what is on its way is of no use, whether it arrives or fails.
            self.spare = self.receive().unwrap_or_default();
        }
        if self.pending.is_none() {
            self.request(id, content())?;
        }
        let window = self.receive()?;
        if let Some(old) = old {
            self.spare = old;
        }
        Ok(window)
    }

    fn request(&mut self, id: WindowId, content: Content) -> Result<(), StoreError> {
        let into = std::mem::take(&mut self.spare);
        let sent = self.requests.as_ref().is_some_and(|requests| requests.send(Request { id, content, into }).is_ok());
        self.pending = sent.then_some(id);
        if sent { Ok(()) } else { Err(self.gone()) }
    }

    fn receive(&mut self) -> Result<Window, StoreError> {
        self.pending = None;
        self.answers.recv().unwrap_or_else(|_| Err(self.gone()))
    }

    fn gone(&self) -> StoreError {
        StoreError::ReaderGone { store: self.plan.set.name() }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The thread ends when no request can come any more and nobody waits for its answer.
        self.requests = None;
        while self.answers.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported as `ReaderGone`.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "shuffle_tests.rs"]
mod tests;
