//! `untangle train --model`: rows straight from a model, without a store between.

use super::options::{Bos, ComputeArgs, Dtype, check_hook_out, load_model_and_reference, parse_hook};
use super::outputs;
use super::train::{TrainArgs, describe};
use crate::commands::words::TextArgs;
use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use untangle_capture::{CaptureConfig, CapturePlan, LiveConfig, LiveRows};
use untangle_schema::{HookPoint, StoreDtype};
use untangle_sources::NamedModel;
use untangle_sources::Text;
use untangle_store::{RowSource, output};
use untangle_train::{
    DICTIONARY, DataProvenance, EngineKind, Finished, Job, Run, Shown, Widths, check_memory_of, is_continued, settle,
    train,
};

/// A model and a text in place of a store.
#[derive(Debug, Args)]
#[command(next_help_heading = "Straight from a model")]
pub(crate) struct LiveArgs {
    /// Model to read --hook of while it reads --text, in place of a store; nothing is kept of its activations
    #[arg(long, value_name = "MODEL", conflicts_with = "store", requires_all = ["text", "hook"])]
    pub(super) model: Option<PathBuf>,
    /// Branch, tag or commit of a model of the hub [default: main]
    #[arg(long, value_name = "REVISION", requires = "model")]
    revision: Option<String>,
    /// Text, as capture takes it
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "model")]
    text: Vec<PathBuf>,
    /// Tokens of text to read at most [default: a quarter more than --tokens; without that the whole text, 1,000,000 of
    /// the organism's world]
    #[arg(long, value_name = "N", requires = "model")]
    text_tokens: Option<u64>,
    /// Tokens per context [default: 128, or what the model takes]
    #[arg(long, value_name = "N", requires = "model")]
    context: Option<usize>,
    /// Begin a context with every document and pad it, as capture does
    #[arg(long, requires = "model")]
    pad: bool,
    /// Contexts per forward pass [default: about 2048 tokens]; with --pad, where they are shorter, more of them
    #[arg(long, value_name = "N", requires = "model")]
    pass_contexts: Option<usize>,
    /// Beginning-of-sequence token before contexts and documents
    #[arg(long, value_enum, default_value = "auto", requires = "model")]
    bos: Bos,
    /// Arithmetic of the model; auto is f32 on a CPU and bf16 on a GPU
    #[arg(long, value_enum, default_value = "auto", requires = "model")]
    model_dtype: Dtype,
    #[command(flatten)]
    reading: TextArgs,
}

/// Tokens of the world's text where no number is asked for.
const WORLD_TOKENS: u64 = 1_000_000;

/// Trains on what `model` gives at the hook point that is asked for, or goes on where such a run stopped.
pub(crate) fn train_live(args: &TrainArgs, model: &Path, context: &Context) -> anyhow::Result<(Run, Finished)> {
    outputs::check(&args.out, &DICTIONARY, args.force, &outputs::paths(Some(&model.to_owned()), &args.live.text))?;
    output::check(&args.out, &DICTIONARY, args.force)?;
    let place = LivePlace { token_ids: &beside(&args.out), memory_bytes: args.shuffle_bytes() };
    with_live_rows(args, model, &place, context, |mut rows, run, engine| {
        let runs = [run];
        let job = Job {
            runs: &runs,
            source: &mut rows,
            // The model would have to read them again: thresholds are calibrated on rows of training.
            calibration: &|_| Ok(Vec::new()),
            out: &args.out,
            force: args.force,
            checkpoint_every: args.checkpoint_every(),
            shown: Shown { tensorboard: args.tensorboard, report: args.report(), held_out: None },
            engine,
        };
        let finished = train(job, &context.progress)?.remove(0); // one for the only run
        rows.finish()?;
        let [run] = runs;
        Ok((run, finished))
    })
}

/// What a live run needs beside its arguments.
pub(super) struct LivePlace<'a> {
    /// The name beside which the token ids lie.
    pub(super) token_ids: &'a Path,
    /// Memory in which rows are shuffled.
    pub(super) memory_bytes: u64,
}

