//! `untangle train`: activations to one dictionary or a grid of them, which SAELens loads.

mod calibration;
mod engine;
mod held_out;
mod request;

use super::live::{LiveArgs, train_live};
use super::options::{choose_columns, choose_target, open_beside};
use super::outputs;
use crate::context::Context;
use crate::device::DeviceChoice;
use crate::exit::Complaint;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use untangle_sae::{Precision, metrics::fraction_text};
use untangle_store::{ActivationSet, HeldOut};
use untangle_train::grid::{self, Wanted};
use untangle_train::{
    Centre, DICTIONARY, Finished, GRID, Kind, Optimiser, PenaltyKind, Prefixes, Run, TrainConfig, Width,
};

use held_out::HeldOutChoice;

pub(crate) use request::{Asked, Calibration, Prepared, Request, describe, prepare, train_dictionaries};

/// Train sparse autoencoders on stored activations, or on a model's while it reads; SAELens loads the results
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Stores, or matrices (file.h5:/dataset, file.npy, file.npz:key, file.safetensors:key); several read as one
    #[arg(value_name = "STORE", required_unless_present = "model")]
    store: Vec<String>,
    /// Directory of the finished dictionary; of a grid, the directory that holds one for each
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Column of the store, where it has several, or hook point of the model; for a crosscoder, once for each
    #[arg(long, value_name = "NAME")]
    pub(super) hook: Vec<String>,
    /// Store of another model, captured alike from the same text, that a crosscoder reads beside STORE, row by row the same
    /// token; once for every further model
    #[arg(long, value_name = "STORE", conflicts_with = "model")]
    with: Vec<String>,
    /// Column of the store, or hook point of the model, that a transcoder predicts from --hook (SAELens calls it
    /// hook_name_out), such as --hook blocks.2.hook_resid_mid --hook-out blocks.2.hook_mlp_out
    #[arg(long, value_name = "NAME")]
    pub(super) hook_out: Option<String>,
    /// Dictionaries to train together in one pass: a TOML file of [[sae]] tables whose lists (arch, k, l0, d-sae, seed, lr,
    /// batch, hook, hook-out, prefixes, penalty, bandwidth, threshold, sparsity, freeze) are combined (hooks = [...] is what one crosscoder reads); what a table leaves out is as the other options say
    #[arg(long, value_name = "FILE.toml", conflicts_with = "model")]
    grid: Option<PathBuf>,
    /// topk, abs-topk, batch-topk, matryoshka, jump-relu, relu, gated or p-anneal; or transcoder or skip-transcoder, which predict
    /// another activation than they read, see --hook-out; or crosscoder or crosscoder-l1, with features of several
    /// activations at once, see --hook and --with
    #[arg(long, value_name = "NAME", default_value = "topk")]
    arch: Kind,
    /// Active features per row [default: --l0 where that is given, else 32]
    #[arg(long, value_name = "N")]
    k: Option<usize>,
    /// Mean number of active features per row that the result is brought to: by calibrated thresholds (batch-topk,
    /// matryoshka, jump-relu, transcoders, crosscoder) or by steering the sparsity coefficient (relu, gated, p-anneal,
    /// crosscoder-l1) [default: k]
    #[arg(long, value_name = "X")]
    l0: Option<f64>,
    /// Prefixes that reconstruct on their own, of matryoshka: lengths such as 128,512,2048, or random:10
    /// [default: a sixteenth, a quarter, a half and all]
    #[arg(long, value_name = "LIST")]
    prefixes: Option<Prefixes>,
    /// What jump-relu penalises: step (L0 itself), quadratic (its distance from --l0) or tanh
    #[arg(long, value_name = "NAME", default_value = "quadratic")]
    penalty: PenaltyKind,
    /// Window of jump-relu's gradient estimators, in units of normalised rows [default: 0.5]
    #[arg(long, value_name = "EPS")]
    bandwidth: Option<f64>,
    /// Thresholds that jump-relu begins with, in units of normalised rows [default: 0.75]
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// Fixed coefficient of the sparsity penalty of relu, gated, p-anneal and jump-relu, in units of normalised rows;
    /// together with --l0, where steering begins
    #[arg(long, value_name = "C")]
    sparsity: Option<f64>,
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
    /// Seed of the first weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Seed of the order of rows [default: --seed]
    #[arg(long, value_name = "N")]
    order_seed: Option<u64>,
    /// What training does not read and `evaluate` uses: a fraction of the documents, last:ROWS, or none
    #[arg(long, value_name = "PART", default_value = "0.05")]
    held_out: HeldOutChoice,
    /// Part of the rows that neither training nor `evaluate` uses, for the calibration of thresholds; auto is 0.02 where
    /// an architecture has such, else 0
    #[arg(long, value_name = "PART", default_value = "auto")]
    calibration: Calibration,
    /// Train on rows of special tokens (beginning of sequence and the like) too
    #[arg(long)]
    pub(super) keep_special: bool,
    /// Train on rows whose norm is an outlier (ten times the median and more: attention sinks) too
    #[arg(long)]
    pub(super) keep_outliers: bool,
    /// Also write the logged steps as event files of TensorBoard
    #[arg(long)]
    pub(super) tensorboard: bool,
    /// Write no report.html
    #[arg(long)]
    no_report: bool,
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
    /// adam, or adam-mini, which has one second moment for a feature's row and takes a third less memory
    #[arg(long, value_name = "NAME", default_value = "adam")]
    optimiser: Optimiser,
    /// Where b_dec starts: mean, or geometric-median, which far rows pull less
    #[arg(long, value_name = "NAME", default_value = "mean")]
    b_dec: Centre,
    /// Global norm that gradients are clipped to; 0 for no clipping
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    clip_norm: f64,
    /// Coefficient of the auxiliary loss that revives dead features; 0 turns it off [default: 1, and 1/32 where a penalty is]
    #[arg(long, value_name = "C")]
    aux_k: Option<f64>,
    /// Tokens of silence after which a feature counts as dead [default: ten million, or a tenth of a shorter run]
    #[arg(long, value_name = "TOKENS")]
    dead_after: Option<u64>,
    /// Save an average of the weights over the last steps in their place, which is updated as E = DECAY E + (1 - DECAY) W at
    /// every step; 0 turns it off
    #[arg(long, value_name = "DECAY")]
    ema: Option<f64>,
    /// Train a baseline: decoder or encoder stays as it was drawn, or with soft-decoder rows keep a cosine of 0.8 with that
    #[arg(long, value_name = "WHAT")]
    freeze: Option<untangle_train::Freeze>,
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
    /// Arithmetic in which the encoder product proposes features (f32 decides); auto is what this CPU is fastest at
    #[arg(long, value_enum, default_value = "auto")]
    dtype: ProductType,
    /// auto, cpu, cuda or cuda:N: where the model of --model runs. Training itself uses the CPU, whose steps are sparse, unless
    /// cuda is asked for, where they are dense and in f32
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(super) device: DeviceChoice,
    /// Memory in MiB in which rows are shuffled; where all rows fit, their order is an exact permutation
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    shuffle_memory: u64,
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

