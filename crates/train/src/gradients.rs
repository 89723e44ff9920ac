//! The gradients of a step: of a latent's rows, gathered when they are asked for, of everything else, and their norm.

use crate::arch::Architecture;
use crate::aux_k::AuxGradients;
use crate::constraint::Held;
use crate::gather::Backward;
use crate::norms::NormPenalty;
use crate::skip::skip_gradient;
use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::vector::{axpy, dispatch, dot};

/// The gradients of everything but the latents' rows of the two matrices.
#[derive(Debug, Default)]
pub struct OtherGradients {
    /// Of `b_enc`, `[d_sae]`
    pub b_enc: Vec<f32>,
    /// Of `b_dec`, `[d_out]`
    pub b_dec: Vec<f32>,
    /// Of the latents' further parameters, `[d_sae]` each
    pub extras: Vec<Vec<f32>>,
    /// Of a transcoder's `W_skip`, `[d_out, d_in]`; empty where it has none
    pub w_skip: Vec<f32>,
}

/// Latents that a worker takes at a time.
const LATENT_BLOCK: usize = 64;
/// The gradient norm of large dictionaries is taken from every eighth latent and scaled up: gathering all of them twice
/// would cost a tenth of the step, and the estimate moves the held-out FVU by less than seeds do.
const NORM_STRIDE: usize = 8;
/// Below this number of latents the norm is taken from all.
const NORM_FROM_ALL: usize = 4096;

/// The gradients of a step, latent by latent.
pub struct Gradients<'a> {
    /// Of the reconstruction.
    pub backward: Backward<'a>,
    /// Of the auxiliary loss.
    pub aux: Option<&'a AuxGradients>,
    /// Of a crosscoder's penalty on the norms of decoder rows.
    pub norms: Option<NormPenalty>,
    /// What holds of the rows.
    pub held: &'a Held,
}

/// Gives the gradients of single latents: a step's own, gathered when they are asked for, or ones that were summed before.
pub trait OfLatent: Sync {
    /// Replaces `d_w` and `d_d` by the gradients of a latent's encoder and decoder rows, `[d_in]` and
    /// `[d_out]`; `unit_row` is the decoder row that the batch was decoded with. Called where everything is inlined, so
    /// implementations say `#[inline(always)]`.
    fn of(&self, latent: usize, unit_row: &[f32], d_w: &mut [f32], d_d: &mut [f32]);
}

impl OfLatent for Gradients<'_> {
    #[inline(always)]
    fn of(&self, latent: usize, unit_row: &[f32], d_w: &mut [f32], d_d: &mut [f32]) {
        let (d, e) = (d_w.len(), d_d.len());
        self.backward.gather(latent, d_w, d_d);
        if let Some((aux, place)) = self.aux.and_then(|aux| Some((aux, aux.place(latent)?))) {
            axpy(d_w, aux.weights[place], &aux.d_w[place * d..(place + 1) * d]);
            axpy(d_d, aux.weights[place], &aux.d_d[place * e..(place + 1) * e]);
        }
        if let Some(norms) = &self.norms {
            norms.add(unit_row, self.backward.sum_of_acts(latent), d_d);
        }
        self.held.gradients(unit_row, d_w, d_d);
    }
}

/// Gradients of all latents' rows as matrices: what several machines would add up before each moves its own copy.
#[derive(Clone, Debug)]
pub struct WholeGradients {
    /// `[d_sae, d_in]`
    pub d_w: Buffer<f32>,
    /// `[d_sae, d_out]`
    pub d_d: Buffer<f32>,
}

impl WholeGradients {
    /// All of a step's.
    pub fn of(state: &TrainState, gradients: &impl OfLatent) -> Self {
        let (d, e) = (state.d_in, state.d_out);
        let (mut d_w, mut d_d) = (Buffer::zeros(state.d_sae * d), Buffer::zeros(state.d_sae * e));
        let rows = d_w.par_chunks_mut(d).zip(d_d.par_chunks_mut(e)).zip(state.w_dec.value.par_chunks(e)).enumerate();
        rows.for_each(|(latent, ((d_w, d_d), row))| {
            dispatch(
                #[inline(always)]
                || gradients.of(latent, row, d_w, d_d),
            );
        });
        WholeGradients { d_w, d_d }
    }
}

impl OfLatent for WholeGradients {
    #[inline(always)]
    fn of(&self, latent: usize, _: &[f32], d_w: &mut [f32], d_d: &mut [f32]) {
        let (d, e) = (d_w.len(), d_d.len());
        d_w.copy_from_slice(&self.d_w[latent * d..(latent + 1) * d]);
        d_d.copy_from_slice(&self.d_d[latent * e..(latent + 1) * e]);
    }
}