/// Does `work` with the rows of a model that reads text, and with the run that is asked for.
pub(super) fn with_live_rows<T>(
    args: &TrainArgs,
    model: &Path,
    place: &LivePlace<'_>,
    context: &Context,
    work: impl FnOnce(LiveRows<'_>, Run, EngineKind) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let live = &args.live;
    args.check_dtype()?;
    // What is named is looked for before the model is loaded: the cheapest mistakes to find come first.
    if args.config().kind.is_crosscoder() {
        return Err(Complaint::usage("a crosscoder is trained from stores; capture first, then leave --model out"));
    }
    let [hook] = &args.hook[..] else { return Err(Complaint::usage("--model needs one --hook")) };
    check_hook_out(args.config().kind, args.hook_out.as_deref(), hook)?;
    let hook = parse_hook(hook)?;
    let hook_out = args.hook_out.as_deref().map(parse_hook).transpose()?;
    NamedModel::find(model)?;
    Text::check(&live.text)?;
    let (dtype, device) = (live.model_dtype, args.machine.device);
    let compute = ComputeArgs { dtype, device, revision: live.revision.clone() };
    let (model, reference) = load_model_and_reference(model, &compute, context)?;
    let engine = args.engine_on(model.device());
    let tokens = live.text_tokens.or(args.tokens.map(|tokens| tokens.saturating_add(tokens / 4)));
    let config = CaptureConfig {
        context: live.context,
        pad: live.pad,
        batch: live.pass_contexts,
        tokens,
        // Rows are handed on as the model gives them.
        store: StoreDtype::F32,
        bos: live.bos.into(),
        threads: Some(context.threads),
        force: args.force,
        ..CaptureConfig::new([hook].into_iter().chain(hook_out).collect(), place.token_ids.to_owned())
    };
    let plan = CapturePlan::new(&config, &model)?;
    // Settings that contradict each other are refused before the text is read.
    let request = args.config();
    let column_of = |hook| plan.hooks().iter().position(|planned| planned.hook == hook).unwrap_or_default();
    let (column, target) = (column_of(hook), hook_out.map(column_of));
    let width = |column: usize| plan.hooks()[column].d_in;
    let widths = Widths { read: vec![width(column)], predicted: target.map(width) };
    let plan_of_many = request.plan_of(&widths, u64::from(u32::MAX))?;
    if !is_continued(&args.out) {
        check_memory_of(&[&plan_of_many])?;
    }
    let text = Text::find(
        &live.text,
        &live.reading.reading(),
        tokens.unwrap_or(WORLD_TOKENS),
        &model,
        &context.surroundings(),
    )?;
    let order = LiveConfig {
        seed: args.order_seed(),
        batch_rows: request.batch,
        memory_bytes: usize::try_from(place.memory_bytes).unwrap_or(usize::MAX),
        keep_special: args.keep_special,
        keep_outliers: args.keep_outliers,
        held_out: args.held_out(),
    };
    let rows = LiveRows::new(plan, model, reference, text.corpus(), &order, &context.progress)?;
    let data = provenance(args, &rows, hook, hook_out)?;
    let width = |column: usize| rows.widths()[column];
    let widths = Widths { read: vec![width(column)], predicted: target.map(width) };
    let plan = request.plan_of(&widths, rows.rows_per_epoch())?;
    let mut runs = [Run { name: String::new(), column, further: Vec::new(), target, plan, data }];
    settle(&args.out, &mut runs, engine);
    let [run] = runs;
    describe(std::slice::from_ref(&run), rows.rows_per_epoch(), rows.is_exact(), context);
    work(rows, run, engine)
}

/// The name beside which the token ids of the text lie while the run is unfinished.
fn beside(out: &Path) -> PathBuf {
    // Without a slash at the end, which would put it into the folder.
    let out: PathBuf = out.components().collect();
    let mut name = OsString::from(out.as_os_str());
    name.push(".text");
    name.into()
}

fn provenance(
    args: &TrainArgs,
    rows: &LiveRows<'_>,
    hook: HookPoint,
    hook_out: Option<HookPoint>,
) -> anyhow::Result<DataProvenance> {
    let manifest = rows.manifest();
    let digest = Sha256::digest(serde_json::to_string(&manifest)?);
    Ok(DataProvenance {
        stores: Vec::new(),
        content: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        column: hook.to_string(),
        column_out: hook_out.map(|hook| hook.to_string()),
        parts: Vec::new(),
        unpaired: Vec::new(),
        held_out: serde_json::to_value(args.held_out())?,
        calibration: serde_json::Value::Null,
        keep_special: args.keep_special,
        keep_outliers: args.keep_outliers,
        order_seed: args.order_seed(),
        shuffle_bytes: args.shuffle_bytes(),
        rows_per_epoch: rows.rows_per_epoch(),
        capture: Some(manifest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_ids_lie_beside_the_dictionary() {
        assert_eq!(beside(Path::new("runs/sae/")), Path::new("runs/sae.text"));
    }
}
