//! AuxK: what the dead latents are trained on, so that they come back to life.
//!
//! ```text
//! r_n = x_n - x_hat_n (detached)        p_n: raw pre-activations of the dead latents, negative ones kept
//! L_aux = c min(n_dead / (d_in / 2), 1) 1/N sum_n |r_n - sum_i p_ni d_i|^2     over the k_aux largest p_ni of the row
//! k_aux = min(d_in / 2, n_dead)        of a transcoder, what it predicts in place of x, and the half of its width
//! ```
//!
//! (Gao et al. 2024, appendix A.2, in SAELens' form: pre-activations are not rectified, which lets gradient reach a latent
//! however far below zero it lies, and `b_dec` is not added.) The dead are few and each row takes many of them, so this
//! part is dense algebra over the dead rows alone, in the arithmetic in which the encoder product proposes: in bytes, see
//! `aux_k_int8.rs`.
//!
//! Of that gradient a latent receives a part that grows with its silence of `s` tokens, where `W` tokens make it count as dead:
//!
//! ```text
//! v(s) = min((s / 4W)^2, 1)
//! ```
//!
//! In a short run a latent that is only rare is silent for one `W` as well. A sixteenth of the gradient leaves it what it has
//! learned; the whole gradient gives its place away. One that is dead is silent for long, and is moved. Measurements are in
//! `defaults.md`.

use crate::activity::Activity;
use crate::arch::Architecture;
use crate::products::{add_product, columns_of};
use crate::state::TrainState;
use half::bf16;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::{Buffer, Element, matmul_nn, matmul_nt};
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::narrow::NarrowWeights;
use untangle_sae::kernels::select::kth_largest;
use untangle_sae::kernels::vector::dispatch;

/// Gradients of the auxiliary loss.
#[derive(Debug)]
pub struct AuxGradients {
    /// The dead latents, ascending, `[n_dead]`
    pub dead: Vec<u32>,
    /// dL_aux/dw_i, `[n_dead, d_in]`
    pub d_w: Buffer<f32>,
    /// dL_aux/dd_i, `[n_dead, d_out]`
    pub d_d: Buffer<f32>,
    /// dL_aux/db_i, `[n_dead]`
    pub d_b: Vec<f32>,
    /// What part of these gradients a dead latent receives, `v(s)`, `[n_dead]`; 1 where nothing weighs them
    pub weights: Vec<f32>,
    /// `L_aux`
    pub loss: f64,
}

/// Silence after which a latent receives the whole gradient, in units of that after which it counts as dead.
const SURELY_DEAD: f64 = 4.0;

impl AuxGradients {
    /// Weighs the gradients by `v(s)`, where a latent last fired when a run had `fired_at` of its `tokens`.
    pub(crate) fn weigh(&mut self, fired_at: &[u64], tokens: u64, dead_after: u64) {
        self.weights = weights(&self.dead, fired_at, tokens, dead_after);
    }

    /// Place of `latent` among the dead.
    #[inline(always)]
    pub fn place(&self, latent: usize) -> Option<usize> {
        self.dead.binary_search(&(latent as u32)).ok()
    }
}

/// `v(s)` of these latents.
pub(crate) fn weights(dead: &[u32], fired_at: &[u64], tokens: u64, dead_after: u64) -> Vec<f32> {
    let surely_dead = SURELY_DEAD * dead_after.max(1) as f64;
    let weight = |&latent: &u32| (((tokens - fired_at[latent as usize]) as f64 / surely_dead).powi(2)).min(1.0) as f32;
    dead.iter().map(weight).collect()
}

/// The auxiliary loss of a batch and its gradients, of the latents that `activity` has as dead; none where it has none.
///
/// # Errors
/// When libtorch refuses a product.
pub fn aux_gradients(
    state: &TrainState,
    architecture: &Architecture,
    activity: &Activity,
    coefficient: f32,
) -> Result<Option<AuxGradients>, SaeError> {
    if activity.dead.is_empty() || coefficient == 0.0 {
        return Ok(None);
    }
    let mut task = AuxTask::new(state, activity, activity.dead.clone(), coefficient);
    task.by_magnitude = architecture.ranks_by_magnitude();
    match state.narrow {
        Some(NarrowWeights::Bf16(_)) => task.solve::<bf16>(),
        Some(NarrowWeights::Int8(_)) => Ok(task.solve_int8()),
        None => task.solve::<f32>(),
    }
    .map(Some)
}

pub(crate) struct AuxTask<'a> {
    pub(crate) activity: &'a Activity,
    pub(crate) dead: Vec<u32>,
    pub(crate) w_enc: Buffer<f32>,
    pub(crate) w_dec: Buffer<f32>,
    pub(crate) b_enc: Vec<f32>,
    pub(crate) d: usize,
    pub(crate) d_out: usize,
    k_aux: usize,
    /// Whether the largest of a row are those of the largest magnitude.
    by_magnitude: bool,
    pub(crate) scale: f32,
}

