//! The tokens around chosen firings, and the feature's activation at each of them.
//!
//! Windows stay within their context and their document, so that what is said of documents holds of all their tokens. They are
//! looked at in the order of the store. What was encoded before is taken from what was kept of it; of other rows, those of all windows
//! of a batch are encoded once, so the cost is at most that of another pass over the store.

use crate::corpus::Corpus;
use crate::error::InterpretError;
use crate::extremes::Firing;
use crate::kept::Kept;
use crate::progress::Progress;
use rayon::prelude::*;
use std::ops::Range;
use untangle_sae::{Codes, Sae};
use untangle_store::RowBlock;

/// How far a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Tokens before the firing.
    pub before: usize,
    /// Tokens after it.
    pub after: usize,
}

impl Default for Reach {
    fn default() -> Self {
        Self { before: 16, after: 8 }
    }
}

/// A firing with its surroundings.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The feature that is shown.
    pub feature: usize,
    /// The firing around which the window lies.
    pub firing: Firing,
    /// Token ids, in order.
    pub tokens: Vec<u32>,
    /// The feature's activation at each token.
    pub activations: Vec<f32>,
    /// Index of the firing in `tokens`.
    pub peak: usize,
}

/// Rows that are read and encoded together.
const BATCH_ROWS: u64 = 8192;

/// The windows around `firings` (feature and firing), in the order given.
///
/// # Errors
/// When reading fails, or the user asks to stop.
pub fn windows(
    sae: &Sae,
    corpus: &Corpus,
    kept: &mut Kept,
    firings: &[(usize, Firing)],
    reach: Reach,
    progress: &mut Progress<'_>,
) -> Result<Vec<Window>, InterpretError> {
    let store = corpus.store();
    let range = |firing: &Firing| {
        let start = firing.row - u64::from(firing.position).min(reach.before as u64).min(firing.row);
        start..(firing.row + reach.after as u64 + 1).min(store.n_rows())
    };
    let mut order: Vec<usize> = (0..firings.len()).collect();
    order.sort_by_key(|at| (range(&firings[*at].1).start, *at));
    let mut windows: Vec<Option<Window>> = vec![None; firings.len()];
    let mut batch = Batch::default();
    let mut rest = &order[..];
    while !rest.is_empty() {
        let taken = batch.plan(rest.iter().map(|at| range(&firings[*at].1)));
        batch.read(sae, corpus, kept)?;
        let cut = |at: &usize| {
            let (feature, firing) = firings[*at];
            (*at, batch.window(feature, firing, range(&firing)))
        };
        let found: Vec<(usize, Window)> = rest[..taken].par_iter().map(cut).collect();
        found.into_iter().for_each(|(at, window)| windows[at] = Some(window));
        progress.advance(taken as u64)?;
        rest = &rest[taken..];
    }
    Ok(windows.into_iter().flatten().collect())
}

/// The longest stretch of `range` around `middle` all of which belongs to it.
pub(crate) fn around(range: Range<usize>, middle: usize, belongs: impl Fn(usize) -> bool) -> Range<usize> {
    let before = (range.start..middle).rev().take_while(|at| belongs(*at)).count();
    let after = (middle + 1..range.end).take_while(|at| belongs(*at)).count();
    middle - before..middle + after + 1
}

/// Rows of the store, ascending ranges, with what was read of them.
#[derive(Default)]
struct Batch {
    ranges: Vec<Range<u64>>,
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<u32>,
    codes: Codes,
    block: RowBlock,
    encoded: Codes,
}

impl Batch {
    /// Takes windows, sorted by start, until the batch is full; at least one. Says how many.
    fn plan(&mut self, wanted: impl Iterator<Item = Range<u64>>) -> usize {
        self.ranges.clear();
        let (mut taken, mut n_rows) = (0, 0);
        for range in wanted {
            match self.ranges.last_mut() {
                Some(last) if range.start <= last.end => {
                    n_rows += range.end.saturating_sub(last.end);
                    last.end = last.end.max(range.end);
                }
                _ => {
                    n_rows += range.end - range.start;
                    self.ranges.push(range);
                }
            }
            taken += 1;
            if n_rows >= BATCH_ROWS {
                break;
            }
        }
        taken
    }

    fn read(&mut self, sae: &Sae, corpus: &Corpus, kept: &mut Kept) -> Result<(), InterpretError> {
        self.tokens.clear();
        self.positions.clear();
        self.documents.clear();
        self.codes.clear();
        for range in &self.ranges {
            corpus.store().read_rows(range.clone(), &[], &mut self.block)?;
            self.tokens.extend_from_slice(&self.block.tokens);
            self.positions.extend_from_slice(&self.block.positions);
            self.documents.extend_from_slice(&self.block.documents);
            let mut row = range.start;
            while row < range.end {
                if let Some((features, activations)) = kept.row(row) {
                    self.codes.push_row(features.iter().copied().zip(activations.iter().copied()));
                    row += 1;
                    continue;
                }
                let end = (row + 1..range.end).find(|row| kept.row(*row).is_some()).unwrap_or(range.end);
                corpus.encode(sae, row..end, &mut self.block, &mut self.encoded)?;
                for at in 0..self.encoded.n_rows() {
                    let (features, activations) = self.encoded.row(at);
                    self.codes.push_row(features.iter().copied().zip(activations.iter().copied()));
                }
                row = end;
            }
        }
        Ok(())
    }

    /// Cuts the window of `firing` out of what was read, from `range`, which begins within the context.
    fn window(&self, feature: usize, firing: Firing, range: Range<u64>) -> Window {
        let (first, middle) = (self.index_of(range.start), self.index_of(firing.row));
        let end = first + (range.end - range.start) as usize;
        let (positions, documents) = (&self.positions, &self.documents);
        let rows = around(first..end, middle, |at| {
            let expected = i64::from(firing.position) + at as i64 - middle as i64;
            i64::from(positions[at]) == expected && documents[at] == firing.document
        });
        let activations = rows.clone().map(|row| self.codes.activation(row, feature)).collect();
        Window { feature, firing, tokens: self.tokens[rows.clone()].to_vec(), activations, peak: middle - rows.start }
    }

    /// Where `row` of the store lies among the rows that were read.
    fn index_of(&self, row: u64) -> usize {
        let within = self.ranges.partition_point(|range| range.end <= row);
        let before: u64 = self.ranges[..within].iter().map(|range| range.end - range.start).sum();
        (before + row - self.ranges[within].start) as usize
    }
}
