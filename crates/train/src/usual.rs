//! The usual training, in one call: one dictionary on one column of a store.

use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::job::{EngineKind, Finished, Job, Run, Shown};
use crate::provenance::DataProvenance;
use crate::run::train;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::Observer;
use untangle_store::{ActivationSet, HeldOut, RowSource, ShuffleConfig, Shuffled};

/// Memory in which rows are shuffled where nobody asks for another amount.
pub const SHUFFLE_BYTES: u64 = 1 << 30;

/// Trains a dictionary on a column of a store, by its index, as `untangle train STORE --out OUT` does: on ordinary rows outside
/// of the held-out part, shuffled, and continued where an earlier call was stopped. Thresholds, where an architecture has some,
/// are calibrated on rows of training.
///
/// # Errors
/// As those of [`train`]: settings that do not fit the store, an output that is taken, rows that are not finite, a loss that is
/// not; [`TrainError::Interrupted`] where the observer asks to stop, after a checkpoint.
pub fn train_on_store(
    store: &Arc<ActivationSet>,
    column: usize,
    config: &TrainConfig,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Finished, TrainError> {
    let held_out = HeldOut::default();
    let shuffle = ShuffleConfig {
        seed: config.seed,
        batch_rows: config.batch,
        memory_bytes: usize::try_from(SHUFFLE_BYTES).unwrap_or(usize::MAX),
        keep_special: false,
        keep_outliers: false,
        columns: vec![column],
    };
    let mut source = Shuffled::new(Arc::clone(store), &held_out, &shuffle)?;
    let rows_per_epoch = source.rows_per_epoch();
    let plan = config.plan(store.columns()[column].d, rows_per_epoch)?;
    let data = DataProvenance {
        stores: store.names(),
        content: store.content_identity(),
        column: store.columns()[column].name.clone(),
        column_out: None,
        parts: Vec::new(),
        unpaired: Vec::new(),
        held_out: serde_json::to_value(&held_out).unwrap_or(Value::Null),
        calibration: Value::Null,
        keep_special: false,
        keep_outliers: false,
        order_seed: config.seed,
        shuffle_bytes: SHUFFLE_BYTES,
        rows_per_epoch,
        capture: store.manifest().cloned(),
    };
    let runs = [Run { name: String::new(), column: 0, further: Vec::new(), target: None, plan, data }];
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &|_| Ok(Vec::new()),
        out,
        force: false,
        checkpoint_every: None,
        shown: Shown { tensorboard: false, report: true, held_out: None },
        engine: EngineKind::Native,
    };
    let mut finished = train(job, observer)?;
    Ok(finished.remove(0))
}
