//! A store made for the purpose, and one epoch of it in random order.

use crate::cache::drop_pages;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use untangle_schema::capture::HookColumn;
use untangle_schema::{BosPolicy, CaptureManifest, HookPoint, ModelIdentity, Site, StoreDtype};
use untangle_store::{
    ActivationSet, HeldOut, Partial, RowBlock, RowSource, Rows, ShuffleConfig, Shuffled, StoreError, StoreWriter,
};

/// Rows written at a time.
const WRITTEN: u64 = 1 << 14;
/// Rows per batch, as in training.
const BATCH: usize = 4096;
const CONTEXT: u64 = 128;
const DOCUMENT: u64 = 300;

/// Writes `gib` GiB of f16 rows of width `d`.
pub(crate) fn make(path: &Path, gib: f64, d: usize) -> Result<(), StoreError> {
    let n_rows = (gib * (1u64 << 30) as f64) as u64 / (2 * d as u64);
    let mut writer = StoreWriter::open(Partial::claim(path, true)?, manifest(n_rows, d))?;
    // The same values again and again: no disk looks into them. Multiples of 1/64 in [-4, 4).
    let values = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as f32 / 64.0 - 4.0;
    let values: Vec<f32> = (0..WRITTEN * d as u64).map(values).collect();
    while writer.rows_done() < n_rows {
        let rows = writer.rows_done()..(writer.rows_done() + WRITTEN).min(n_rows);
        let n = (rows.end - rows.start) as usize;
        let numbers = |of: fn(u64) -> u64| rows.clone().map(|row| of(row) as u32).collect::<Vec<u32>>();
        writer.append(&Rows {
            tokens: &numbers(|row| row % 50_000),
            documents: &numbers(|row| row / DOCUMENT),
            positions: &numbers(|row| row % CONTEXT),
            offsets: &rows.clone().map(|row| row % DOCUMENT * 4).collect::<Vec<_>>(),
            flags: &vec![0; n],
            columns: &[&values[..n * d]],
        })?;
        if writer.rows_unflushed() * 2 * d as u64 > 1 << 30 {
            writer.flush()?;
        }
    }
    writer.finish().map(|_| ())
}

fn manifest(n_rows: u64, d: usize) -> CaptureManifest {
    CaptureManifest {
        chat_template_sha256: None,
        tool_version: "bench".into(),
        model: ModelIdentity {
            name: "none".into(),
            revision: None,
            model_type: "none".into(),
            weights_sha256: String::new(),
            tokenizer_sha256: String::new(),
        },
        hooks: vec![HookColumn { hook: HookPoint::block(0, Site::ResidPost), d_in: d }],
        n_rows,
        n_documents: n_rows.div_ceil(DOCUMENT),
        shard: None,
        context: CONTEXT as usize,
        pad: false,
        batch: 1,
        bos: BosPolicy::Never,
        bos_token: None,
        compute_dtype: "f32".into(),
        store_dtype: StoreDtype::F16,
        corpus: Vec::new(),
        seed: 0,
    }
}

/// Rate in GiB/s of stored activations of one epoch in random order, with nothing of the file in the page cache.
pub(crate) fn read_shuffled(path: &Path, memory_bytes: usize) -> Result<f64, StoreError> {
    drop_pages(path).map_err(StoreError::io(path))?;
    let start = Instant::now();
    let set = Arc::new(ActivationSet::open(&[path.to_string_lossy()])?);
    let row_bytes = set.columns()[0].d * set.columns()[0].dtype.size();
    let config = ShuffleConfig {
        seed: 1,
        batch_rows: BATCH,
        memory_bytes,
        keep_special: false,
        keep_outliers: false,
        columns: vec![0],
    };
    let mut source = Shuffled::new(set, &HeldOut::None, &config)?;
    let (mut block, mut rows) = (RowBlock::default(), 0);
    for index in 0..source.rows_per_epoch() / BATCH as u64 {
        source.read(index, &mut block)?;
        rows += block.len();
    }
    Ok((rows * row_bytes) as f64 / (1u64 << 30) as f64 / start.elapsed().as_secs_f64())
}
