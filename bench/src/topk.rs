//! Seconds per TopK step: encoder product, selection, exact recomputation, decode, gradients, clipping, Adam, unit rows.

use crate::memory::peak_during;
use crate::parts::{PARTS, part_seconds};
use crate::product::Product;
use std::fmt::Write;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use untangle_sae::Precision;
use untangle_sae::kernels::encode::Recomputation;
use untangle_train::activity::Batch;
use untangle_train::arch::top_k::TopK;
use untangle_train::constraint::Held;
use untangle_train::init::initial;
use untangle_train::state::TrainState;
use untangle_train::step::{StepSettings, Workspace, step};
use untangle_train::{Architecture, Optimiser};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    d_in: usize,
    d_sae: usize,
    k: usize,
    batch: usize,
    rounds: usize,
    precision: Precision,
}

impl Sizes {
    /// `D_IN D_SAE K BATCH ROUNDS DTYPE`, each with a default.
    pub(crate) fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut numbers = [768usize, 16384, 32, 4096, 7];
        for (place, argument) in numbers.iter_mut().zip(&mut arguments) {
            *place = argument.parse().ok().filter(|&n| n > 0).ok_or(format!("not a number: {argument}"))?;
        }
        let precision = match arguments.next() {
            None => Precision::fastest(),
            Some(name) => Precision::named(&name).ok_or(format!("not f32, bf16 or int8: {name}"))?,
        };
        let [d_in, d_sae, k, batch, rounds] = numbers;
        if k > d_sae {
            return Err(format!("k = {k} is more than d_sae = {d_sae}"));
        }
        match arguments.next() {
            Some(_) => Err("too many arguments: D_IN D_SAE K BATCH ROUNDS DTYPE".to_owned()),
            None => Ok(Sizes { d_in, d_sae, k, batch, rounds, precision }),
        }
    }
}

/// What is timed, in the order of the report, before the step's parts; every ratio is to the first.
const NAMES: [&str; 4] = [
    "TopK step",
    "TopK step with 10 % of the latents dead (AuxK)",
    "f32 encoder product, whole",
    "f32 encoder product, 512 rows at a time",
];
/// The same of the products in bf16, where that is not emulated.
const NAMES_BF16: [&str; 2] = ["bf16 encoder product, whole", "bf16 encoder product, 512 rows at a time"];
/// Rows of a chunk: small enough that what is not selected from never leaves the cache.
const CHUNK: i64 = 512;
const LEARNING_RATE: f64 = 1e-4;
/// Tokens of silence after which a latent is dead.
const DEAD_AFTER: u64 = 10_000_000;

type Failure = Box<dyn std::error::Error>;

/// A dictionary in training, and the rows that it is shown.
struct Trained {
    architecture: Architecture,
    state: TrainState,
    workspace: Workspace,
    rows: Vec<f32>,
}

impl Trained {
    fn new(sizes: Sizes) -> Result<Self, Failure> {
        let Sizes { d_in, d_sae, k, batch, precision, .. } = sizes;
        let rows = Vec::<f32>::try_from(Tensor::randn([(batch * d_in) as i64], (Kind::Float, Device::Cpu)))?;
        let architecture = TopK { k }.into();
        let state = initial(d_in, d_sae, &architecture, Optimiser::Adam, 0, &vec![0.0; d_in], precision);
        Ok(Trained { architecture, state, workspace: Workspace::default(), rows })
    }

    /// Seconds of a step, with every tenth latent dead or with none.
    fn step(&mut self, dead: bool) -> Result<(f64, Recomputation), Failure> {
        let tokens = self.state.tokens;
        let fired_at = |latent: usize| if dead && latent.is_multiple_of(10) { 0 } else { tokens };
        self.state.fired_at.iter_mut().enumerate().for_each(|(latent, at)| *at = fired_at(latent));
        let settings = StepSettings {
            architecture: &self.architecture,
            held: &Held::default(),
            clip_norm: 1.0,
            aux_coefficient: 1.0,
            dead_after: if dead { 1 } else { DEAD_AFTER },
        };
        let start = Instant::now();
        let report = step(&mut self.state, &Batch::of(&self.rows, 1.0), LEARNING_RATE, &settings, &mut self.workspace)?;
        Ok((start.elapsed().as_secs_f64(), report.recomputation))
    }
}

/// Times everything in turn, `rounds` times, and reports medians.
pub(crate) fn report(sizes: Sizes) -> Result<String, Failure> {
    let Sizes { d_in, d_sae, k, batch, rounds, precision } = sizes;
    // The main thread settles its own number of threads before any worker does, see `matmul_nt`.
    let threads = tch::get_num_threads();
    let _no_grad = tch::no_grad_guard();
    let mut trained = Trained::new(sizes)?;
    let (warm, peak) = peak_during(|| (0..3).try_for_each(|_| trained.step(false).map(|_| ())));
    warm?;
    let kinds = if Precision::has_bf16_instructions() { &[Kind::Float, Kind::BFloat16][..] } else { &[Kind::Float] };
    let products: Vec<_> = kinds.iter().map(|&kind| Product::new(kind, batch, d_in, d_sae)).collect();
    let names: Vec<&str> =
        NAMES.into_iter().chain(NAMES_BF16.into_iter().take(2 * (kinds.len() - 1))).chain(PARTS).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let mut recomputation = Recomputation::default();
    for round in 0..=rounds {
        let (alone, of_step) = trained.step(false)?;
        let mut measured = vec![alone, trained.step(true)?.0];
        for product in &products {
            measured.extend([seconds(|| product.whole()), seconds(|| product.chunked(CHUNK))]);
        }
        let parts = part_seconds(&mut trained.state, &trained.architecture, k, &trained.rows)?;
        measured.extend(parts);
        // What is left of the step is the pass that gathers, moves and narrows.
        measured.push((alone - parts.iter().sum::<f64>()).max(0.0));
        // The first round warms caches and libtorch's kernels up.
        if round > 0 {
            times.iter_mut().zip(measured).for_each(|(times, time)| times.push(time));
            recomputation += of_step;
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let mut out = format!(
        "d_in {d_in}, d_sae {d_sae}, k {k}, batch {batch}; {} proposals; {} workers, {threads} libtorch threads; \
         medians of {rounds}\n",
        precision.name(),
        rayon::current_num_threads()
    );
    for (name, time) in names.iter().zip(&medians) {
        writeln!(out, "{name:<48} {time:>8.4} s   step / this {:.2}", medians[0] / time)?;
    }
    let of_rows = |count: usize| count as f64 / recomputation.rows.max(1) as f64;
    writeln!(
        out,
        "{:.1} pre-activations recomputed per row; {:.2} % of the rows needed a wider look, {:.2} % all latents",
        of_rows(recomputation.recomputed),
        100.0 * of_rows(recomputation.widened),
        100.0 * of_rows(recomputation.exhausted)
    )?;
    write!(out, "{:.0} tokens/s", batch as f64 / medians[0])?;
    if let Some(mib) = peak {
        write!(out, "; peak RssAnon of three steps {mib:.0} MiB")?;
    }
    Ok(out)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
