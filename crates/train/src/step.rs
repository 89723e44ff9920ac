//! One optimiser step, the only place where a training state changes.
//!
//! Forward, then one pass over the latents in which each gathers its gradient, is clipped, moved by Adam and, in the
//! decoder, put back on the unit sphere, all while it is in cache.

use crate::adam::Adam;
use crate::arch;
use crate::arch::crosscoder::{NormPenalty, norm_sum};
use crate::aux_k::{AuxGradients, aux_gradients};
use crate::forward::{Activity, Batch, Scratches, forward};
use crate::gather::{Backward, Firings};
use crate::state::{Parameter, TrainState};
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::encode::Looks;
use untangle_sae::kernels::narrow::NarrowBlock;
use untangle_sae::kernels::vector::{axpy, dispatch, dot};

/// What does not change from step to step.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Gradients are scaled down to this global norm; infinite for no clipping.
    pub clip_norm: f32,
    /// Coefficient of AuxK.
    pub aux_coefficient: f32,
    /// Tokens of silence after which a latent counts as dead.
    pub dead_after: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepReport {
    /// Mean squared error per row, of normalised rows.
    pub loss: f64,
    /// What the loss has beside it: penalties, and the errors of partial reconstructions.
    pub penalty: f64,
    /// The auxiliary loss; zero where nothing was dead.
    pub aux_loss: f64,
    /// Active latents per row.
    pub l0: f64,
    /// Latents per row that could receive a gradient: of JumpReLU those near their threshold as well.
    pub entries: f64,
    /// Dead latents before the step.
    pub dead: usize,
    /// Global norm of the gradient before clipping (estimated from a part of the latents of large dictionaries).
    pub grad_norm: f64,
    /// What it took to be sure of the chosen latents.
    pub looks: Looks,
}

/// Memory that steps share.
#[derive(Debug, Default)]
pub struct Workspace {
    scratch: Scratches,
    activity: Activity,
    firings: Firings,
    others: Others,
}

/// The gradients of everything but the latents' rows of the two matrices.
#[derive(Debug, Default)]
pub struct Others {
    /// Of `b_enc`, `[d_sae]`
    pub b_enc: Vec<f32>,
    /// Of `b_dec`, `[d_out]`
    pub b_dec: Vec<f32>,
    /// Of the latents' further parameters, `[d_sae]` each
    pub extras: Vec<Vec<f32>>,
    /// Of a transcoder's `W_skip`, `[d_out, d_in]`; empty where it has none
    pub w_skip: Vec<f32>,
}

/// Latents that a worker takes at a time; whole panels of the narrow copy.
const LATENT_BLOCK: usize = 64;
/// The gradient norm of large dictionaries is taken from every eighth latent and scaled up: gathering all of them twice
/// would cost a tenth of the step, and the estimate moves the held-out FVU by less than seeds do.
const NORM_STRIDE: usize = 8;
/// Below this number of latents the norm is taken from all.
const NORM_FROM_ALL: usize = 4096;