pub(crate) fn run(args: &TrainArgs, context: &Context) -> anyhow::Result<()> {
    if let Some(model) = &args.live.model {
        let (run, finished) = train_live(args, model, context)?;
        return show_one(args, &run, &finished, context);
    }
    let request = args.request(context)?;
    let inputs: Vec<PathBuf> = request.store.paths().into_iter().chain(args.grid.clone()).collect();
    outputs::check(&args.out, if args.grid.is_some() { &GRID } else { &DICTIONARY }, args.force, &inputs)?;
    let results = train_dictionaries(&request, context)?;
    match (&args.grid, &results[..]) {
        (None, [(run, finished)]) => show_one(args, run, finished, context),
        _ => show_grid(args, &results, context),
    }
}

/// The result of a single run.
fn show_one(args: &TrainArgs, run: &Run, finished: &Finished, context: &Context) -> anyhow::Result<()> {
    let plan = &run.plan;
    let result =
        json!({ "sae": args.out, "config": finished.config, "plan": plan, "calibrated_l0": finished.calibrated_l0 });
    context.output.result(&result, |out| {
        let (path, name, d_sae) = (args.out.display(), plan.architecture.name(), plan.d_sae);
        let active = match (finished.k, finished.calibrated_l0) {
            (Some(k), _) => format!(", k {k}"),
            (None, Some(l0)) => format!(", l0 {l0:.2} on calibration rows"),
            (None, None) => format!(", l0 {:.2}", finished.last.l0),
        };
        let form = if plan.architecture.parts() > 1 { "of Untangle's own form" } else { "SAELens loads it as it is" };
        writeln!(out, "{path}: {name} dictionary of {d_sae} features{active}; {form}")
    })
}

/// The results of a grid: a line for each.
fn show_grid(args: &TrainArgs, results: &[(Run, Finished)], context: &Context) -> anyhow::Result<()> {
    let describe = |(run, finished): &(Run, Finished)| {
        let Finished { name, config, last, calibrated_l0, .. } = finished;
        json!({ "name": name, "sae": args.out.join(name), "config": config, "plan": run.plan, "running_fvu": last.fvu,
            "running_l0": last.l0, "running_dead": last.dead, "calibrated_l0": calibrated_l0 })
    };
    let json = json!({ "grid": args.out, "saes": results.iter().map(describe).collect::<Vec<_>>() });
    context.output.result(&json, |out| {
        let widest = results.iter().map(|(run, _)| run.name.len()).max().unwrap_or(0);
        writeln!(out, "{:widest$}  running FVU      L0    dead", "")?;
        for (run, Finished { last, .. }) in results {
            let fvu = fraction_text(last.fvu, 4);
            writeln!(out, "{:widest$}  {fvu:>11}  {:>6.2}  {:>6}", run.name, last.l0, last.dead)?;
        }
        let crosscoders = results.iter().any(|(run, _)| run.plan.architecture.parts() > 1);
        let but = if crosscoders { ", but for crosscoders" } else { "" };
        writeln!(out, "{}: {} dictionaries; SAELens loads each as it is{but}", args.out.display(), results.len())
    })
}

