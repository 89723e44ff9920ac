//! `untangle train`: activations to a dictionary that SAELens loads.

use super::live::{LiveArgs, train_live};
use super::options::{Dtype, choose_column, open_store};
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

/// Train a sparse autoencoder on stored activations, or on a model's while it reads; SAELens loads the result
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Stores, or matrices (file.h5:/dataset, file.npy, file.safetensors:key); several read as one
    #[arg(value_name = "STORE", required_unless_present = "model")]
    store: Vec<String>,
    /// Directory of the finished dictionary
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Column of the store, where it has several, or hook point of the model
    #[arg(long, value_name = "NAME")]
    pub(super) hook: Option<String>,
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
    pub(super) tokens: Option<u64>,
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
    pub(super) keep_special: bool,
    /// Train on rows whose norm is an outlier (ten times the median and more: attention sinks) too
    #[arg(long)]
    pub(super) keep_outliers: bool,
    /// Replace a finished dictionary, and discard an unfinished run of other settings
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    optimiser: OptimiserArgs,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    pub(super) live: LiveArgs,
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
pub(super) struct MachineArgs {
    /// Steps between checkpoints [default: one every two minutes]
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u64>,
    /// Arithmetic of the encoder product; auto is bf16 where the CPU is fast at it
    #[arg(long, value_enum, default_value = "auto")]
    dtype: Dtype,
    /// auto, cpu or cuda: where the model of --model runs; training itself has no CUDA form and uses the CPU
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(super) device: DeviceChoice,
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
    /// Whether rows with an outlier's norm are read.
    pub(crate) keep_outliers: bool,
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
    let Architecture::Topk = args.arch;
    let (sae, plan) = match &args.live.model {
        Some(model) => train_live(args, model, context)?,
        None => train_stored(args, context)?,
    };
    context.output.result(&json!({ "sae": args.out, "config": sae.config(), "plan": plan }), |out| {
        let (path, name, d_sae, k) = (args.out.display(), &plan.architecture, plan.d_sae, plan.k);
        writeln!(out, "{path}: {name} dictionary of {d_sae} features, k {k}; SAELens loads it as it is")
    })
}

fn train_stored(args: &TrainArgs, context: &Context) -> anyhow::Result<(Sae, TrainPlan)> {
    if matches!(args.machine.device, DeviceChoice::Cuda(_)) {
        context.progress.warning("using the CPU: training has no CUDA form in this version");
    }
    let store = open_store(&args.store)?;
    let column = choose_column(&store, args.hook.as_deref())?;
    let request = Request {
        store,
        column,
        config: args.config(),
        held_out: args.held_out(),
        keep_special: args.keep_special,
        keep_outliers: args.keep_outliers,
        shuffle_bytes: args.shuffle_bytes(),
        out: &args.out,
        force: args.force,
        checkpoint_every: args.machine.checkpoint_every,
    };
    train_dictionary(&request, context)
}

impl TrainArgs {
    /// What is asked of the training.
    pub(super) fn config(&self) -> TrainConfig {
        TrainConfig {
            width: self.d_sae.map_or(Width::Expansion(self.expansion), Width::Features),
            k: self.k,
            tokens: self.tokens,
            batch: self.batch,
            lr: self.optimiser.lr.0,
            warm_up: self.optimiser.warm_up,
            decay: self.optimiser.decay,
            seed: self.seed,
            clip_norm: Some(self.optimiser.clip_norm).filter(|norm| *norm != 0.0),
            aux_coefficient: self.optimiser.aux_k,
            dead_after: self.optimiser.dead_after,
            normalise: !self.optimiser.no_normalise,
            precision: match self.machine.dtype {
                Dtype::Auto => None,
                Dtype::F32 => Some(Precision::F32),
                Dtype::Bf16 => Some(Precision::Bf16),
            },
        }
    }

    /// What training does not read.
    pub(super) fn held_out(&self) -> HeldOut {
        self.held_out.0.clone()
    }

    /// Memory in bytes in which rows are shuffled.
    pub(super) fn shuffle_bytes(&self) -> u64 {
        self.machine.shuffle_memory.saturating_mul(1 << 20)
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
        keep_outliers: request.keep_outliers,
        columns: vec![request.column],
    };
    let held_out = serde_json::to_value(&request.held_out).map_err(|error| Complaint::usage(error.to_string()))?;
    let column = &store.columns()[request.column];
    // Settings that contradict each other are refused before rows are counted against them.
    request.config.plan(column.d, store.n_rows())?;
    let mut source = Shuffled::new(Arc::clone(store), &request.held_out, &shuffle)?;
    if let Some(note) = outliers_left_out(request) {
        context.progress.note(&note);
    }
    let data = DataProvenance {
        stores: store.names(),
        content: store.content_identity(),
        column: column.name.clone(),
        held_out,
        keep_special: request.keep_special,
        keep_outliers: request.keep_outliers,
        order_seed: request.config.seed,
        shuffle_bytes: request.shuffle_bytes,
        rows_per_epoch: source.rows_per_epoch(),
        capture: store.manifest().cloned(),
    };
    let exact = source.is_exact();
    let run = Run {
        config: &request.config,
        out: request.out,
        force: request.force,
        checkpoint_every: request.checkpoint_every,
    };
    run.train(Source { rows: &mut source, data, exact }, context)
}

/// Rows to train on.
pub(super) struct Source<'a> {
    /// The rows themselves.
    pub(super) rows: &'a mut dyn RowSource,
    /// Where they come from.
    pub(super) data: DataProvenance,
    /// Whether their order is an exact permutation.
    pub(super) exact: bool,
}

/// Trains as the command line asks for, on rows from anywhere.
pub(super) fn train_on(args: &TrainArgs, source: Source<'_>, context: &Context) -> anyhow::Result<(Sae, TrainPlan)> {
    let (config, checkpoint_every) = (args.config(), args.machine.checkpoint_every);
    Run { config: &config, out: &args.out, force: args.force, checkpoint_every }.train(source, context)
}

/// A run, whatever its rows.
struct Run<'a> {
    config: &'a TrainConfig,
    out: &'a Path,
    force: bool,
    checkpoint_every: Option<u64>,
}

impl Run<'_> {
    fn train(&self, source: Source<'_>, context: &Context) -> anyhow::Result<(Sae, TrainPlan)> {
        let Source { rows, data, exact } = source;
        let per_epoch = rows.rows_per_epoch();
        let plan = self.config.plan(rows.widths()[0], per_epoch)?;
        context.progress.note(&describe(&plan, &data.column, per_epoch, exact));
        let Run { out, force, checkpoint_every, .. } = *self;
        let sae = train(Job { plan: &plan, source: rows, data, out, force, checkpoint_every }, &context.progress)?;
        Ok((sae, plan))
    }
}

/// What to say of rows that are not trained on because of their norm; nothing where there are none.
fn outliers_left_out(request: &Request<'_>) -> Option<String> {
    let norms = request.store.statistics(request.column)?.ordinary.norms;
    let (outliers, total) = (norms.outliers(), norms.total());
    (outliers > 0 && !request.keep_outliers).then(|| {
        let (from, median) = (norms.outlier_norm(), norms.median());
        format!(
            "{outliers} of the store's {total} ordinary rows have an outlier's norm, {from:.4} or more where the median \
             is {median:.4}; they are left out (--keep-outliers trains on them)"
        )
    })
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
