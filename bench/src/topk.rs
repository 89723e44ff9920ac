//! Seconds per TopK step: encoder product, selection, exact recomputation, decode, gradients, clipping, Adam, unit rows.

use crate::memory::rss_anon_mib;
use crate::product::Product;
use std::fmt::Write;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use untangle_sae::Precision;
use untangle_train::init::initial;
use untangle_train::step::{StepSettings, Workspace, step};

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

/// Times everything in turn, `rounds` times, and reports medians.
pub(crate) fn report(sizes: Sizes) -> Result<String, Box<dyn std::error::Error>> {
    let Sizes { d_in, d_sae, k, batch, rounds } = sizes;
    let _no_grad = tch::no_grad_guard();
    let rows = Vec::<f32>::try_from(Tensor::randn([(batch * d_in) as i64], (Kind::Float, Device::Cpu)))?;
    let mean = vec![0.0; d_in];
    let precision = Precision::fastest();
    let mut state = initial(d_in, d_sae, k, 0, &mean, precision);
    let settings = StepSettings { factor: 1.0, clip_norm: 1.0, aux_coefficient: 1.0, dead_after: 10_000_000 };
    let mut workspace = Workspace::default();
    step(&mut state, &rows, 1e-4, &settings, &mut workspace)?;
    let before_products = rss_anon_mib();
    let products = [Product::new(Kind::BFloat16, batch, d_in, d_sae), Product::new(Kind::Float, batch, d_in, d_sae)];
    let mut times: [Vec<f64>; 5] = Default::default();
    for round in 0..=rounds {
        let mut timed = |place: usize, work: &mut dyn FnMut() -> Result<(), untangle_sae::SaeError>| {
            let start = Instant::now();
            work()?;
            // The first round warms caches and libtorch's kernels up.
            if round > 0 {
                times[place].push(start.elapsed().as_secs_f64());
            }
            Ok::<(), untangle_sae::SaeError>(())
        };
        timed(0, &mut || step(&mut state, &rows, 1e-4, &settings, &mut workspace).map(|_| ()))?;
        for (place, product) in products.iter().enumerate() {
            timed(1 + 2 * place, &mut || {
                product.whole();
                Ok(())
            })?;
            timed(2 + 2 * place, &mut || {
                product.chunked(512);
                Ok(())
            })?;
        }
    }
    let [step_time, bf16, bf16_chunked, f32, f32_chunked] = times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        t[t.len() / 2]
    });
    let mut out = String::new();
    writeln!(out, "d_in {d_in}, d_sae {d_sae}, k {k}, batch {batch}; {} threads; medians of {rounds}", rayon::current_num_threads())?;
    writeln!(out, "TopK step ({} proposals, clipping, Adam)  {step_time:.4} s   {:.0} tokens/s", precision.name(), batch as f64 / step_time)?;
    for (name, time) in [
        ("bf16 encoder product, whole      ", bf16),
        ("bf16 encoder product, 512 rows   ", bf16_chunked),
        ("f32 encoder product, whole       ", f32),
        ("f32 encoder product, 512 rows    ", f32_chunked),
    ] {
        writeln!(out, "{name}            {time:.4} s   step / product {:.2}", step_time / time)?;
    }
    if let Some(mib) = before_products {
        write!(out, "RssAnon after a step, before the products' own operands: {mib:.0} MiB")?;
    }
    Ok(out)
}