/// Of a chunk of rows: the chosen pre-activations and what they receive, zero elsewhere, both `[n, n_dead]`; the gradient
/// at the reconstruction, `[n, d_out]`; and the sum of squared errors.
struct Passed<T: Element> {
    p: Buffer<T>,
    d_p: Buffer<T>,
    d_out: Buffer<T>,
    loss: f64,
}

/// Elements of `p` that exist at a time: rows are taken in chunks, so that memory does not grow with the dead.
pub(crate) const CHUNK_ELEMENTS: usize = 1 << 24;
/// Latents whose gradients one worker takes at a time.
pub(crate) const LATENT_BLOCK: usize = 64;

impl<'a> AuxTask<'a> {
    fn new(state: &TrainState, activity: &'a Activity, dead: Vec<u32>, coefficient: f32) -> Self {
        let (d, d_out) = (state.d_in, state.d_out);
        let rows_of = |matrix: &[f32], d: usize| {
            let mut rows = Buffer::zeros(dead.len() * d);
            for (row, &latent) in rows.chunks_exact_mut(d).zip(&dead) {
                row.copy_from_slice(&matrix[latent as usize * d..(latent as usize + 1) * d]);
            }
            rows
        };
        let half = (d_out / 2).max(1);
        AuxTask {
            activity,
            w_enc: rows_of(&state.w_enc.value, d),
            w_dec: rows_of(&state.w_dec.value, d_out),
            b_enc: dead.iter().map(|&latent| state.b_enc.value[latent as usize]).collect(),
            d,
            d_out,
            k_aux: half.min(dead.len()),
            by_magnitude: false,
            scale: coefficient * (dead.len() as f32 / half as f32).min(1.0),
            dead,
        }
    }

    fn solve<T: Element>(self) -> Result<AuxGradients, SaeError> {
        let (m, d, e) = (self.dead.len(), self.d, self.d_out);
        let (w_enc, w_dec) = (Buffer::<T>::narrowed(&self.w_enc), Buffer::<T>::narrowed(&self.w_dec));
        let (mut d_w, mut d_d, mut d_b) = (Buffer::zeros(m * d), Buffer::zeros(m * e), vec![0f32; m]);
        let mut loss = 0.0;
        let rows = (CHUNK_ELEMENTS / m / TILE_ROWS).max(1) * TILE_ROWS;
        let chunks = self.activity.centred.chunks(rows * d).zip(self.activity.whole().chunks(rows * e));
        for (centred, main_d_out) in chunks {
            let centred = Buffer::<T>::narrowed(centred);
            let passed = self.pass_rows(&centred, main_d_out, &w_enc, &w_dec)?;
            loss += passed.loss;
            d_w.par_chunks_mut(LATENT_BLOCK * d)
                .zip(d_d.par_chunks_mut(LATENT_BLOCK * e))
                .zip(d_b.par_chunks_mut(LATENT_BLOCK))
                .enumerate()
                .try_for_each(|(block, ((d_w, d_d), d_b))| {
                    let columns = block * LATENT_BLOCK..block * LATENT_BLOCK + d_b.len();
                    let (p, d_p) = (columns_of(&passed.p, m, columns.clone()), columns_of(&passed.d_p, m, columns));
                    add_product(&d_p, &centred, d_w, d)?;
                    add_product(&p, &passed.d_out, d_d, e)?;
                    for row in d_p.chunks_exact(d_b.len()) {
                        d_b.iter_mut().zip(row).for_each(|(sum, v)| *sum += v.widen());
                    }
                    Ok::<(), SaeError>(())
                })?;
        }
        let loss = loss * f64::from(self.scale) / self.n_rows() as f64;
        Ok(self.gradients(d_w, d_d, d_b, loss))
    }

    pub(crate) fn gradients(self, d_w: Buffer<f32>, d_d: Buffer<f32>, d_b: Vec<f32>, loss: f64) -> AuxGradients {
        AuxGradients { weights: vec![1.0; self.dead.len()], dead: self.dead, d_w, d_d, d_b, loss }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.activity.centred.len() / self.d
    }

