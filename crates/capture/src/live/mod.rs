//! How does a trainer read the rows of a model without a file between them?
//!
//! The text is cut into token ids first, as for a capture, so that its rows have numbers. Then windows of contexts from
//! all over the text pass the model on a thread of their own, while the rows of the window before are served in random
//! order. Batches are a function of text, plan and index: a run that goes on somewhere asks for the next index, and the
//! window that holds it is computed again.

mod deal;
mod outliers;
mod producer;
mod text;
mod window;

pub use text::LiveConfig;

use crate::corpus::Corpus;
use crate::error::CaptureError;
use crate::passes::Passes;
use crate::plan::CapturePlan;
use crate::rounding::Rounding;
use crate::run::{compare, count_padding, is_hopeless};
use deal::{Epoch, WindowId};
use producer::{Producer, Waited};
use std::sync::Arc;
use text::{LiveText, ROW_OVERHEAD};
use untangle_model::LanguageModel;
use untangle_schema::{CaptureManifest, Classify, Event, Observer, Unit};
use untangle_store::{Partial, RowBlock, RowSource, StoreError};
use window::Window;

/// The training rows of a text in seeded random order, epoch after epoch, computed when they are needed.
pub struct LiveRows<'a> {
    text: Arc<LiveText>,
    batch_rows: usize,
    epoch: Epoch,
    current: Option<(WindowId, Window)>,
    producer: Producer,
    rounding: Option<Vec<Rounding>>,
    observer: &'a dyn Observer,
    /// Whether a window has come; the first is waited for with a bar of its own.
    begun: bool,
    /// Guards the token ids, which lie beside the plan's output.
    partial: Partial,
}

impl<'a> LiveRows<'a> {
    /// Cuts the text into token ids and prepares to serve the rows that are not held out. The ids lie beside the plan's
    /// output, which is never written, and are used again by a later run of the same plan. Where `reference` is the
    /// same model in f32, says how far the first batch is from what that gives.
    ///
    /// # Errors
    /// As [`crate::capture()`]; also where there is less than a batch to serve, or one side of the split would be
    /// empty.
    pub fn new(
        plan: CapturePlan,
        model: LanguageModel,
        reference: Option<LanguageModel>,
        corpus: &Corpus,
        config: &LiveConfig,
        observer: &'a dyn Observer,
    ) -> Result<Self, CaptureError> {
        let mut partial = Partial::claim(&plan.output, plan.force)?;
        let text = match LiveText::new(plan, &model, corpus, config, &mut partial, observer) {
            Err(error) if is_hopeless(&error) => {
                partial.discard()?;
                return Err(error);
            }
            made => Arc::new(made?),
        };
        let passes = Passes::new(&text.plan, &model, &text.spool, &text.flags);
        if text.plan.pad {
            count_padding(&text.plan, &text.spool, observer)?;
        }
        let rounding = compare(&passes, &text.plan, &model, reference, observer)?;
        Ok(LiveRows {
            batch_rows: config.batch_rows,
            epoch: text.deal.epoch(0),
            current: None,
            producer: Producer::start(text.clone(), model),
            rounding,
            observer,
            begun: false,
            partial,
            text,
        })
    }

    /// What a capture of the same text and plan, in f32, would say of itself.
    pub fn manifest(&self) -> CaptureManifest {
        self.text.manifest()
    }

    /// Whether the order is an exact permutation of all training rows, because they fit into memory.
    pub fn is_exact(&self) -> bool {
        self.text.deal.windows == 1
    }

    /// Bytes of memory that rows take where `memory_bytes` of them may be shuffled together: all, or two windows.
    pub fn window_bytes(&self, memory_bytes: u64) -> u64 {
        let row = self.text.widths.iter().sum::<usize>() * size_of::<f32>() + ROW_OVERHEAD;
        (self.text.deal.rows_per_epoch * row as u64).min(memory_bytes)
    }

