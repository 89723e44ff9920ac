//! Which contexts are in memory together, and in which order are their rows served?
//!
//! In every epoch the contexts that have rows to serve are permuted and dealt into windows; the rows of a window are
//! computed in the order of the text and then permuted exactly. All of it is a pure function of seed, epoch and window,
//! so any point of the stream is found by computing one window and nothing of what came before. Where all rows fit into
//! memory there is one window, and its contexts pass in the batches of a capture: its rows are those of a store in f32,
//! in the order in which that is read.

use crate::contexts::Span;
use untangle_store::order::{Purpose, permute};

/// A window of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowId {
    pub(crate) epoch: u64,
    pub(crate) window: usize,
}

/// The order of one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    pub(crate) epoch: u64,
    /// Indices into `Deal::contexts`, in order.
    order: Vec<u32>,
    /// Rows of the epoch before every window, and all of them.
    starts: Vec<u64>,
    /// The same of places in `order`.
    bounds: Vec<usize>,
}

/// A context with rows to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// All of its rows, which pass the model.
    pub(crate) span: Span,
    /// How many of them are served.
    pub(crate) rows: usize,
}

impl Epoch {
    /// The window that holds row `at` of this epoch, and how many rows of the window come before it.
    pub(crate) fn window_at(&self, at: u64) -> (usize, u64) {
        let window = self.starts.partition_point(|start| *start <= at) - 1;
        (window, at - self.starts[window])
    }
}

/// The contexts of a text, dealt into windows.
#[derive(Debug)]
pub(crate) struct Deal {
    seed: u64,
    /// In the order of the text.
    contexts: Vec<Served>,
    pub(crate) windows: usize,
    pub(crate) rows_per_epoch: u64,
}

impl Deal {
    /// Deals contexts of at most `context` rows so that one window, or two where one does not suffice, hold at most
    /// `memory_rows` rows; where that is only a few contexts, a few more.
    pub(crate) fn new(contexts: Vec<Served>, context: usize, memory_rows: usize, seed: u64) -> Self {
        let rows_per_epoch: u64 = contexts.iter().map(|context| context.rows as u64).sum();
        let windows = match rows_per_epoch > memory_rows as u64 {
            // Windows of equal shares of the rows, each rounded to whole contexts and with one at the least.
            true => rows_per_epoch.div_ceil((memory_rows / 2).saturating_sub(context).max(2 * context) as u64) as usize,
            false => 1,
        };
        Deal { seed, contexts, windows, rows_per_epoch }
    }

    /// The order of an epoch.
    pub(crate) fn epoch(&self, epoch: u64) -> Epoch {
        let mut order = Vec::new();
        match self.windows {
            1 => order.extend(0..self.contexts.len() as u32),
            _ => permute(&mut order, self.contexts.len(), self.seed, Purpose::Blocks, epoch, 0),
        }
        let (mut starts, mut bounds, mut rows) = (vec![0], vec![0], 0);
        for (place, index) in order.iter().enumerate() {
            // A window ends with the context that fills its share.
            rows += self.contexts[*index as usize].rows as u64;
            let share = (starts.len() as u128 * u128::from(self.rows_per_epoch)).div_ceil(self.windows as u128);
            if u128::from(rows) >= share {
                starts.push(rows);
                bounds.push(place + 1);
            }
        }
        Epoch { epoch, order, starts, bounds }
    }

    /// The contexts of a window, in the order of the text.
    pub(crate) fn contexts_of(&self, epoch: &Epoch, window: usize) -> Vec<Span> {
        let mut share: Vec<u32> = epoch.order[epoch.bounds[window]..epoch.bounds[window + 1]].to_vec();
        share.sort_unstable();
        share.into_iter().map(|index| self.contexts[index as usize].span).collect()
    }

    /// Rows of the largest window of any epoch, or a few more, of contexts of at most so many rows.
    pub(crate) fn most_rows(&self, context: usize) -> usize {
        self.rows_per_epoch.min(self.rows_per_epoch.div_ceil(self.windows as u64) + context as u64) as usize
    }

    /// The order in which the `n` rows of a window are served.
    pub(crate) fn shuffle(&self, order: &mut Vec<u32>, n: usize, id: WindowId) {
        permute(order, n, self.seed, Purpose::Rows, id.epoch, id.window as u64);
    }

    /// The window after `id`.
    pub(crate) fn next(&self, id: WindowId) -> WindowId {
        match id.window + 1 < self.windows {
            true => WindowId { window: id.window + 1, ..id },
            false => WindowId { epoch: id.epoch + 1, window: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every other context of 8 rows, of which so many are served.
    fn served(number: usize, rows: usize) -> Served {
        Served { span: Span { first: 16 * number as u64, length: 8 }, rows }
    }

    proptest! {
        #[test]
        fn every_context_is_dealt_once_and_every_row_has_its_place(
            rows in prop::collection::vec(1usize..9, 1..60), memory in 1usize..200, seed: u64, epoch in 0u64..3,
        ) {
            let contexts: Vec<_> = rows.iter().enumerate().map(|(number, rows)| served(number, *rows)).collect();
            let deal = Deal::new(contexts.clone(), 8, memory, seed);
            let total: u64 = rows.iter().map(|rows| *rows as u64).sum();
            prop_assert_eq!(deal.rows_per_epoch, total);
            prop_assert!(deal.windows == 1 || total > memory as u64);
            prop_assert!(2 * deal.most_rows(8) <= memory.max(64) || total <= memory as u64);
            let epoch = deal.epoch(epoch);
            let windows: Vec<_> = (0..deal.windows).map(|window| deal.contexts_of(&epoch, window)).collect();
            let mut dealt = windows.concat();
            dealt.sort_unstable_by_key(|span| span.first);
            prop_assert_eq!(dealt, contexts.iter().map(|context| context.span).collect::<Vec<_>>());
            let of = |span: &Span| rows[span.first as usize / 16] as u64;
            let mut at = 0;
            for (window, contexts) in windows.iter().enumerate() {
                let n: u64 = contexts.iter().map(of).sum();
                prop_assert!(n <= deal.most_rows(8) as u64);
                for before in 0..n {
                    prop_assert_eq!(epoch.window_at(at), (window, before));
                    at += 1;
                }
            }
        }
    }

    #[test]
    fn epochs_differ_unless_everything_is_in_memory() {
        let deal = |memory| Deal::new((0..64).map(|number| served(number, 8)).collect(), 8, memory, 1);
        let (windowed, whole) = (deal(64), deal(512));
        assert_eq!((windowed.windows, whole.windows), (22, 1));
        assert_ne!(windowed.contexts_of(&windowed.epoch(0), 0), windowed.contexts_of(&windowed.epoch(1), 0));
        assert_eq!(
            whole.contexts_of(&whole.epoch(3), 0),
            (0..64).map(|number| served(number, 8).span).collect::<Vec<_>>()
        );
        assert_eq!(windowed.next(WindowId { epoch: 2, window: 21 }), WindowId { epoch: 3, window: 0 });
    }
}
