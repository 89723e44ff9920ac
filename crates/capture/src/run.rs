//! How does text become an activation file?
//!
//! Token ids are spooled, which tells the number of rows. Then batches of contexts, which are a function of plan and text
//! alone, pass through the model as far as the last hook point, and their rows are appended while the next ones pass.
//! Both stages go on where an earlier run stopped.

use crate::batches::{Batching, Lot};
use crate::contexts::Contexts;
use crate::corpus::Corpus;
use crate::error::CaptureError;
use crate::passes::{Passes, Step};
use crate::plan::CapturePlan;
use crate::rounding::{self, Rounding};
use crate::spool::Spool;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use untangle_model::{LanguageModel, ModelError, Tokenizer};
use untangle_schema::capture::row_flags;
use untangle_schema::{CaptureManifest, Event, Observer, Unit};
use untangle_store::{Partial, StoreError, StoreWriter};

/// A finished capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The activation file.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: CaptureManifest,
    /// What the arithmetic cost, where that was measured.
    pub rounding: Option<Vec<Rounding>>,
    /// Positions of the passes that were padding, of all of the capture's whichever runs made them; none where contexts
    /// are packed.
    pub padding: Option<u64>,
}

/// Time between flushes: what a crash costs at most.
const FLUSH_AFTER: Duration = Duration::from_secs(15);
/// Bytes between flushes, so that one flush does not wait long for the disk.
const FLUSH_BYTES: u64 = 256 << 20;

/// Captures the plan's hook points over the corpus into the plan's output.
///
/// # Errors
/// [`CaptureError::Interrupted`] where the observer asked to stop: what was done is kept, and the same call goes on
/// from there. Otherwise what is wrong with output, text, model or values.
pub fn capture(
    plan: &CapturePlan,
    model: &LanguageModel,
    corpus: &Corpus,
    observer: &dyn Observer,
) -> Result<Captured, CaptureError> {
    capture_compared(plan, model, None, corpus, observer)
}

/// The same, and where `reference` is the same model in f32, says how far the first batch is from what that gives.
///
/// # Errors
/// As [`capture`].
pub fn capture_compared(
    plan: &CapturePlan,
    model: &LanguageModel,
    reference: Option<LanguageModel>,
    corpus: &Corpus,
    observer: &dyn Observer,
) -> Result<Captured, CaptureError> {
    let tokenizer = model.tokenizer()?;
    let mut partial = Partial::claim(&plan.output, plan.force)?;
    let spool = match Spool::make(&mut partial, plan, corpus, tokenizer, observer) {
        Err(error) if is_hopeless(&error) => {
            partial.discard()?;
            return Err(error);
        }
        made => made?,
    };
    let files = spool.surveys().iter().map(|survey| survey.file.clone()).collect();
    let manifest = plan.manifest(spool.rows(), spool.documents(), files, corpus.chat_template_sha256());
    let flags = flags_of_tokens(tokenizer, model.vocab_size(), plan.bos_token);
    let passes = Passes::new(plan, model, &spool, &flags);
    let padding = plan.pad.then(|| count_padding(plan, &spool, observer)).transpose()?;
    let rounding = compare(&passes, plan, model, reference, observer)?;
    let mut writer = StoreWriter::open(partial, manifest.clone())?;
    match fill(&mut writer, &passes, plan, model, observer) {
        Err(error) if is_hopeless(&error) => {
            writer.discard()?;
            return Err(error);
        }
        filled => filled?,
    }
    let path = if plan.compress { compress(writer, observer)? } else { writer.finish()? };
    observer.event(Event::Finished);
    Ok(Captured { path, manifest, rounding, padding })
}

/// Finishes a file with compressed activations, which are written anew from those that are there.
fn compress(writer: StoreWriter, observer: &dyn Observer) -> Result<PathBuf, CaptureError> {
    observer.event(Event::Finished);
    let (mut started, mut reached) = (false, (0, 0));
    let finished = writer.finish_compressed(&mut |done, total| {
        if !started {
            observer.event(Event::Started { task: "compress", unit: Unit::Rows, done, total });
            started = true;
        }
        reached = (done, total);
        observer.event(Event::Advanced { done, figures: &[] });
        !observer.interrupted()
    })?;
    let (done, total) = reached;
    finished.ok_or(CaptureError::Interrupted { done, total, unit: "rows to compress" })
}

