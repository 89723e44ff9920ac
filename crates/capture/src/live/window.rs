//! Which rows of a model are in memory?

use crate::batches::Batching;
use crate::error::CaptureError;
use crate::live::deal::{Epoch, WindowId};
use crate::live::outliers;
use crate::live::text::LiveText;
use crate::passed::Passed;
use crate::passes::{Passes, Step};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use untangle_model::LanguageModel;
use untangle_schema::capture::row_flags;
use untangle_store::norms::norm;
use untangle_store::{NormHistogram, RowBlock};

/// What the thread that waits for a window and the one that computes it tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Rows that passed the model for the window that is being computed.
    pub(crate) passed: AtomicU64,
    /// Rows that will have, when it is complete.
    pub(crate) wanted: AtomicU64,
    /// Whether nobody waits any more.
    pub(crate) stop: AtomicBool,
}

/// Rows to serve, as the model gave them.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// One row-major `[n, d]` buffer per hook point.
    columns: Vec<Vec<f32>>,
    rows: Vec<u64>,
    tokens: Vec<u32>,
    documents: Vec<u32>,
    positions: Vec<u32>,
    offsets: Vec<u64>,
    flags: Vec<u8>,
    /// Norms at every hook point of the rows that passed, without those of special tokens.
    norms: Vec<NormHistogram>,
    /// The order in which rows are served.
    order: Vec<u32>,
}

impl Window {
    /// Replaces the content by the rows to serve of the contexts of `id`. Buffers are allocated once.
    ///
    /// # Errors
    /// The model fails or gives a value that is not finite, or nobody waits any more.
    pub(crate) fn compute(
        &mut self,
        text: &LiveText,
        model: &LanguageModel,
        epoch: &Epoch,
        id: WindowId,
        signals: &Signals,
    ) -> Result<(), CaptureError> {
        self.reset(text);
        let spans = text.contexts_of(epoch, id.window)?;
        signals.passed.store(0, Ordering::Relaxed);
        signals.wanted.store(spans.iter().map(|span| span.length as u64).sum(), Ordering::Relaxed);
        let passes = Passes::new(&text.plan, model, &text.spool, &text.flags);
        let lots = Batching::of(&text.plan).lots(spans.into_iter().map(Ok));
        passes.run(model, lots, |step| {
            let rows = match step {
                Step::Rows(rows) => return self.keep(text, &rows),
                Step::Done(rows) => rows,
            };
            let done = signals.passed.fetch_add(rows as u64, Ordering::Relaxed);
            match signals.stop.load(Ordering::Relaxed) {
                true => Err(CaptureError::Interrupted { done, total: text.spool.rows(), unit: "tokens" }),
                false => Ok(()),
            }
        })?;
        outliers::mark(&mut self.flags, &self.columns, &text.widths, &self.norms);
        self.shuffle(text, id);
        Ok(())
    }

    fn reset(&mut self, text: &LiveText) {
        let room = text.deal.most_rows(text.plan.context);
        self.columns.resize_with(text.widths.len(), Vec::new);
        for (column, d) in self.columns.iter_mut().zip(&text.widths) {
            column.clear();
            column.reserve_exact(room * d);
        }
        for numbers in [&mut self.tokens, &mut self.documents, &mut self.positions, &mut self.order] {
            numbers.clear();
            numbers.reserve_exact(room);
        }
        for numbers in [&mut self.rows, &mut self.offsets] {
            numbers.clear();
            numbers.reserve_exact(room);
        }
        self.norms.clear();
        self.norms.resize_with(text.widths.len(), NormHistogram::default);
        self.flags.clear();
        self.flags.reserve_exact(room);
    }

    /// Appends the rows to serve of a pass.
    fn keep(&mut self, text: &LiveText, passed: &Passed) -> Result<(), CaptureError> {
        let first_kept = self.rows.len();
        let mut at = 0;
        for span in &passed.contexts {
            for row in span.first..span.end() {
                if passed.flags[at] & row_flags::ANY_SPECIAL == 0 {
                    for ((norms, given), d) in self.norms.iter_mut().zip(&passed.columns).zip(&text.widths) {
                        norms.add(norm(&given[at * d..(at + 1) * d]));
                    }
                }
                if text.serves(row, passed.documents[at], passed.flags[at]) {
                    self.rows.push(row);
                    self.tokens.push(passed.tokens[at]);
                    self.documents.push(passed.documents[at]);
                    self.positions.push(passed.positions[at]);
                    self.offsets.push(passed.offsets[at]);
                    self.flags.push(passed.flags[at]);
                    for ((column, given), d) in self.columns.iter_mut().zip(&passed.columns).zip(&text.widths) {
                        column.extend_from_slice(&given[at * d..(at + 1) * d]);
                    }
                }
                at += 1;
            }
        }
        for ((column, d), hook) in self.columns.iter().zip(&text.widths).zip(&text.plan.hooks) {
            if let Some(wrong) = column[first_kept * d..].iter().position(|value| !value.is_finite()) {
                return Err(CaptureError::NotFinite { hook: hook.hook, row: self.rows[first_kept + wrong / d] });
            }
        }
        Ok(())
    }

    /// Puts the rows into the order that belongs to `id`, ordinary ones in the places of outliers unless those are kept.
    pub(crate) fn shuffle(&mut self, text: &LiveText, id: WindowId) {
        text.deal.shuffle(&mut self.order, self.rows.len(), id);
        if !text.keep_outliers {
            outliers::replace(&mut self.order, &self.flags);
        }
    }

    /// Norms at every hook point of the rows that passed, without those of special tokens.
    pub(crate) fn norms(&self) -> &[NormHistogram] {
        &self.norms
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Appends `places` of the window's order to `block`.
    pub(crate) fn gather(&self, widths: &[usize], places: Range<usize>, block: &mut RowBlock) {
        let order = self.order[places].iter().map(|row| *row as usize);
        block.rows.extend(order.clone().map(|row| self.rows[row]));
        block.tokens.extend(order.clone().map(|row| self.tokens[row]));
        block.documents.extend(order.clone().map(|row| self.documents[row]));
        block.positions.extend(order.clone().map(|row| self.positions[row]));
        block.offsets.extend(order.clone().map(|row| self.offsets[row]));
        block.flags.extend(order.clone().map(|row| self.flags[row]));
        for ((column, out), d) in self.columns.iter().zip(&mut block.columns).zip(widths) {
            order.clone().for_each(|row| out.extend_from_slice(&column[row * d..(row + 1) * d]));
        }
    }
}