/// Does one step on a batch at learning rate `lr`.
///
/// # Errors
/// When libtorch refuses a product.
pub fn step(
    state: &mut TrainState,
    batch: &Batch<'_>,
    lr: f64,
    settings: &StepSettings,
    workspace: &mut Workspace,
) -> Result<StepReport, SaeError> {
    let n = batch.n_rows(state.d_in);
    let Workspace { scratch, activity, firings, others } = workspace;
    if arch::is_dense(state) {
        // Before the dense step takes its memory, not after.
        *firings = Firings::default();
    }
    let dead = state.dead(settings.dead_after);
    let n_dead = dead.len();
    activity.dead = if settings.aux_coefficient == 0.0 { Vec::new() } else { dead };
    let dense = forward(state, batch, scratch, activity)?;
    firings.rebuild(state.d_sae, &activity.tiles, state.extras.len());
    let mut aux = aux_gradients(state, activity, settings.aux_coefficient)?;
    if let Some(aux) = &mut aux {
        aux.weigh(&state.fired_at, state.tokens, settings.dead_after);
    }
    let (backward, norms) = (activity.backward(firings, dense.as_ref()), NormPenalty::of(state, n));
    let gradients = Gradients { backward, aux: aux.as_ref(), norms };
    gradients.others(state, others)?;
    let grad_norm = gradients.norm(state, others);
    let scale = (f64::from(settings.clip_norm) / grad_norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
    update(state, &gradients, scale, Adam::at(state.step + 1, lr), others);
    let of_batch = |sparse: usize, dense: Option<u64>| dense.unwrap_or(sparse as u64) as f64 / n as f64;
    let l0 = of_batch(activity.active(), dense.as_ref().map(|d| d.active));
    let entries = of_batch(activity.entries(), dense.as_ref().map(|d| d.entries));
    let report = StepReport {
        loss: activity.loss,
        penalty: activity.penalty,
        aux_loss: aux.as_ref().map_or(0.0, |aux| aux.loss),
        l0,
        entries,
        dead: n_dead,
        grad_norm,
        looks: activity.looks,
    };
    let latents = (0..state.d_sae).into_par_iter().with_min_len(LATENT_BLOCK);
    let fired: Vec<bool> = latents.map(|latent| gradients.backward.fired(latent)).collect();
    state.step += 1;
    state.tokens += n as u64;
    let tokens = state.tokens;
    state.fired_at.iter_mut().zip(fired).filter(|(_, fired)| *fired).for_each(|(at, _)| *at = tokens);
    arch::after_step(state, activity, l0, entries);
    Ok(report)
}

/// The gradients of a step, latent by latent.
pub struct Gradients<'a> {
    /// Of the reconstruction.
    pub backward: Backward<'a>,
    /// Of the auxiliary loss.
    pub aux: Option<&'a AuxGradients>,
    /// Of a crosscoder's penalty on the norms of decoder rows.
    pub norms: Option<NormPenalty>,
}

impl Gradients<'_> {
    /// Replaces `d_w` and `d_d` by the gradients of a latent's encoder and decoder rows, `[d_in]` and
    /// `[d_out]`; `unit_row` is the decoder row that the batch was decoded with.
    #[inline(always)]
    pub fn of(&self, latent: usize, unit_row: &[f32], d_w: &mut [f32], d_d: &mut [f32]) {
        let (d, e) = (d_w.len(), d_d.len());
        self.backward.gather(latent, d_w, d_d);
        if let Some((aux, place)) = self.aux.and_then(|aux| Some((aux, aux.place(latent)?))) {
            axpy(d_w, aux.weights[place], &aux.d_w[place * d..(place + 1) * d]);
            axpy(d_d, aux.weights[place], &aux.d_d[place * e..(place + 1) * e]);
        }
        if let Some(norms) = &self.norms {
            norms.add(unit_row, self.backward.sum_of_acts(latent), d_d);
        }
        // Decoder rows stay on the unit sphere, so the part of the gradient along the row is left out.
        let along = dot(d_d, unit_row);
        axpy(d_d, -along, unit_row);
    }

    /// Replaces `others` by the gradients of this batch. An autoencoder has `dL/db_dec = sum_r g_r - sum_i dL/db_i w_i`,
    /// because `b_dec` is added to x_hat and subtracted from every z; a transcoder has the first term alone.
    ///
    /// # Errors
    /// When libtorch refuses a product.
    pub fn others(&self, state: &TrainState, others: &mut Others) -> Result<(), SaeError> {
        let Others { b_enc: d_b, b_dec: d_b_dec, extras: d_extras, w_skip: d_skip } = others;
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
        arch::finish_vectors(state, d_b, d_extras);
        arch::transcoder::skip_gradient(state, self.backward.centred, &self.backward.d_out[0], d_skip)
    }

    /// Norm over all parameters together.
    pub fn norm(&self, state: &TrainState, others: &Others) -> f64 {
        let stride = if state.d_sae < NORM_FROM_ALL { 1 } else { NORM_STRIDE };
        // Another eighth at every step, so that no latent is overlooked for good.
        let first = state.step as usize % stride;
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
                            self.of(latent, unit_row, &mut d_w, &mut d_d);
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

/// A block of latents' matrix rows and their moments, borrowed apart from all others.
struct Block<'a> {
    first: usize,
    enc: Rows<'a>,
    dec: Rows<'a>,
    narrow: Option<NarrowBlock<'a>>,
    norm_sums: Option<&'a mut [f32]>,
    parts: usize,
}

