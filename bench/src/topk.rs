//! Seconds per TopK step: encoder product, selection, exact recomputation, decode, gradients, clipping, Adam, unit rows.

use crate::memory::peak_during;
use crate::product::Product;
use std::fmt::Write;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use untangle_sae::{Precision, SaeError};
use untangle_train::init::initial;
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
}

impl Sizes {
    /// `D_IN D_SAE K BATCH ROUNDS`, each with a default.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut numbers = [768usize, 16384, 32, 4096, 7];
        for (at, argument) in arguments.enumerate() {
            let place = numbers.get_mut(at).ok_or("too many arguments: D_IN D_SAE K BATCH ROUNDS")?;
            *place = argument.parse().ok().filter(|&n| n > 0).ok_or(format!("not a number: {argument}"))?;
        }
        let [d_in, d_sae, k, batch, rounds] = numbers;
        if k > d_sae {
            return Err(format!("k = {k} is more than d_sae = {d_sae}"));
        }
        Ok(Sizes { d_in, d_sae, k, batch, rounds })
    }
}

/// What is timed, in the order of the report; every ratio is to the first.
const NAMES: [&str; 6] = [
    "TopK step",
    "TopK step with 10 % of the latents dead (AuxK)",
    "bf16 encoder product, whole",
    "bf16 encoder product, 512 rows at a time",
    "f32 encoder product, whole",
    "f32 encoder product, 512 rows at a time",
];
/// Rows of a chunk: small enough that what is not selected from never leaves the cache.
const CHUNK: i64 = 512;
const LEARNING_RATE: f64 = 1e-4;
const SETTINGS: StepSettings =
    StepSettings { factor: 1.0, clip_norm: 1.0, aux_coefficient: 1.0, dead_after: 10_000_000 };

/// Times everything in turn, `rounds` times, and reports medians.
pub(crate) fn report(sizes: Sizes) -> Result<String, Box<dyn std::error::Error>> {
    let Sizes { d_in, d_sae, k, batch, rounds } = sizes;
    // The main thread settles its own number of threads before any worker does, see `matmul_nt`.
    let threads = tch::get_num_threads();
    let _no_grad = tch::no_grad_guard();
    let rows = Vec::<f32>::try_from(Tensor::randn([(batch * d_in) as i64], (Kind::Float, Device::Cpu)))?;
    let precision = Precision::fastest();
    let mut state = initial(d_in, d_sae, &Architecture::TopK { k }, Optimiser::Adam, 0, &vec![0.0; d_in], precision);
    let mut workspace = Workspace::default();
    let mut run = |dead: bool| -> Result<f64, SaeError> {
        let tokens = state.tokens;
        let fired_at = |latent: usize| if dead && latent.is_multiple_of(10) { 0 } else { tokens };
        state.fired_at.iter_mut().enumerate().for_each(|(latent, at)| *at = fired_at(latent));
        let settings = StepSettings { dead_after: if dead { 1 } else { SETTINGS.dead_after }, ..SETTINGS };
        let start = Instant::now();
        step(&mut state, &rows, LEARNING_RATE, &settings, &mut workspace)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let (warm, peak) = peak_during(|| (0..3).try_for_each(|_| run(false).map(|_| ())));
    warm?;
    let products = [Product::new(Kind::BFloat16, batch, d_in, d_sae), Product::new(Kind::Float, batch, d_in, d_sae)];
    let mut times: [Vec<f64>; 6] = Default::default();
    for round in 0..=rounds {
        let [bf16, f32] = &products;
        let measured = [
            run(false)?,
            run(true)?,
            seconds(|| bf16.whole()),
            seconds(|| bf16.chunked(CHUNK)),
            seconds(|| f32.whole()),
            seconds(|| f32.chunked(CHUNK)),
        ];
        // The first round warms caches and libtorch's kernels up.
        if round > 0 {
            times.iter_mut().zip(measured).for_each(|(times, time)| times.push(time));
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let mut out = format!(
        "d_in {d_in}, d_sae {d_sae}, k {k}, batch {batch}; {} proposals; {} workers, {threads} libtorch threads; \
         medians of {rounds}\n",
        precision.name(),
        rayon::current_num_threads()
    );
    for (name, time) in NAMES.iter().zip(medians) {
        writeln!(out, "{name:<48} {time:>8.4} s   step / this {:.2}", medians[0] / time)?;
    }
    write!(out, "{:.0} tokens/s", batch as f64 / medians[0])?;
    if let Some(mib) = peak {
        write!(out, "; peak RssAnon of three steps {mib:.0} MiB")?;
    }
    Ok(out)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
