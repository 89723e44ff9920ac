//! Which contexts pass the model together?
//!
//! Packed contexts are of one length, and as many as a batch holds pass in the order of the text. Padded ones are padded
//! to the longest of their pass, so those of similar length should pass together: the text is cut into *lots* of
//! consecutive contexts, and within a lot contexts are sorted by length. A pass has as many of them as together, padded,
//! are no more positions than a batch of full contexts. All of it is a function of the plan and the text, so that a
//! capture that goes on at the beginning of a lot gives what it would have given.

use crate::contexts::Span;
use crate::error::CaptureError;
use crate::plan::CapturePlan;
use std::cmp::Reverse;
use std::iter::Peekable;

/// Contexts that pass the model together, padded to the longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// Packed in the order of the text; padded, the longest first.
    pub(crate) contexts: Vec<Span>,
}

impl Job {
    /// Positions of each in the pass.
    pub(crate) fn length(&self) -> usize {
        self.contexts.iter().map(|span| span.length).max().unwrap_or(0)
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.contexts.iter().map(|span| span.length).sum()
    }

    /// Positions of the pass, padding included.
    pub(crate) fn positions(&self) -> usize {
        self.contexts.len() * self.length()
    }
}

/// Passes whose contexts are consecutive taken together, in any order among them.
pub(crate) type Lot = Vec<Job>;

/// Passes that a lot of padded contexts has at least, if there is memory for its rows: with that many a few per cent of
/// the positions are padding (`bench/README.md`), and a crash costs no more than as many passes.
const LOT_PASSES: u64 = 16;
/// Memory for a lot's rows, of which the first wait for the last.
const LOT_BYTES: u64 = 256 << 20;

/// How contexts are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batching {
    /// Full contexts of a pass.
    pub(crate) batch: usize,
    /// Tokens of a full context.
    pub(crate) context: usize,
    /// Rows of a lot of padded contexts; none where contexts are packed.
    pub(crate) lot_rows: Option<u64>,
    /// Whether those of a lot pass in the order of the text, as many as a batch has: the reference.
    pub(crate) in_text_order: bool,
}

impl Batching {
    pub(crate) fn of(plan: &CapturePlan) -> Self {
        let row_bytes: u64 = plan.hooks.iter().map(|hook| (hook.d_in * size_of::<f32>()) as u64).sum();
        let lot_rows = || (LOT_PASSES * plan.batch_rows()).min(LOT_BYTES / row_bytes.max(1));
        let (batch, context, in_text_order) = (plan.batch, plan.context, plan.in_text_order);
        Batching { batch, context, lot_rows: plan.pad.then(lot_rows), in_text_order }
    }

    /// The passes of these contexts, ascending.
    pub(crate) fn lots<I: Iterator<Item = Result<Span, CaptureError>>>(self, contexts: I) -> Lots<I> {
        Lots { batching: self, contexts: contexts.peekable() }
    }

    /// The passes of a lot.
    fn jobs(self, mut contexts: Vec<Span>) -> Lot {
        if self.in_text_order {
            return contexts.chunks(self.batch).map(|contexts| Job { contexts: contexts.to_vec() }).collect();
        }
        contexts.sort_by_key(|span| (Reverse(span.length), span.first));
        let (mut lot, mut rest) = (Lot::new(), &contexts[..]);
        while let Some(longest) = rest.first() {
            let n = (self.batch * self.context / longest.length).clamp(1, rest.len());
            lot.push(Job { contexts: rest[..n].to_vec() });
            rest = &rest[n..];
        }
        lot
    }
}

/// Lots of a text, in order.
#[derive(Debug)]
pub(crate) struct Lots<I: Iterator<Item = Result<Span, CaptureError>>> {
    batching: Batching,
    contexts: Peekable<I>,
}

impl<I: Iterator<Item = Result<Span, CaptureError>>> Lots<I> {
    /// The next contexts, as long as `fits` says that one more belongs to them.
    fn take(&mut self, mut fits: impl FnMut(Span) -> bool) -> Result<Vec<Span>, CaptureError> {
        let mut taken = Vec::new();
        while let Some(next) = self.contexts.next_if(|next| next.as_ref().map_or(true, |next| fits(*next))) {
            taken.push(next?);
        }
        Ok(taken)
    }

    /// The next batch of contexts of one length.
    fn packed(&mut self) -> Result<Lot, CaptureError> {
        let (batch, mut length, mut n) = (self.batching.batch, None, 0);
        let contexts = self.take(|next| {
            n += 1;
            n <= batch && *length.get_or_insert(next.length) == next.length
        })?;
        Ok(if contexts.is_empty() { Lot::new() } else { vec![Job { contexts }] })
    }

