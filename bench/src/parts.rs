//! Seconds per part of a training step: where the time goes.

use rayon::prelude::*;
use std::time::Instant;
use untangle_sae::SaeError;
use untangle_sae::kernels::encode::{Chosen, Scratch, TILE_ROWS};
use untangle_train::Architecture;
use untangle_train::activity::{Activity, Batch, Scratches};
use untangle_train::constraint::Held;
use untangle_train::forward::forward;
use untangle_train::gather::Firings;
use untangle_train::gradients::{Gradients, OtherGradients, norm};
use untangle_train::state::TrainState;

/// The parts, in the order of a step.
pub(crate) const PARTS: [&str; 5] = [
    "  part: product, selection, recomputation",
    "  part: decode, error, what the chosen receive",
    "  part: firings by latent",
    "  part: biases, norm of the gradient",
    "  part: gather, Adam, unit rows, narrow copy",
];

/// Seconds of all parts but the last, which alone changes the state.
pub(crate) fn part_seconds(
    state: &mut TrainState,
    architecture: &Architecture,
    k: usize,
    rows: &[f32],
) -> Result<[f64; 4], SaeError> {
    let (scratch, mut activity, mut firings) = (Scratches::default(), Activity::default(), Firings::default());
    forward(state, architecture, &Batch::of(rows, 1.0), &scratch, &mut activity)?;
    let whole = Instant::now();
    forward(state, architecture, &Batch::of(rows, 1.0), &scratch, &mut activity)?;
    let whole = whole.elapsed().as_secs_f64();
    let encode = encode_seconds(state, k, &activity.centred)?;
    let index = Instant::now();
    firings.rebuild(state.d_sae, &activity.tiles, 0);
    let index = index.elapsed().as_secs_f64();
    let held = Held::default();
    let gradients = Gradients { backward: activity.backward(&firings, None), aux: None, norms: None, held: &held };
    let mut others = OtherGradients::default();
    let of_norm = Instant::now();
    gradients.others(state, architecture, &mut others)?;
    std::hint::black_box(norm(state, &gradients, &others));
    Ok([encode, (whole - encode).max(0.0), index, of_norm.elapsed().as_secs_f64()])
}

/// Of the second of two calls, when all memory is there.
fn encode_seconds(state: &TrainState, k: usize, centred: &[f32]) -> Result<f64, SaeError> {
    let scratch = Scratch::default();
    choose(state, k, centred, &scratch)?;
    let start = Instant::now();
    choose(state, k, centred, &scratch)?;
    Ok(start.elapsed().as_secs_f64())
}

fn choose(state: &TrainState, k: usize, centred: &[f32], scratch: &Scratch) -> Result<(), SaeError> {
    let d = state.d_in;
    let n = centred.len() / d;
    let (mut indices, mut pre_acts) = (vec![0u32; n * k], vec![0f32; n * k]);
    let weights = state.encoder();
    centred
        .par_chunks(TILE_ROWS * d)
        .zip(indices.par_chunks_mut(TILE_ROWS * k).zip(pre_acts.par_chunks_mut(TILE_ROWS * k)))
        .try_for_each(|(rows, (indices, pre_acts))| {
            weights.choose(rows, k, scratch, Chosen::of(indices, pre_acts)).map(|_| ())
        })
}
