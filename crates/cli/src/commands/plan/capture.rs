//! What a capture would take: the size of its file, and a few of its passes.

use super::resources::{Flops, Parts, Resources, Time, own_memory, seconds, weights};
use crate::commands::capture::{CaptureArgs, with_plan};
use crate::context::Context;
use serde_json::json;
use std::time::{Duration, Instant};
use untangle_capture::{LiveConfig, LiveRows};
use untangle_sources::Scratch;
use untangle_store::{HeldOut, RowBlock, RowSource, planned_bytes};

/// Passes are timed for so long, and at least so many tokens.
const TIMED: Duration = Duration::from_secs(3);
const TIMED_TOKENS: u64 = 16_384;
/// Rows that are read at a time.
const BATCH: usize = 1024;
/// Memory of the rows that wait meanwhile.
const WINDOWS: usize = 16 << 20;
/// Rows that may wait to be written (8 MiB of activations), in both forms.
const WAITING: u64 = 24 << 20;

pub(super) fn run(args: &CaptureArgs, context: &Context) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let began = Instant::now();
    with_plan(args, Some(&scratch.path().join("text")), context, |plan, model, reference, text| {
        let weights = weights(&model);
        let order = LiveConfig {
            seed: 0,
            batch_rows: BATCH,
            memory_bytes: WINDOWS,
            keep_special: true,
            keep_outliers: true,
            held_out: HeldOut::None,
        };
        let mut rows = LiveRows::new(plan, model, reference, text.corpus(), &order, &context.progress)?;
        let reading = began.elapsed().as_secs_f64();
        let manifest = rows.manifest();
        let manifest = untangle_schema::CaptureManifest { store_dtype: args.store_dtype(), ..manifest };
        let per_token = time_a_token(&mut rows, context)?;
        let tokens = manifest.n_rows as f64;
        let file = planned_bytes(&manifest);
        let (token_ids, packed) = (manifest.n_rows * 8, if args.is_compressed() { file } else { 0 });
        let resources = Resources {
            memory: Parts::together(vec![
                ("model and passes", own_memory()),
                ("rows that wait to be written", WAITING),
            ]),
            disk: Parts::together(vec![
                ("store", file),
                ("its compressed form beside it, at most", packed),
                ("token ids until it is finished", token_ids),
            ]),
            flops: Some(Flops::of_passes(weights, manifest.n_rows)),
            time: Some(Time {
                expected: reading + tokens * per_token,
                least: reading + tokens * per_token,
                most: reading + tokens * per_token,
                parts: format!(
                    "{} for model and text, {tokens} tokens at {:.0} a second",
                    seconds(reading),
                    1.0 / per_token
                ),
            }),
            plans: json!({ "manifest": manifest }),
        };
        resources.show(&format!("{}: {} hook points", args.out().display(), manifest.hooks.len()), context)
    })
}

/// Seconds that a token takes.
fn time_a_token(rows: &mut LiveRows<'_>, context: &Context) -> anyhow::Result<f64> {
    let mut block = RowBlock::default();
    // The first window warms up.
    rows.read(0, &mut block)?;
    let (began, mut done) = (Instant::now(), 0u64);
    let last = rows.rows_per_epoch() / BATCH as u64;
    for index in 1.. {
        rows.read(index, &mut block)?;
        done += block.len() as u64;
        let enough = done >= TIMED_TOKENS && began.elapsed() >= TIMED;
        if enough || index >= last.max(2) || untangle_schema::Observer::interrupted(&context.progress) {
            break;
        }
    }
    Ok(began.elapsed().as_secs_f64() / done.max(1) as f64)
}
