//! `untangle train`: activations to a dictionary that SAELens loads.

use super::options::{choose_column, open_store};
use crate::context::Context;
use crate::device::DeviceChoice;
use crate::exit::Complaint;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use untangle_sae::{Precision, Sae};
use untangle_store::{ActivationSet, HeldOut, RowSource, ShuffleConfig, Shuffled};
use untangle_train::{DataProvenance, Job, TrainConfig, TrainPlan, Width, train};

/// Train a sparse autoencoder on stored activations; the result is a directory that SAELens loads
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Stores, or matrices (file.h5:/dataset, file.npy, file.safetensors:key); several read as one
    #[arg(value_name = "STORE", required = true)]
    store: Vec<String>,
    /// Directory of the finished dictionary
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Column of the store, where it has several
    #[arg(long, value_name = "NAME")]
    hook: Option<String>,
    /// Architecture
    #[arg(long, value_enum, default_value = "topk")]
    arch: Architecture,
    /// Active features per row
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().k)]
    k: usize,
    /// Number of features
    #[arg(long, value_name = "N", conflicts_with = "expansion")]
    d_sae: Option<usize>,
    /// Number of features as a multiple of the activations' width
    #[arg(long, value_name = "X", default_value_t = 8.0)]
    expansion: f64,
    /// Training tokens, repetitions included [default: whole passes, at least two million]
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// Rows per step
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().batch)]
    batch: usize,
    /// Seed of the first weights and of the order of rows
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What training does not read and `evaluate` uses: a fraction of the documents, last:ROWS, or none
    #[arg(long, value_name = "PART", default_value = "0.05")]
    held_out: HeldOutChoice,
    /// Train on rows of special tokens (beginning of sequence and the like) too
    #[arg(long)]
    keep_special: bool,
    /// Replace a finished dictionary, and discard an unfinished run of other settings
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    optimiser: OptimiserArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

/// How weights are updated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Optimiser")]
struct OptimiserArgs {
    /// Peak learning rate, or auto
    #[arg(long, value_name = "RATE", default_value = "auto")]
    lr: LearningRate,
    /// Fraction of the run in which the learning rate rises
    #[arg(long, value_name = "F", default_value_t = TrainConfig::default().warm_up)]
    warm_up: f64,
    /// Fraction of the run, at its end, in which it falls to zero
    #[arg(long, value_name = "F", default_value_t = TrainConfig::default().decay)]
    decay: f64,
    /// Global norm that gradients are clipped to; 0 for no clipping
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    clip_norm: f64,
    /// Coefficient of the auxiliary loss that revives dead features; 0 turns it off
    #[arg(long, value_name = "C", default_value_t = TrainConfig::default().aux_coefficient)]
    aux_k: f64,
    /// Tokens of silence after which a feature counts as dead [default: ten million, or a tenth of a shorter run]
    #[arg(long, value_name = "TOKENS")]
    dead_after: Option<u64>,
    /// Train on the rows as they are, not scaled to a mean norm of sqrt(width)
    #[arg(long)]
    no_normalise: bool,
}

/// What the machine has to do with it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
struct MachineArgs {
    /// Steps between checkpoints [default: one every two minutes]
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u64>,
    /// Arithmetic in which the encoder product proposes features (f32 decides); auto is what this CPU is fastest at
    #[arg(long, value_enum, default_value = "auto")]
    dtype: ProductType,
    /// auto or cpu; training on CUDA is not supported, so cuda falls back to the CPU
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Memory in MiB in which rows are shuffled; where all rows fit, their order is an exact permutation
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    shuffle_memory: u64,
}

/// Architectures that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Architecture {
    /// The k largest pre-activations of a row fire
    Topk,
}

/// Arithmetic of the encoder product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProductType {
    /// What is fastest
    Auto,
    /// Single precision
    F32,
    /// The upper half of a single
    Bf16,
    /// Bytes
    Int8,
}

/// `auto` or a number.
#[derive(Clone, Copy, Debug)]
struct LearningRate(Option<f64>);

impl FromStr for LearningRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(LearningRate(None)),
            _ => text
                .parse()
                .map(|rate| LearningRate(Some(rate)))
                .map_err(|_| "use auto or a number such as 1e-3".into()),
        }
    }
}

/// `0.05`, `last:40000` or `none`.
#[derive(Clone, Debug)]
struct HeldOutChoice(HeldOut);

impl FromStr for HeldOutChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use a fraction such as 0.05, last:ROWS, or none".to_owned();
        let held_out = match (text, text.strip_prefix("last:")) {
            ("none", _) => HeldOut::None,
            (_, Some(rows)) => HeldOut::LastRows(rows.parse().map_err(|_| wrong())?),
            (fraction, None) => HeldOut::Fraction { fraction: fraction.parse().map_err(|_| wrong())?, seed: 0 },
        };
        Ok(HeldOutChoice(held_out))
    }
}

/// A training run, as the library wants it.
pub(crate) struct Request<'a> {
    /// The rows.
    pub(crate) store: Arc<ActivationSet>,
    /// Column of the store.
    pub(crate) column: usize,
    /// What was asked for.
    pub(crate) config: TrainConfig,
    /// What is not read.
    pub(crate) held_out: HeldOut,
    /// Whether rows of special tokens are read.
    pub(crate) keep_special: bool,
    /// Memory in bytes in which rows are shuffled.
    pub(crate) shuffle_bytes: u64,
    /// Where the dictionary goes.
    pub(crate) out: &'a Path,
    /// Whether to replace what is there.
    pub(crate) force: bool,
    /// Steps between checkpoints.
    pub(crate) checkpoint_every: Option<u64>,
}

