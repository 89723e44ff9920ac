//! Which rows does a text have to serve?

use crate::contexts::{Contexts, Span};
use crate::corpus::Corpus;
use crate::error::CaptureError;
use crate::live::deal::{Deal, Epoch, Served};
use crate::plan::CapturePlan;
use crate::run::flags_of_tokens;
use crate::spool::{Spool, Spooled};
use untangle_model::LanguageModel;
use untangle_schema::capture::row_flags;
use untangle_schema::{CaptureManifest, Observer};
use untangle_store::{HeldOut, Partial, Split, StoreError};

/// How the rows of a text are served. Together with plan and text it determines every batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveConfig {
    /// Another seed gives another order.
    pub seed: u64,
    /// Rows per batch.
    pub batch_rows: usize,
    /// Memory for rows. Where all training rows fit, their order is an exact permutation; else half of this is one
    /// window of contexts from all over the text, within which it is.
    pub memory_bytes: usize,
    /// Whether rows of special tokens are served too.
    pub keep_special: bool,
    /// Whether rows are served whose norm is an outlier in one of the columns (attention sinks). Where not, other rows
    /// of their window take their places.
    pub keep_outliers: bool,
    /// What is not served.
    pub held_out: HeldOut,
}

/// Bytes that a row takes in a window, beside its activations: its number, what is known about it, its place.
pub(super) const ROW_OVERHEAD: usize = 8 + 3 * 4 + 8 + 1 + 4;
/// Rows counted at a time.
const COUNTED_ROWS: u64 = 1 << 18;

/// A text as token ids, with the plan by which they pass the model.
#[derive(Debug)]
pub(crate) struct LiveText {
    pub(crate) plan: CapturePlan,
    pub(crate) spool: Spool,
    /// Row flags of every token id.
    pub(crate) flags: Vec<u8>,
    pub(crate) widths: Vec<usize>,
    pub(crate) deal: Deal,
    split: Split,
    keep_special: bool,
    pub(crate) keep_outliers: bool,
    chat_template_sha256: Option<String>,
}

impl LiveText {
    /// Cuts the text into token ids, or what an earlier run left to be cut, and counts what there is to serve.
    pub(crate) fn new(
        plan: CapturePlan,
        model: &LanguageModel,
        corpus: &Corpus,
        config: &LiveConfig,
        partial: &mut Partial,
        observer: &dyn Observer,
    ) -> Result<Self, CaptureError> {
        if config.batch_rows == 0 {
            return Err(StoreError::EmptyBatch.into());
        }
        let spool = Spool::make(partial, &plan, corpus, model.tokenizer()?, observer)?;
        let split = Split::of(&config.held_out, spool.rows(), Some(spool.documents()))?;
        let widths: Vec<usize> = plan.hooks.iter().map(|hook| hook.d_in).collect();
        let row_bytes = widths.iter().sum::<usize>() * size_of::<f32>() + ROW_OVERHEAD;
        let mut text = LiveText {
            flags: flags_of_tokens(model.tokenizer()?, model.vocab_size(), plan.bos_token),
            keep_special: config.keep_special,
            keep_outliers: config.keep_outliers,
            chat_template_sha256: corpus.chat_template_sha256(),
            deal: Deal::new(Vec::new(), plan.context, 0, config.seed),
            plan,
            spool,
            widths,
            split,
        };
        let contexts = text.count()?;
        text.deal = Deal::new(contexts, text.plan.context, config.memory_bytes / row_bytes, config.seed);
        let (rows, batch) = (text.deal.rows_per_epoch, config.batch_rows);
        if rows < batch as u64 {
            let names: Vec<_> = text.spool.surveys().iter().map(|survey| survey.file.name.clone()).collect();
            let (store, total) = (names.join(" + "), text.spool.rows());
            return Err(StoreError::TooFewRows { store, rows, total, batch }.into());
        }
        Ok(text)
    }

    /// What a capture of the same would say of itself.
    pub(crate) fn manifest(&self) -> CaptureManifest {
        let files = self.spool.surveys().iter().map(|survey| survey.file.clone()).collect();
        let chat = self.chat_template_sha256.clone();
        self.plan.manifest(self.spool.rows(), self.spool.documents(), files, chat)
    }

    /// Whether a row is served.
    pub(crate) fn serves(&self, row: u64, document: u32, flags: u8) -> bool {
        (self.keep_special || flags & row_flags::ANY_SPECIAL == 0) && !self.split.is_held_out(row, document)
    }

    /// The contexts that have rows to serve.
    fn count(&self) -> Result<Vec<Served>, CaptureError> {
        let mut read = Spooled::default();
        let (mut contexts, mut first, mut end) = (Vec::new(), 0, 0);
        for span in Contexts::new(&self.spool, self.plan.context, self.plan.pad, 0) {
            let span = span?;
            if span.end() > end {
                // The context is read whole, and what comes behind it.
                (first, end) = (span.first, (span.first + COUNTED_ROWS).max(span.end()).min(self.spool.rows()));
                read = self.spool.read(first, (end - first) as usize)?;
            }
            let serves = |row: &u64| {
                let at = (row - first) as usize;
                let flags = self.flags.get(read.tokens[at] as usize).copied().unwrap_or(0);
                self.serves(*row, read.documents[at], flags)
            };
            let rows = (span.first..span.end()).filter(serves).count();
            contexts.extend((rows > 0).then_some(Served { span, rows }));
        }
        Ok(contexts)
    }

    /// The contexts of a window that pass the model, in the order of the text. Where one window is everything they are all
    /// that there are, those without rows to serve included: their passes are those of a capture.
    pub(crate) fn contexts_of(&self, epoch: &Epoch, window: usize) -> Result<Vec<Span>, CaptureError> {
        match self.deal.windows {
            1 => Contexts::new(&self.spool, self.plan.context, self.plan.pad, 0).collect(),
            _ => Ok(self.deal.contexts_of(epoch, window)),
        }
    }
}
