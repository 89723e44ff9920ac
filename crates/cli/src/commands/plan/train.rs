//! What a training would take: the sizes of its buffers, and a few of its steps.

use super::resources::{Flops, Parts, Resources, Time, own_memory, seconds};
use crate::commands::live::{LivePlace, with_live_rows};
use crate::commands::train::{Prepared, TrainArgs, prepare};
use crate::context::Context;
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use untangle_sources::Scratch;
use untangle_store::RowSource;
use untangle_train::finish::FROM_TRAINING;
use untangle_train::footprint::{Disk, Memory, disk, memory};
use untangle_train::{EngineKind, Rehearsal, RowsAtTheEnd, Run, rehearse};

/// Memory of the windows that a rehearsal has a model compute: a few batches, whatever the run itself shuffles in.
const REHEARSED_WINDOWS: u64 = 16 << 20;
/// What a process touches in its first steps beside the buffers of training: libtorch's own, and what threads keep.
const LIBRARIES: u64 = 8 << 20;

pub(super) fn run(args: &TrainArgs, context: &Context) -> anyhow::Result<()> {
    match &args.live.model {
        Some(model) => live(args, model, context),
        None => stored(args, context),
    }
}

/// From a store.
fn stored(args: &TrainArgs, context: &Context) -> anyhow::Result<()> {
    let process = own_memory() + LIBRARIES;
    let request = args.request(context)?;
    let Prepared { mut source, runs, .. } = prepare(&request, context)?;
    let at_the_end = request.rows_at_the_end();
    let rows = source.memory_bytes();
    let engine = request.engine;
    let planned = Planned { process, rows, reading: 0.0, token_ids: 0, at_the_end, engine };
    show(args, &runs, &mut source, &planned, context)
}

/// Straight from a model. The token ids lie in the folder for temporary files for so long.
fn live(args: &TrainArgs, model: &Path, context: &Context) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let name = scratch.path().join("text");
    let place = LivePlace { token_ids: &name, memory_bytes: REHEARSED_WINDOWS.min(args.shuffle_bytes()) };
    let began = Instant::now();
    with_live_rows(args, model, &place, context, |mut rows, run, engine| {
        let reading = began.elapsed().as_secs_f64();
        let mut block = Default::default();
        // With the model's own buffers, and a window.
        rows.read(0, &mut block)?;
        let process = (own_memory() + LIBRARIES).saturating_sub(rows.window_bytes(place.memory_bytes));
        let token_ids = rows.manifest().n_rows * 8;
        // The model reads rows for both once more, from training.
        let at_the_end = RowsAtTheEnd { calibration: FROM_TRAINING, report: FROM_TRAINING };
        let shuffled = rows.window_bytes(args.shuffle_bytes());
        let planned = Planned { process, rows: shuffled, reading, token_ids, at_the_end, engine };
        show(args, &[run], &mut rows, &planned, context)
    })
}

/// What is known before a step was timed.
struct Planned {
    /// Bytes of the process without rows and dictionaries.
    process: u64,
    /// Bytes of the rows that are shuffled.
    rows: u64,
    /// Seconds until there are rows.
    reading: f64,
    /// Bytes of the token ids that lie beside the output.
    token_ids: u64,
    /// Rows that are read once more.
    at_the_end: RowsAtTheEnd,
    /// What the dictionaries are stepped by.
    engine: EngineKind,
}

fn show(
    args: &TrainArgs,
    runs: &[Run],
    source: &mut dyn RowSource,
    planned: &Planned,
    context: &Context,
) -> anyhow::Result<()> {
    let widths = source.widths().to_vec();
    let report = if args.report() { planned.at_the_end.report } else { 0 };
    let at_the_end = RowsAtTheEnd { report, ..planned.at_the_end };
    let memory = memory(runs, &widths, context.threads, at_the_end);
    let disk = disk(runs);
    context.progress.note("timing the first steps; nothing is written");
    let rehearsal = rehearse(runs, source, at_the_end, planned.engine, &context.progress)?;
    let resources = Resources {
        memory: of_memory(&memory, planned),
        disk: of_disk(&disk, planned),
        flops: Some(flops(runs, &rehearsal)),
        time: Some(time(&rehearsal, planned)),
        plans: json!({
            "dictionaries": runs.iter().map(|run| json!({ "name": run.name, "plan": run.plan })).collect::<Vec<_>>(),
            "rehearsal": rehearsal,
        }),
    };
    let what = match runs {
        [only] => only.plan.summary(),
        several => format!("{} dictionaries together", several.len()),
    };
    resources.show(&format!("{}: {what}, {} steps", args.out.display(), rehearsal.steps), context)
}

fn of_memory(memory: &Memory, planned: &Planned) -> Parts {
    let Memory { weights, batches, step, sample, finish } = *memory;
    let parts = vec![
        ("process", planned.process),
        ("shuffled rows", planned.rows),
        ("weights and moments", weights),
        ("batches", batches),
        ("a step", step),
        ("rows to begin with", sample),
        ("writing the result", finish),
    ];
    Parts { bytes: planned.process + planned.rows + memory.peak(), parts }
}

fn of_disk(disk: &Disk, planned: &Planned) -> Parts {
    let parts = vec![
        ("result", disk.result),
        ("checkpoints until it is finished", disk.unfinished),
        ("token ids until it is finished", planned.token_ids),
    ];
    Parts { bytes: disk.result.max(disk.unfinished) + planned.token_ids, parts }
}

fn flops(runs: &[Run], rehearsal: &Rehearsal) -> Flops {
    let of_steps = |dense: f64| -> f64 {
        let sparse = rehearsal.steps - dense;
        runs.iter().map(|run| run.plan.flops()).map(|flops| dense * flops.dense + sparse * flops.sparse).sum()
    };
    let (few, many) = rehearsal.dense_range();
    Flops { expected: of_steps(rehearsal.dense_steps), least: of_steps(few), most: of_steps(many) }
}

fn time(rehearsal: &Rehearsal, planned: &Planned) -> Time {
    let Rehearsal { start, first_step, settled_step, dense_steps, steps, end, .. } = *rehearsal;
    let (least, most) = rehearsal.range();
    let start = start + planned.reading;
    let of_steps = match dense_steps == 0.0 {
        true => format!("{steps} steps of {}", milliseconds(first_step)),
        false => format!(
            "about {dense_steps:.0} dense steps of {}, then {:.0} of {}",
            milliseconds(first_step),
            steps - dense_steps,
            milliseconds(settled_step)
        ),
    };
    let parts = format!("{} to begin, {of_steps}, {} to finish", seconds(start), seconds(end));
    let reading = planned.reading;
    Time { expected: rehearsal.expected() + reading, least: least + reading, most: most + reading, parts }
}

fn milliseconds(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms >= 10_000.0 => format!("{seconds:.0} s"),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}
