//! Seconds per part of a training step: where the time goes.

use rayon::prelude::*;
use std::time::Instant;
use untangle_sae::SaeError;
use untangle_sae::kernels::encode::{Chosen, Scratch, TILE_ROWS};
use untangle_train::forward::{Activity, forward};
use untangle_train::gather::{Backward, Firings};
use untangle_train::state::TrainState;
use untangle_train::step::{Gradients, StepSettings};

/// The parts, in the order of a step.
pub(crate) const PARTS: [&str; 5] = [
    "  part: product, selection, recomputation",
    "  part: decode, error, what the chosen receive",
    "  part: firings by latent",
    "  part: biases, norm of the gradient",
    "  part: gather, Adam, unit rows, narrow copy",
];

/// Seconds of all parts but the last, which alone changes the state.
pub(crate) fn part_seconds(state: &TrainState, rows: &[f32], settings: &StepSettings) -> Result<[f64; 4], SaeError> {
    let (scratch, mut activity, mut firings) = (Scratch::default(), Activity::default(), Firings::default());
    forward(state, rows, settings.factor, &scratch, &mut activity)?;
    let whole = Instant::now();
    forward(state, rows, settings.factor, &scratch, &mut activity)?;
    let whole = whole.elapsed().as_secs_f64();
    let encode = encode_seconds(state, &activity.centred, &scratch)?;
    let index = Instant::now();
    firings.rebuild(state.d_sae, &activity.chosen, &activity.acts);
    let index = index.elapsed().as_secs_f64();
    let backward = Backward {
        firings: &firings,
        acts: &activity.acts,
        d_acts: &activity.d_acts,
        centred: &activity.centred,
        d_out: &activity.d_out,
        k: state.k,
    };
    let gradients = Gradients { backward, aux: None };
    let (mut d_b, mut d_b_dec) = (Vec::new(), Vec::new());
    let norm = Instant::now();
    gradients.biases(state, &mut d_b, &mut d_b_dec);
    std::hint::black_box(gradients.norm(state, &d_b, &d_b_dec));
    Ok([encode, (whole - encode).max(0.0), index, norm.elapsed().as_secs_f64()])
}

fn encode_seconds(state: &TrainState, centred: &[f32], scratch: &Scratch) -> Result<f64, SaeError> {
    let (d, k) = (state.d_in, state.k);
    let n = centred.len() / d;
    let (mut indices, mut pre_acts) = (vec![0u32; n * k], vec![0f32; n * k]);
    let weights = state.encoder();
    let start = Instant::now();
    centred
        .par_chunks(TILE_ROWS * d)
        .zip(indices.par_chunks_mut(TILE_ROWS * k).zip(pre_acts.par_chunks_mut(TILE_ROWS * k)))
        .try_for_each(|(rows, (indices, pre_acts))| {
            weights.choose(rows, k, scratch, Chosen { indices, pre_acts }).map(|_| ())
        })?;
    Ok(start.elapsed().as_secs_f64())
}
