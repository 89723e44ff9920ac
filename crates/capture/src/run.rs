//! How does text become an activation file?
//!
//! Token ids are spooled, which tells the number of rows. Then batches of contexts, which are a function of the plan
//! alone, pass through the model as far as the last hook point, and their rows are appended. Both stages go on where an
//! earlier run stopped.

use crate::corpus::Corpus;
use crate::error::CaptureError;
use crate::plan::CapturePlan;
use crate::recorder::Recorder;
use crate::spool::{Spool, Spooled};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tch::Tensor;
use untangle_model::{LanguageModel, Tokenizer};
use untangle_schema::capture::row_flags;
use untangle_schema::{CaptureManifest, Event, Observer, Unit};
use untangle_store::{Partial, Rows, StoreError, StoreWriter};

/// A finished capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The activation file.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: CaptureManifest,
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
    let manifest = plan.manifest(spool.rows(), spool.documents(), corpus, files);
    let mut writer = StoreWriter::open(partial, manifest.clone())?;
    let flags = flags_of_tokens(tokenizer, model.vocab_size(), plan.bos_token);
    match fill(&mut writer, &Stage { plan, model, spool: &spool, flags, observer }) {
        Err(error) if is_hopeless(&error) => {
            writer.discard()?;
            return Err(error);
        }
        filled => filled?,
    }
    let path = writer.finish()?;
    observer.event(Event::Finished);
    Ok(Captured { path, manifest })
}

/// Whether the same would happen again, so that nothing can come of what is unfinished; on a full disk it would also be
/// in the way.
fn is_hopeless(error: &CaptureError) -> bool {
    use CaptureError as E;
    let value = matches!(error, E::Store(StoreError::Overflow { .. } | StoreError::NotFiniteActivation { .. }));
    let text = matches!(error, E::EmptyCorpus { .. } | E::Record { .. } | E::NotUtf8 { .. } | E::Damaged { .. });
    let table = matches!(error, E::NoColumn { .. } | E::ColumnType { .. });
    value || text || table || matches!(error, E::NotReached(_) | E::NoRoomForTokens { .. })
}

/// What the passes need.
struct Stage<'a> {
    plan: &'a CapturePlan,
    model: &'a LanguageModel,
    spool: &'a Spool,
    /// Row flags of every token id.
    flags: Vec<u8>,
    observer: &'a dyn Observer,
}

fn fill(writer: &mut StoreWriter, stage: &Stage<'_>) -> Result<(), CaptureError> {
    let total = stage.spool.rows();
    let started = (Instant::now(), writer.rows_done());
    let row_bytes: u64 = stage.plan.hooks.iter().map(|hook| (hook.d_in * stage.plan.store.size()) as u64).sum();
    let mut flushed = Instant::now();
    let mut recorder = Recorder::new(stage.plan.hooks.iter().map(|hook| hook.hook).collect());
    stage.observer.event(Event::Started { task: "capture", unit: Unit::Tokens, done: started.1, total });
    while writer.rows_done() < total {
        if stage.observer.interrupted() {
            writer.flush()?;
            return Err(CaptureError::Interrupted { done: writer.rows_done(), total, unit: "tokens" });
        }
        pass(writer, stage, &mut recorder)?;
        if flushed.elapsed() >= FLUSH_AFTER || writer.rows_unflushed() * row_bytes >= FLUSH_BYTES {
            writer.flush()?;
            flushed = Instant::now();
        }
        let speed = (writer.rows_done() - started.1) as f64 / started.0.elapsed().as_secs_f64().max(1e-9);
        stage.observer.event(Event::Advanced { done: writer.rows_done(), figures: &[("tokens/s", speed)] });
    }
    Ok(())
}

/// One forward pass: the contexts of the next batch, or the last one alone where it is shorter.
fn pass(writer: &mut StoreWriter, stage: &Stage<'_>, recorder: &mut Recorder) -> Result<(), CaptureError> {
    let (first, context) = (writer.rows_done(), stage.plan.context);
    let left = stage.spool.rows() - first;
    let whole = left.min(stage.plan.batch_rows()) as usize / context;
    let (n, seq) = if whole > 0 { (whole * context, context) } else { (left as usize, left as usize) };
    let Spooled { tokens, documents, .. } = stage.spool.read(first, n)?;
    let positions: Vec<u32> = (0..n).map(|row| (row % seq) as u32).collect();
    let flags: Vec<u8> = tokens.iter().map(|token| stage.flags.get(*token as usize).copied().unwrap_or(0)).collect();
    let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
    let ids = Tensor::from_slice(&ids).view([(n / seq) as i64, seq as i64]).to_device(stage.model.device());
    tch::no_grad(|| stage.model.forward(&ids, recorder))?;
    if let Some(point) = recorder.missed() {
        return Err(CaptureError::NotReached(point));
    }
    let columns = recorder.columns();
    let rows = Rows { tokens: &tokens, documents: &documents, positions: &positions, flags: &flags, columns: &columns };
    Ok(writer.append(&rows)?)
}

/// The row flags of every token id.
fn flags_of_tokens(tokenizer: &Tokenizer, vocabulary: usize, bos: Option<u32>) -> Vec<u8> {
    let of = |token: u32| {
        let is_bos = Some(token) == bos || Some(token) == tokenizer.bos();
        let special = is_bos || tokenizer.is_special(token);
        (if is_bos { row_flags::BOS } else { 0 }) | (if special { row_flags::SPECIAL } else { 0 })
    };
    (0..vocabulary as u32).map(of).collect()
}