/// Whether the same would happen again, so that nothing can come of what is unfinished; on a full disk it would also be
/// in the way.
pub(crate) fn is_hopeless(error: &CaptureError) -> bool {
    use CaptureError as E;
    let value = matches!(error, E::Store(StoreError::Overflow { .. } | StoreError::NotFiniteActivation { .. }));
    let text = matches!(error, E::EmptyCorpus { .. } | E::Record { .. } | E::NotUtf8 { .. });
    let file = matches!(error, E::Damaged { .. } | E::Unsupported { .. });
    let table = matches!(error, E::NoColumn { .. } | E::ColumnType { .. } | E::NoMessages { .. });
    let model = matches!(error, E::Model(ModelError::TokenBeyondEmbedding { .. }));
    value || text || file || table || model || matches!(error, E::NotReached(_) | E::NoRoomForTokens { .. })
}

/// Measures on the first batch what the arithmetic of `model` costs, and lets go of the reference.
pub(crate) fn compare(
    passes: &Passes<'_>,
    plan: &CapturePlan,
    model: &LanguageModel,
    reference: Option<LanguageModel>,
    observer: &dyn Observer,
) -> Result<Option<Vec<Rounding>>, CaptureError> {
    let first = lots(plan, passes.spool, 0).next().transpose()?.unwrap_or_default();
    let (Some(reference), Some(first)) = (reference, first.first()) else { return Ok(None) };
    let rounding = rounding::measure(passes, first, model, &reference)?;
    observer.event(Event::Note(&rounding::describe(&rounding, plan.compute_dtype)));
    Ok(Some(rounding))
}

/// The passes of a capture from row `first` on, with which one of its lots begins.
pub(crate) fn lots(plan: &CapturePlan, spool: &Spool, first: u64) -> impl Iterator<Item = Result<Lot, CaptureError>> {
    Batching::of(plan).lots(Contexts::new(spool, plan.context, plan.pad, first))
}

/// Counts the positions that are padding in the passes of a capture, and says so.
pub(crate) fn count_padding(plan: &CapturePlan, spool: &Spool, observer: &dyn Observer) -> Result<u64, CaptureError> {
    let (mut contexts, mut padding) = (0, 0);
    for lot in lots(plan, spool, 0) {
        for job in lot? {
            contexts += job.contexts.len();
            padding += (job.positions() - job.rows()) as u64;
        }
    }
    let (documents, rows) = (spool.documents(), spool.rows());
    let share = 100.0 * padding as f64 / (padding + rows) as f64;
    observer.event(Event::Note(&format!(
        "{documents} documents begin {contexts} contexts of {:.1} tokens on average; {padding} positions ({share:.1} %) \
         of the passes are padding",
        rows as f64 / contexts as f64
    )));
    Ok(padding)
}

/// Runs the passes that are missing, and writes while the next ones run.
fn fill(
    writer: &mut StoreWriter,
    passes: &Passes<'_>,
    plan: &CapturePlan,
    model: &LanguageModel,
    observer: &dyn Observer,
) -> Result<(), CaptureError> {
    let (total, before, began) = (passes.spool.rows(), writer.rows_done(), Instant::now());
    let row_bytes: u64 = plan.hooks.iter().map(|hook| (hook.d_in * plan.store.size()) as u64).sum();
    let (mut flushed, mut passed) = (Instant::now(), before);
    observer.event(Event::Started { task: "capture", unit: Unit::Tokens, done: before, total });
    if before < total && observer.interrupted() {
        return Err(CaptureError::Interrupted { done: before, total, unit: "tokens" });
    }
    passes.run(model, lots(plan, passes.spool, before), |step| {
        let rows = match step {
            Step::Rows(rows) => {
                let columns: Vec<&[f32]> = rows.columns.iter().map(Vec::as_slice).collect();
                return Ok(writer.append(&rows.rows(&columns))?);
            }
            Step::Done(rows) => rows,
        };
        let asked_to_stop = writer.rows_done() < total && observer.interrupted();
        if asked_to_stop || flushed.elapsed() >= FLUSH_AFTER || writer.rows_unflushed() * row_bytes >= FLUSH_BYTES {
            writer.flush()?;
            flushed = Instant::now();
        }
        if asked_to_stop {
            return Err(CaptureError::Interrupted { done: writer.rows_done(), total, unit: "tokens" });
        }
        passed += rows as u64;
        let speed = (passed - before) as f64 / began.elapsed().as_secs_f64().max(1e-9);
        observer.event(Event::Advanced { done: passed, figures: &[("tokens/s", speed)] });
        Ok(())
    })
}

/// The row flags of every token id.
pub(crate) fn flags_of_tokens(tokenizer: &Tokenizer, vocabulary: usize, bos: Option<u32>) -> Vec<u8> {
    let of = |token: u32| {
        let is_bos = Some(token) == bos || Some(token) == tokenizer.bos();
        let special = is_bos || tokenizer.is_special(token);
        (if is_bos { row_flags::BOS } else { 0 }) | (if special { row_flags::SPECIAL } else { 0 })
    };
    (0..vocabulary as u32).map(of).collect()
}