impl TrainArgs {
    /// What is asked of a store.
    pub(super) fn request(&self, context: &Context) -> anyhow::Result<Request<'_>> {
        let engine = self.engine(context)?;
        let (store, config) = (open_beside(&self.store, &self.with, context)?, self.config());
        if self.grid.is_none() && !self.with.is_empty() && !config.kind.is_crosscoder() {
            return Err(Complaint::usage(format!("--with belongs to crosscoders, not to {}", config.kind)));
        }
        let hook_out = self.hook_out.as_deref();
        let asked = match &self.grid {
            Some(path) => self.grid(path, &config, &store)?,
            None => {
                let columns = choose_columns(&store, config.kind, &self.hook)?;
                let target = choose_target(&store, config.kind, columns[0], hook_out)?;
                vec![Asked { name: String::new(), columns, target, config }]
            }
        };
        Ok(Request {
            store,
            asked,
            order_seed: self.order_seed(),
            held_out: self.held_out(),
            calibration: self.calibration,
            keep_special: self.keep_special,
            keep_outliers: self.keep_outliers,
            shuffle_bytes: self.shuffle_bytes(),
            out: &self.out,
            force: self.force,
            checkpoint_every: self.machine.checkpoint_every,
            tensorboard: self.tensorboard,
            report: self.report(),
            engine,
        })
    }

    /// The dictionaries of a grid, with the columns that each reads and predicts.
    fn grid(&self, path: &Path, config: &TrainConfig, store: &ActivationSet) -> anyhow::Result<Vec<Asked>> {
        let of_store = |Wanted { name, config, hooks, hook_out }: Wanted| {
            let hooks = hooks.as_deref().unwrap_or(&self.hook);
            let columns = choose_columns(store, config.kind, hooks).map_err(|error| error.context(name.clone()))?;
            let target = choose_target(store, config.kind, columns[0], hook_out.as_deref());
            let target = target.map_err(|error| error.context(name.clone()))?;
            Ok(Asked { name, columns, target, config })
        };
        grid::read(path, config, self.hook_out.as_deref())?.into_iter().map(of_store).collect()
    }

    /// Whether a report is written.
    pub(super) fn report(&self) -> bool {
        !self.no_report
    }

    /// What is asked of the training.
    pub(super) fn config(&self) -> TrainConfig {
        TrainConfig {
            width: self.d_sae.map_or(Width::Expansion(self.expansion), Width::Features),
            kind: self.arch,
            k: self.active_features(),
            l0: self.l0,
            prefixes: self.prefixes.clone(),
            sparsity: self.sparsity,
            penalty: self.penalty,
            bandwidth: self.bandwidth,
            threshold: self.threshold,
            tokens: self.tokens,
            batch: self.batch,
            lr: self.optimiser.lr.0,
            warm_up: self.optimiser.warm_up,
            decay: self.optimiser.decay,
            optimiser: self.optimiser.optimiser,
            centre: self.optimiser.b_dec,
            seed: self.seed,
            clip_norm: Some(self.optimiser.clip_norm).filter(|norm| *norm != 0.0),
            aux_coefficient: self.optimiser.aux_k,
            dead_after: self.optimiser.dead_after,
            normalise: !self.optimiser.no_normalise,
            precision: match self.machine.dtype {
                ProductType::Auto => None,
                ProductType::F32 => Some(Precision::F32),
                ProductType::Bf16 => Some(Precision::Bf16),
                ProductType::Int8 => Some(Precision::Int8),
            },
            ema: self.optimiser.ema,
            freeze: self.optimiser.freeze,
        }
    }

    /// Active features per row where nothing is said.
    fn active_features(&self) -> usize {
        let from_l0 = self.l0.filter(|l0| *l0 >= 1.0).map(|l0| l0.round() as usize);
        self.k.or(from_l0).unwrap_or(TrainConfig::default().k)
    }

    /// What training does not read.
    pub(super) fn held_out(&self) -> HeldOut {
        self.held_out.0.clone()
    }

    /// Seed of the order of rows.
    pub(super) fn order_seed(&self) -> u64 {
        self.order_seed.unwrap_or(self.seed)
    }

    /// Memory in bytes in which rows are shuffled.
    pub(super) fn shuffle_bytes(&self) -> u64 {
        self.machine.shuffle_memory.saturating_mul(1 << 20)
    }

    /// Steps between checkpoints.
    pub(super) fn checkpoint_every(&self) -> Option<u64> {
        self.machine.checkpoint_every
    }
}