    /// What the model's arithmetic cost, where that was measured.
    pub fn rounding(&self) -> Option<&[Rounding]> {
        self.rounding.as_deref()
    }

    /// Removes the token ids, after the training for which they were made.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn finish(self) -> Result<(), CaptureError> {
        Ok(self.partial.discard()?)
    }

    /// Makes the window of row `at` of the stream current; gives the rows of the window that come before it.
    fn seek(&mut self, at: u64) -> Result<u64, StoreError> {
        let per_epoch = self.text.deal.rows_per_epoch;
        if self.epoch.epoch != at / per_epoch {
            self.epoch = self.text.deal.epoch(at / per_epoch);
        }
        let (window, before) = self.epoch.window_at(at % per_epoch);
        let id = WindowId { epoch: self.epoch.epoch, window };
        match &mut self.current {
            Some((current, _)) if *current == id => {}
            // One window that is everything is computed once, and only shuffled again in every epoch.
            Some((current, window)) if self.text.deal.windows == 1 => {
                window.shuffle(&self.text, id);
                *current = id;
            }
            _ => self.obtain(id)?,
        }
        Ok(before)
    }

    /// Makes `id` the current window and begins with the one after it.
    fn obtain(&mut self, id: WindowId) -> Result<(), StoreError> {
        if let Some((_, window)) = self.current.take() {
            self.producer.recycle(window);
        }
        if self.producer.request(id, self.epoch.clone()) {
            // The stream was left: what is on its way is of no use, but its memory.
            let unused = self.wait()?;
            self.producer.recycle(unused);
            self.producer.request(id, self.epoch.clone());
        }
        self.current = Some((id, self.wait()?));
        if self.text.deal.windows > 1 {
            let next = self.text.deal.next(id);
            let epoch = if next.epoch == id.epoch { self.epoch.clone() } else { self.text.deal.epoch(next.epoch) };
            self.producer.request(next, epoch);
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<Window, StoreError> {
        let (observer, first) = (self.observer, !self.begun);
        let mut shown = false;
        let waited = self.producer.wait(|passed, wanted| {
            if first && wanted > 0 {
                if !shown {
                    let started = Event::Started { task: "fill", unit: Unit::Tokens, done: 0, total: wanted };
                    observer.event(started);
                    shown = true;
                }
                observer.event(Event::Advanced { done: passed, figures: &[] });
            }
            observer.interrupted()
        });
        if shown {
            observer.event(Event::Finished);
        }
        match waited {
            Waited::Window(answer) => {
                if first
                    && !self.text.keep_outliers
                    && let Ok(window) = &*answer
                {
                    let points: Vec<_> = self.text.plan.hooks.iter().map(|hook| hook.hook).collect();
                    if let Some(note) = outliers::describe(&points, window.norms()) {
                        observer.event(Event::Note(&note));
                    }
                }
                self.begun = true;
                (*answer).map_err(|error| StoreError::Source { fault: error.fault(), source: Box::new(error) })
            }
            Waited::GaveUp => Err(StoreError::Interrupted),
            Waited::Gone => Err(StoreError::ReaderGone { store: "the model's rows".to_owned() }),
        }
    }
}

impl RowSource for LiveRows<'_> {
    fn widths(&self) -> &[usize] {
        &self.text.widths
    }

    fn rows_per_epoch(&self) -> u64 {
        self.text.deal.rows_per_epoch
    }

    fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    fn read(&mut self, index: u64, block: &mut RowBlock) -> Result<(), StoreError> {
        block.reset(self.text.widths.len());
        let first = index * self.batch_rows as u64;
        while block.len() < self.batch_rows {
            let before = self.seek(first + block.len() as u64)? as usize;
            let Some((_, window)) = &self.current else { continue };
            let end = window.len().min(before + self.batch_rows - block.len());
            window.gather(&self.text.widths, before..end, block);
        }
        Ok(())
    }
}