    /// The next lot of contexts that have at most so many rows, or one that has more.
    fn padded(&mut self, most: u64) -> Result<Lot, CaptureError> {
        let mut rows = 0;
        let contexts = self.take(|next| {
            let first = rows == 0;
            rows += next.length as u64;
            first || rows <= most
        })?;
        Ok(self.batching.jobs(contexts))
    }
}

impl<I: Iterator<Item = Result<Span, CaptureError>>> Iterator for Lots<I> {
    type Item = Result<Lot, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let lot = match self.batching.lot_rows {
            None => self.packed(),
            Some(most) => self.padded(most),
        };
        match lot {
            Ok(lot) if lot.is_empty() => None,
            lot => Some(lot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Consecutive contexts of these lengths.
    fn spans(lengths: &[usize]) -> Vec<Span> {
        let mut first = 0;
        let span = |length: &usize| {
            let span = Span { first, length: *length };
            first = span.end();
            span
        };
        lengths.iter().map(span).collect()
    }

    fn lots(batching: Batching, spans: &[Span]) -> Vec<Lot> {
        batching.lots(spans.iter().copied().map(Ok)).collect::<Result<_, _>>().expect("nothing fails")
    }

    fn lengths(lot: &Lot) -> Vec<Vec<usize>> {
        lot.iter().map(|job| job.contexts.iter().map(|span| span.length).collect()).collect()
    }

    #[test]
    fn packed_contexts_pass_in_full_batches_and_the_short_one_alone() {
        let batching = Batching { batch: 2, context: 4, lot_rows: None, in_text_order: false };
        // Contexts 0, 1, 3 and 4 of a text of 18 rows: the last has two.
        let spans = [(0, 4), (4, 4), (12, 4), (16, 2)].map(|(first, length)| Span { first, length });
        let jobs = lots(batching, &spans).concat();
        let firsts: Vec<Vec<u64>> =
            jobs.iter().map(|job| job.contexts.iter().map(|span| span.first).collect()).collect();
        assert_eq!(firsts, [vec![0, 4], vec![12], vec![16]]);
        assert_eq!(jobs.iter().map(Job::length).collect::<Vec<_>>(), [4, 4, 2]);
    }

    #[test]
    fn padded_contexts_pass_with_those_of_their_length() {
        // Lots of at most 16 rows, passes of at most 8 positions.
        let batching = Batching { batch: 2, context: 4, lot_rows: Some(16), in_text_order: false };
        let lots = lots(batching, &spans(&[1, 4, 2, 4, 3, 1, 1, 2, 2]));
        assert_eq!(
            lots.iter().map(lengths).collect::<Vec<_>>(),
            [vec![vec![4, 4], vec![3, 2], vec![1, 1, 1]], vec![vec![2, 2]],]
        );
        assert_eq!(lots[0][1].contexts, [Span { first: 11, length: 3 }, Span { first: 5, length: 2 }]);
        assert_eq!((lots[0][1].rows(), lots[0][1].positions()), (5, 6));
    }

    proptest! {
        #[test]
        fn every_context_passes_once_and_no_pass_has_more_positions_than_a_batch(
            lengths in prop::collection::vec(1usize..9, 0..60), batch in 1usize..5, rows in 0u64..80,
            (pad, in_text_order) in any::<(bool, bool)>(),
        ) {
            let batching = Batching { batch, context: 8, lot_rows: pad.then_some(rows), in_text_order };
            let spans = spans(&lengths);
            let lots = lots(batching, &spans);
            let mut passed = Vec::new();
            for lot in &lots {
                let mut contexts: Vec<Span> = lot.iter().flat_map(|job| job.contexts.clone()).collect();
                contexts.sort_by_key(|span| span.first);
                prop_assert!(!pad || contexts.len() == 1 || contexts.iter().map(|s| s.length as u64).sum::<u64>() <= rows);
                passed.extend(contexts);
                prop_assert!(lot.iter().all(|job| job.positions() <= batch * 8 && !job.contexts.is_empty()));
            }
            prop_assert_eq!(&passed, &spans);
            // What comes behind a lot does not depend on what came before it.
            if let Some(first) = lots.first() {
                let n: usize = first.iter().map(|job| job.contexts.len()).sum();
                prop_assert_eq!(self::lots(batching, &spans[n..]), &lots[1..]);
            }
        }
    }
}
