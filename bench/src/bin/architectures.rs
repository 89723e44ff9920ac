//! Seconds per step of the architectures that choose by number, on the same random rows, in turn in one process.
//!
//! `cargo run --release --package untangle-bench --bin architectures -- D_IN D_SAE K BATCH ROUNDS`, each with a default.

use std::process::ExitCode;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use untangle_sae::Precision;
use untangle_train::activity::{Batch, Scaled};
use untangle_train::arch::batch_top_k::BatchTopK;
use untangle_train::arch::top_k::TopK;
use untangle_train::arch::transcoder::{SkipTranscoder, Transcoder};
use untangle_train::constraint::Held;
use untangle_train::init::initial;
use untangle_train::state::TrainState;
use untangle_train::step::{StepSettings, Workspace, step};
use untangle_train::{Architecture, Optimiser};

type Failure = Box<dyn std::error::Error>;

/// The usual sizes: `d_in` (and `d_out`), `d_sae`, `k`, rows of a batch, rounds.
const SIZES: [usize; 5] = [768, 16384, 32, 4096, 7];
/// Small, so that a state stays what it was made.
const LEARNING_RATE: f64 = 1e-4;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark's result is what it prints")]
fn main() -> ExitCode {
    match sizes().map_err(Failure::from).and_then(report) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sizes() -> Result<[usize; 5], String> {
    let mut sizes = SIZES;
    for (at, text) in std::env::args().skip(1).enumerate() {
        let place = sizes.get_mut(at).ok_or("at most D_IN D_SAE K BATCH ROUNDS")?;
        *place = text.parse().ok().filter(|n| *n > 0).ok_or(format!("`{text}` is not a positive number"))?;
    }
    Ok(sizes)
}

fn report([d, d_sae, k, batch, rounds]: [usize; 5]) -> Result<String, Failure> {
    let _no_grad = tch::no_grad_guard();
    let rows = || Vec::<f32>::try_from(Tensor::randn([(batch * d) as i64], (Kind::Float, Device::Cpu)));
    let (rows, target) = (rows()?, rows()?);
    let l0 = k as f64;
    let architectures: [Architecture; 4] =
        [TopK { k }.into(), BatchTopK { k, l0 }.into(), Transcoder { k, l0 }.into(), SkipTranscoder { k, l0 }.into()];
    let precision = Precision::fastest();
    let start =
        |architecture: &Architecture| initial(d, d_sae, architecture, Optimiser::Adam, 0, &vec![0.0; d], precision);
    let mut states: Vec<TrainState> = architectures.iter().map(start).collect();
    let mut seconds = vec![Vec::new(); states.len()];
    let mut workspace = Workspace::default();
    for round in 0..=rounds {
        for ((architecture, state), seconds) in architectures.iter().zip(&mut states).zip(&mut seconds) {
            let target = state.input_centre.as_ref().map(|_| Scaled { rows: &target, factor: 1.0 });
            let batch = Batch { target, ..Batch::of(&rows, 1.0) };
            let settings = StepSettings {
                architecture,
                held: &Held::default(),
                clip_norm: 1.0,
                aux_coefficient: 1.0,
                dead_after: u64::MAX,
            };
            let began = Instant::now();
            step(state, &batch, LEARNING_RATE, &settings, &mut workspace)?;
            // The first round warms caches and libtorch's kernels up.
            if round > 0 {
                seconds.push(began.elapsed().as_secs_f64());
            }
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let medians: Vec<f64> = seconds.into_iter().map(median).collect();
    let line = |(architecture, seconds): (&Architecture, &f64)| {
        format!("{:16} {seconds:.3} s per step, {:.2} of topk", architecture.name(), seconds / medians[0])
    };
    let lines: Vec<String> = architectures.iter().zip(&medians).map(line).collect();
    let workers = rayon::current_num_threads();
    Ok(format!(
        "d_in = d_out {d}, d_sae {d_sae}, k {k}, batch {batch}; {} proposals; {workers} workers; medians of {rounds}\n{}",
        precision.name(),
        lines.join("\n")
    ))
}