/// Memory in which rows are shuffled where nothing else is said.
pub(crate) const SHUFFLE_BYTES: u64 = 1 << 30;

pub(crate) fn run(args: &TrainArgs, context: &Context) -> anyhow::Result<()> {
    if matches!(args.machine.device, DeviceChoice::Cuda(_)) {
        context.progress.warning("using the CPU: training has no CUDA form in this version");
    }
    let Architecture::Topk = args.arch;
    let store = open_store(&args.store)?;
    let column = choose_column(&store, args.hook.as_deref())?;
    let request = Request {
        store,
        column,
        config: config(args),
        held_out: args.held_out.0.clone(),
        keep_special: args.keep_special,
        shuffle_bytes: args.machine.shuffle_memory.saturating_mul(1 << 20),
        out: &args.out,
        force: args.force,
        checkpoint_every: args.machine.checkpoint_every,
    };
    let (sae, plan) = train_dictionary(&request, context)?;
    context.output.result(&json!({ "sae": args.out, "config": sae.config(), "plan": plan }), |out| {
        let (path, name, d_sae, k) = (args.out.display(), &plan.architecture, plan.d_sae, plan.k);
        writeln!(out, "{path}: {name} dictionary of {d_sae} features, k {k}; SAELens loads it as it is")
    })
}

fn config(args: &TrainArgs) -> TrainConfig {
    TrainConfig {
        width: args.d_sae.map_or(Width::Expansion(args.expansion), Width::Features),
        k: args.k,
        tokens: args.tokens,
        batch: args.batch,
        lr: args.optimiser.lr.0,
        warm_up: args.optimiser.warm_up,
        decay: args.optimiser.decay,
        seed: args.seed,
        clip_norm: Some(args.optimiser.clip_norm).filter(|norm| *norm != 0.0),
        aux_coefficient: args.optimiser.aux_k,
        dead_after: args.optimiser.dead_after,
        normalise: !args.optimiser.no_normalise,
        precision: match args.machine.dtype {
            ProductType::Auto => None,
            ProductType::F32 => Some(Precision::F32),
            ProductType::Bf16 => Some(Precision::Bf16),
            ProductType::Int8 => Some(Precision::Int8),
        },
    }
}

/// Trains, or continues an interrupted run of the same settings.
pub(crate) fn train_dictionary(request: &Request<'_>, context: &Context) -> anyhow::Result<(Sae, TrainPlan)> {
    let store = &request.store;
    let shuffle = ShuffleConfig {
        seed: request.config.seed,
        batch_rows: request.config.batch,
        memory_bytes: usize::try_from(request.shuffle_bytes).unwrap_or(usize::MAX),
        keep_special: request.keep_special,
        columns: vec![request.column],
    };
    let held_out = serde_json::to_value(&request.held_out).map_err(|error| Complaint::usage(error.to_string()))?;
    let column = &store.columns()[request.column];
    // Settings that contradict each other are refused before rows are counted against them.
    request.config.plan(column.d, store.n_rows())?;
    let mut source = Shuffled::new(Arc::clone(store), &request.held_out, &shuffle)?;
    let plan = request.config.plan(column.d, source.rows_per_epoch())?;
    context.progress.note(&describe(&plan, &column.name, source.rows_per_epoch(), source.is_exact()));
    let data = DataProvenance {
        stores: store.names(),
        content: store.content_identity(),
        column: column.name.clone(),
        held_out,
        keep_special: request.keep_special,
        order_seed: request.config.seed,
        shuffle_bytes: request.shuffle_bytes,
        rows_per_epoch: source.rows_per_epoch(),
        capture: store.manifest().cloned(),
    };
    let job = Job {
        plan: &plan,
        source: &mut source,
        data,
        out: request.out,
        force: request.force,
        checkpoint_every: request.checkpoint_every,
    };
    let sae = train(job, &context.progress)?;
    Ok((sae, plan))
}

/// Everything that the plan decided, in one line.
fn describe(plan: &TrainPlan, column: &str, rows: u64, exact: bool) -> String {
    let order = if exact { "in exactly random order" } else { "shuffled in windows" };
    format!(
        "{} with {} features, k {}, on {column} (width {}): {} tokens from {rows} training rows {order}, batch {}, \
         {} steps, learning rate {:.2e}, encoder in {}",
        plan.architecture,
        plan.d_sae,
        plan.k,
        plan.d_in,
        plan.tokens(),
        plan.batch,
        plan.schedule.steps,
        plan.schedule.lr,
        plan.precision
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_part_is_read_as_written() {
        let parse = |text: &str| text.parse::<HeldOutChoice>().map(|choice| choice.0);
        assert_eq!(parse("0.1"), Ok(HeldOut::Fraction { fraction: 0.1, seed: 0 }));
        assert_eq!(parse("last:40000"), Ok(HeldOut::LastRows(40_000)));
        assert_eq!(parse("none"), Ok(HeldOut::None));
        assert!(["", "last:", "last:x", "5%"].into_iter().all(|text| parse(text).is_err()));
    }
}