struct Rows<'a> {
    value: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    /// Whether `v` has one value for a row.
    second_of_rows: bool,
}

impl Rows<'_> {
    #[inline(always)]
    fn update(&mut self, at: std::ops::Range<usize>, adam: Adam, gradient: &[f32]) {
        let (value, m) = (&mut self.value[at.clone()], &mut self.m[at.clone()]);
        match self.second_of_rows {
            true => adam.update_row(value, m, &mut self.v[at.start / gradient.len()], gradient),
            false => adam.update(value, m, &mut self.v[at], gradient),
        }
    }
}

fn rows_of(parameter: &mut Parameter, size: usize) -> impl Iterator<Item = Rows<'_>> {
    let second_of_rows = parameter.v.len() != parameter.value.len();
    let second = if second_of_rows { LATENT_BLOCK } else { size };
    let moments = parameter.m.chunks_mut(size).zip(parameter.v.chunks_mut(second));
    let rows = parameter.value.chunks_mut(size).zip(moments);
    rows.map(move |(value, (m, v))| Rows { value, m, v, second_of_rows })
}

impl Block<'_> {
    /// Gathers, clips, moves and normalises latent after latent.
    #[inline(always)]
    fn update(mut self, gradients: &Gradients<'_>, scale: f32, adam: Adam, d_w: &mut [f32], d_d: &mut [f32]) {
        let (d, e) = (d_w.len(), d_d.len());
        for place in 0..self.dec.value.len() / e {
            let (at, of_dec) = (place * d..(place + 1) * d, place * e..(place + 1) * e);
            gradients.of(self.first + place, &self.dec.value[of_dec.clone()], d_w, d_d);
            d_w.iter_mut().chain(d_d.iter_mut()).for_each(|g| *g *= scale);
            self.enc.update(at.clone(), adam, d_w);
            self.dec.update(of_dec.clone(), adam, d_d);
            normalise(&mut self.dec.value[of_dec.clone()]);
            if let Some(norm_sums) = &mut self.norm_sums {
                norm_sums[place] = norm_sum(&self.dec.value[of_dec], self.parts);
            }
            if let Some(narrow) = &mut self.narrow {
                narrow.set(place, &self.enc.value[at]);
            }
        }
    }
}

#[inline(always)]
pub(crate) fn normalise(row: &mut [f32]) {
    let inverse = 1.0 / dot(row, row).sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|w| *w *= inverse);
}

/// Applies the gradients, scaled by `scale`, to all parameters.
fn update(state: &mut TrainState, gradients: &Gradients<'_>, scale: f32, adam: Adam, others: &mut Others) {
    let (d, e) = (state.d_in, state.d_out);
    let mut narrow = state.narrow.as_mut().map(|w| w.blocks_mut(LATENT_BLOCK, d));
    let (mut sums, parts) = (state.norm_sums.chunks_mut(LATENT_BLOCK), state.architecture.parts());
    let blocks: Vec<Block<'_>> = rows_of(&mut state.w_enc, LATENT_BLOCK * d)
        .zip(rows_of(&mut state.w_dec, LATENT_BLOCK * e))
        .enumerate()
        .map(|(i, (enc, dec))| {
            let narrow = narrow.as_mut().and_then(Iterator::next);
            Block { first: i * LATENT_BLOCK, enc, dec, narrow, norm_sums: sums.next(), parts }
        })
        .collect();
    blocks.into_par_iter().for_each(|block| {
        let (mut d_w, mut d_d) = (vec![0f32; d], vec![0f32; e]);
        dispatch(
            #[inline(always)]
            || block.update(gradients, scale, adam, &mut d_w, &mut d_d),
        );
    });
    let vectors = [(&mut state.b_enc, &mut others.b_enc), (&mut state.b_dec, &mut others.b_dec)];
    let extras = state.extras.iter_mut().zip(&mut others.extras);
    let skip = state.w_skip.as_mut().map(|w_skip| (w_skip, &mut others.w_skip));
    for (parameter, gradient) in vectors.into_iter().chain(extras).chain(skip) {
        gradient.iter_mut().for_each(|g| *g *= scale);
        dispatch(
            #[inline(always)]
            || parameter.update(adam, gradient),
        );
    }
}
