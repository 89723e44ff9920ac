//! The forward half of a TopK step: choose, decode, error, and the gradient that every choice receives.
//!
//! ```text
//! z_r = s x_r - b_dec        f_r = top-k(W_enc z_r + b_enc), rectified        e_r = x_hat_r - s x_r = W_dec^T f_r - z_r
//! L   = 1/n sum_r |e_r|^2    g_r = dL/dx_hat_r = 2/n e_r                      dL/df_ri = g_r · d_i
//! ```
//!
//! (Gao et al. 2024, section 2.3, with the sum over the width that SAELens' loss has; `s` is the data's scale.)

use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::prefetch;
use untangle_sae::kernels::encode::{Chosen, Looks, Scratch, TILE_ROWS};
use untangle_sae::kernels::vector::{axpy, dispatch, dot};

/// A batch's intermediate results; the memory is reused from step to step.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// `z`, `[n, d_in]`
    pub centred: Vec<f32>,
    /// `g`, `[n, d_in]`
    pub d_out: Vec<f32>,
    /// Chosen latents, ascending in a row, `[n, k]`
    pub chosen: Vec<u32>,
    /// `f` of the chosen, `[n, k]`
    pub acts: Vec<f32>,
    /// dL/df of the chosen that fire, zero of the others, `[n, k]`
    pub d_acts: Vec<f32>,
    /// `L`
    pub loss: f64,
    /// What it took to be sure of the chosen.
    pub looks: Looks,
}

/// Fills `activity` for a batch of rows, `[n, d_in]`.
///
/// # Errors
/// When libtorch refuses the encoder product.
pub fn forward(
    state: &TrainState,
    rows: &[f32],
    factor: f32,
    scratch: &Scratch,
    activity: &mut Activity,
) -> Result<(), SaeError> {
    let (d, k) = (state.d_in, state.k);
    let n = rows.len() / d;
    activity.resize(n, d, k);
    let weights = state.encoder();
    let tiles: Vec<(f64, Looks)> = activity
        .tiles(d, k)
        .zip(rows.par_chunks(TILE_ROWS * d))
        .map(|(tile, rows)| {
            dispatch(
                #[inline(always)]
                || centre(rows, factor, &state.b_dec.value, tile.centred),
            );
            let looks =
                weights.choose(tile.centred, k, scratch, Chosen { indices: tile.chosen, pre_acts: tile.acts })?;
            let squared_error = dispatch(
                #[inline(always)]
                || decode(state, 2.0 / n as f32, tile),
            );
            Ok((squared_error, looks))
        })
        .collect::<Result<_, SaeError>>()?;
    // Tile after tile, so that the sum does not depend on which worker was first.
    activity.loss = tiles.iter().map(|(squared_error, _)| squared_error).sum::<f64>() / n as f64;
    activity.looks = Looks::default();
    tiles.iter().for_each(|(_, looks)| activity.looks += *looks);
    Ok(())
}

struct TileMut<'a> {
    centred: &'a mut [f32],
    d_out: &'a mut [f32],
    chosen: &'a mut [u32],
    acts: &'a mut [f32],
    d_acts: &'a mut [f32],
}

impl Activity {
    fn resize(&mut self, n: usize, d: usize, k: usize) {
        self.centred.resize(n * d, 0.0);
        self.d_out.resize(n * d, 0.0);
        self.chosen.resize(n * k, 0);
        self.acts.resize(n * k, 0.0);
        self.d_acts.resize(n * k, 0.0);
    }

    fn tiles(&mut self, d: usize, k: usize) -> impl IndexedParallelIterator<Item = TileMut<'_>> {
        let wide = self.centred.par_chunks_mut(TILE_ROWS * d).zip(self.d_out.par_chunks_mut(TILE_ROWS * d));
        let narrow = self.chosen.par_chunks_mut(TILE_ROWS * k).zip(self.acts.par_chunks_mut(TILE_ROWS * k));
        let narrow = narrow.zip(self.d_acts.par_chunks_mut(TILE_ROWS * k));
        wide.zip(narrow).map(|((centred, d_out), ((chosen, acts), d_acts))| TileMut {
            centred,
            d_out,
            chosen,
            acts,
            d_acts,
        })
    }
}

#[inline(always)]
fn centre(rows: &[f32], factor: f32, b_dec: &[f32], centred: &mut [f32]) {
    let d = b_dec.len();
    for (z, x) in centred.chunks_exact_mut(d).zip(rows.chunks_exact(d)) {
        for ((z, x), b) in z.iter_mut().zip(x).zip(b_dec) {
            *z = factor * x - b;
        }
    }
}

/// Rectifies, decodes and differentiates a tile; returns the sum of squared errors.
#[inline(always)]
fn decode(state: &TrainState, scale: f32, tile: TileMut<'_>) -> f64 {
    let (d, k) = (state.d_in, state.k);
    let w_dec: &[f32] = &state.w_dec.value;
    let decoder_row = |latent: u32| &w_dec[latent as usize * d..(latent as usize + 1) * d];
    let wide = tile.centred.chunks_exact(d).zip(tile.d_out.chunks_exact_mut(d));
    let narrow = tile.chosen.chunks_exact(k).zip(tile.acts.chunks_exact_mut(k)).zip(tile.d_acts.chunks_exact_mut(k));
    let mut squared_error = 0f64;
    for ((z, error), ((chosen, acts), d_acts)) in wide.zip(narrow) {
        error.iter_mut().zip(z).for_each(|(e, z)| *e = -z);
        for (place, (act, &latent)) in acts.iter_mut().zip(chosen).enumerate() {
            if let Some(&next) = chosen.get(place + 1) {
                prefetch(decoder_row(next));
            }
            *act = act.max(0.0);
            if *act > 0.0 {
                axpy(error, *act, decoder_row(latent));
            }
        }
        squared_error += f64::from(dot(error, error));
        error.iter_mut().for_each(|e| *e *= scale);
        for ((d_act, &act), &latent) in d_acts.iter_mut().zip(acts.iter()).zip(chosen) {
            *d_act = if act > 0.0 { dot(error, decoder_row(latent)) } else { 0.0 };
        }
    }
    squared_error
}