impl Gradients<'_> {
    /// Replaces `others` by the gradients of this batch. An autoencoder has `dL/db_dec = sum_r g_r - sum_i dL/db_i w_i`,
    /// because `b_dec` is added to x_hat and subtracted from every z; a transcoder has the first term alone.
    ///
    /// # Errors
    /// When libtorch refuses a product.
    pub fn others(
        &self,
        state: &TrainState,
        architecture: &Architecture,
        others: &mut OtherGradients,
    ) -> Result<(), SaeError> {
        let OtherGradients { b_enc: d_b, b_dec: d_b_dec, extras: d_extras, w_skip: d_skip } = others;
        let latents = (0..state.d_sae).into_par_iter().with_min_len(LATENT_BLOCK);
        latents.clone().map(|latent| self.backward.bias(latent)).collect_into_vec(d_b);
        if let Some(aux) = self.aux {
            let gradients = aux.dead.iter().zip(&aux.weights).zip(&aux.d_b);
            gradients.for_each(|((&latent, weight), g)| d_b[latent as usize] += weight * g);
        }
        *d_b_dec = sum_of_rows(&self.backward.d_out[0], state.d_out, None);
        if state.input_centre.is_none() {
            axpy(d_b_dec, -1.0, &sum_of_rows(&state.w_enc.value, state.d_in, Some(d_b)));
        }
        d_extras.resize_with(state.extras.len(), Vec::new);
        for (extra, gradient) in d_extras.iter_mut().enumerate() {
            latents.clone().map(|latent| self.backward.extra(extra, latent)).collect_into_vec(gradient);
        }
        architecture.finish_vectors(state, d_b, d_extras);
        skip_gradient(state, self.backward.centred, &self.backward.d_out[0], d_skip)
    }
}

/// The first of the latents that the norm of a step's gradients is taken from, and how far they lie apart.
pub(crate) fn sampled_for_norm(state: &TrainState) -> (usize, usize) {
    let stride = if state.d_sae < NORM_FROM_ALL { 1 } else { NORM_STRIDE };
    // Another eighth at every step, so that no latent is overlooked for good.
    (state.step as usize % stride, stride)
}

/// Norm of the gradients of all parameters together.
pub fn norm(state: &TrainState, gradients: &impl OfLatent, others: &OtherGradients) -> f64 {
    let (first, stride) = sampled_for_norm(state);
    let sampled: Vec<usize> = (first..state.d_sae).step_by(stride).collect();
    let squares: Vec<f64> = sampled
        .par_chunks(LATENT_BLOCK)
        .map(|latents| {
            let (mut d_w, mut d_d) = (vec![0f32; state.d_in], vec![0f32; state.d_out]);
            dispatch(
                #[inline(always)]
                || {
                    let mut sum = 0f64;
                    for &latent in latents {
                        let unit_row = &state.w_dec.value[latent * state.d_out..(latent + 1) * state.d_out];
                        gradients.of(latent, unit_row, &mut d_w, &mut d_d);
                        sum += f64::from(dot(&d_w, &d_w)) + f64::from(dot(&d_d, &d_d));
                    }
                    sum
                },
            )
        })
        .collect();
    let square = |values: &[f32]| values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
    let weight = state.d_sae as f64 / sampled.len().max(1) as f64;
    let extras = others.extras.iter().map(|g| square(g)).sum::<f64>();
    let others = square(&others.b_enc) + square(&others.b_dec) + extras + square(&others.w_skip);
    (squares.iter().sum::<f64>() * weight + others).sqrt()
}

/// `sum_r c_r m_r` over the rows of a matrix (`c_r = 1` without coefficients), in blocks of fixed size whose sums are
/// added in order, so that it does not depend on the number of workers.
fn sum_of_rows(matrix: &[f32], d: usize, coefficients: Option<&[f32]>) -> Vec<f32> {
    const ROWS: usize = 256;
    let partial: Vec<Vec<f32>> = matrix
        .par_chunks(ROWS * d)
        .enumerate()
        .map(|(block, rows)| {
            let mut sum = vec![0f32; d];
            dispatch(
                #[inline(always)]
                || {
                    for (row, values) in rows.chunks_exact(d).enumerate() {
                        let coefficient = coefficients.map_or(1.0, |c| c[block * ROWS + row]);
                        if coefficient != 0.0 {
                            axpy(&mut sum, coefficient, values);
                        }
                    }
                },
            );
            sum
        })
        .collect();
    let mut total = vec![0f32; d];
    partial.iter().for_each(|sum| axpy(&mut total, 1.0, sum));
    total
}