    /// Forward and backward of a chunk of rows as far as rows go, a tile at a time.
    fn pass_rows<T: Element>(
        &self,
        centred: &[T],
        main_d_out: &[f32],
        w_enc: &[T],
        w_dec: &[T],
    ) -> Result<Passed<T>, SaeError> {
        let (m, d, e) = (self.dead.len(), self.d, self.d_out);
        let n = centred.len() / d;
        let mut passed =
            Passed { p: Buffer::zeros(n * m), d_p: Buffer::zeros(n * m), d_out: Buffer::zeros(n * e), loss: 0.0 };
        let losses: Vec<f64> = (passed.p.par_chunks_mut(TILE_ROWS * m))
            .zip(passed.d_p.par_chunks_mut(TILE_ROWS * m))
            .zip(passed.d_out.par_chunks_mut(TILE_ROWS * e))
            .zip(centred.par_chunks(TILE_ROWS * d))
            .zip(main_d_out.par_chunks(TILE_ROWS * e))
            .map(|((((p, d_p), d_out), centred), main_d_out)| {
                matmul_nt(centred, w_enc, p, d)?;
                self.keep_largest(p, &mut Vec::new());
                matmul_nn(p, w_dec, d_out, m, e)?;
                let squared_error = self.differentiate(main_d_out, d_out);
                matmul_nt(d_out, w_dec, d_p, e)?;
                // A latent that was not chosen is exactly zero in p, and receives nothing.
                d_p.iter_mut().zip(p.iter()).for_each(|(g, p)| {
                    if p.widen() == 0.0 {
                        *g = T::default();
                    }
                });
                Ok(squared_error)
            })
            .collect::<Result<_, SaeError>>()?;
        passed.loss = losses.iter().sum();
        Ok(passed)
    }

    /// Adds the bias to rows, `[n, n_dead]`, and zeroes all but the `k_aux` largest of each; `keys` is memory to reuse.
    pub(crate) fn keep_largest<T: Element>(&self, rows: &mut [T], keys: &mut Vec<i32>) {
        dispatch(
            #[inline(always)]
            || {
                for row in rows.chunks_exact_mut(self.dead.len()) {
                    self.keep_largest_of_row(row, keys);
                }
            },
        );
    }

    #[inline(always)]
    fn keep_largest_of_row<T: Element>(&self, row: &mut [T], keys: &mut Vec<i32>) {
        for (p, b) in row.iter_mut().zip(&self.b_enc) {
            *p = T::narrow(p.widen() + b);
        }
        if self.k_aux == row.len() {
            return;
        }
        if self.by_magnitude {
            let sizes: Vec<T> = row.iter().map(|p| T::narrow(p.widen().abs())).collect();
            let threshold = kth_largest(&sizes, self.k_aux, keys);
            return self.keep_from(row, threshold, |p| p.widen().abs());
        }
        let threshold = kth_largest(row, self.k_aux, keys);
        self.keep_from(row, threshold, |p| p.widen());
    }

    /// Zeroes what ranks below the threshold, which is the rank of the last place.
    #[inline(always)]
    fn keep_from<T: Element>(&self, row: &mut [T], threshold: f32, rank: impl Fn(&T) -> f32) {
        let mut kept = 0u32;
        for p in row.iter() {
            kept += u32::from(rank(p) >= threshold);
        }
        for p in row.iter_mut() {
            *p = if rank(p) >= threshold { *p } else { T::default() };
        }
        // Of equal ones the last are left out.
        let last = row.iter_mut().rev().filter(|p| rank(p) == threshold);
        last.take((kept as usize).saturating_sub(self.k_aux)).for_each(|p| *p = T::default());
    }

    /// Turns the auxiliary reconstruction into the gradient at it; returns the sum of squared errors.
    ///
    /// The residual is r = -e, and the main pass left g = 2/n e.
    #[inline(always)]
    pub(crate) fn differentiate<T: Element>(&self, main_d_out: &[f32], d_out: &mut [T]) -> f64 {
        let n = self.n_rows() as f32;
        let (to_residual, to_gradient) = (-n / 2.0, 2.0 * self.scale / n);
        let mut squared_error = 0f64;
        for (out, main) in d_out.chunks_exact_mut(self.d_out).zip(main_d_out.chunks_exact(self.d_out)) {
            let mut row_error = 0f32;
            for (out, main) in out.iter_mut().zip(main) {
                let error = out.widen() - to_residual * main;
                row_error += error * error;
                *out = T::narrow(to_gradient * error);
            }
            squared_error += f64::from(row_error);
        }
        squared_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_the_gradient_by_hand() {
        // Silent for one window of 100 tokens, for two, for four and for eight.
        let mut aux = AuxGradients {
            dead: vec![0, 1, 3, 4],
            d_w: Buffer::zeros(0),
            d_d: Buffer::zeros(0),
            d_b: Vec::new(),
            weights: vec![1.0; 4],
            loss: 0.0,
        };
        aux.weigh(&[900, 800, 1000, 600, 200], 1000, 100);
        assert_eq!(aux.weights, [1.0 / 16.0, 0.25, 1.0, 1.0]);
    }
}
