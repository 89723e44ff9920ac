//! One optimiser step, the only place where a training state changes.
//!
//! Forward, then one pass over the latents in which each gathers its gradient, is clipped, moved by Adam and, in the
//! decoder, put back on the unit sphere, all while it is in cache.

use crate::adam::Adam;
use crate::arch;
use crate::aux_k::{AuxGradients, aux_gradients};
use crate::forward::{Activity, Scratches, forward};
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
    /// Rows are multiplied by this.
    pub factor: f32,
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
    d_b: Vec<f32>,
    d_b_dec: Vec<f32>,
    d_extras: Vec<Vec<f32>>,
}

/// Latents that a worker takes at a time; whole panels of the narrow copy.
const LATENT_BLOCK: usize = 64;
/// The gradient norm of large dictionaries is taken from every eighth latent and scaled up: gathering all of them twice
/// would cost a tenth of the step, and the estimate moves the held-out FVU by less than seeds do.
const NORM_STRIDE: usize = 8;
/// Below this number of latents the norm is taken from all.
const NORM_FROM_ALL: usize = 4096;

/// Does one step on `rows`, `[n, d_in]`, at learning rate `lr`.
///
/// # Errors
/// When libtorch refuses a product.
pub fn step(
    state: &mut TrainState,
    rows: &[f32],
    lr: f64,
    settings: &StepSettings,
    workspace: &mut Workspace,
) -> Result<StepReport, SaeError> {
    let n = rows.len() / state.d_in;
    let Workspace { scratch, activity, firings, d_b, d_b_dec, d_extras } = workspace;
    let dense = forward(state, rows, settings.factor, scratch, activity)?;
    firings.rebuild(state.d_sae, &activity.tiles, state.extras.len());
    let dead = state.dead(settings.dead_after);
    let n_dead = dead.len();
    let aux = aux_gradients(state, activity, dead, settings.aux_coefficient)?;
    let gradients = Gradients { backward: activity.backward(firings, dense.as_ref()), aux: aux.as_ref() };
    gradients.vectors(state, d_b, d_b_dec, d_extras);
    let grad_norm = gradients.norm(state, d_b, d_b_dec, d_extras);
    let scale = (f64::from(settings.clip_norm) / grad_norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
    update(state, &gradients, scale, Adam::at(state.step + 1, lr), d_b, d_b_dec, d_extras);
    let of_batch = |sparse: usize, dense: Option<u64>| dense.unwrap_or(sparse as u64) as f64 / n as f64;
    let l0 = of_batch(activity.active(), dense.as_ref().map(|d| d.active));
    let entries = of_batch(activity.entries(), dense.as_ref().map(|d| d.entries));
    let report = StepReport {
        loss: activity.loss,
        penalty: activity.penalty,
        aux_loss: aux.as_ref().map_or(0.0, |aux| aux.loss),
        l0,
        dead: n_dead,
        grad_norm,
        looks: activity.looks,
    };
    let fired = (0..state.d_sae).map(|latent| gradients.backward.fired(latent));
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
}

impl Gradients<'_> {
    /// Replaces `d_w` and `d_d` by the gradients of a latent's encoder and decoder rows, `[d_in]` each; `unit_row` is the
    /// decoder row that the batch was decoded with.
    #[inline(always)]
    pub fn of(&self, latent: usize, unit_row: &[f32], d_w: &mut [f32], d_d: &mut [f32]) {
        let d = unit_row.len();
        self.backward.gather(latent, d_w, d_d);
        if let Some((aux, place)) = self.aux.and_then(|aux| Some((aux, aux.place(latent)?))) {
            axpy(d_w, 1.0, &aux.d_w[place * d..(place + 1) * d]);
            axpy(d_d, 1.0, &aux.d_d[place * d..(place + 1) * d]);
        }
        // Decoder rows stay on the unit sphere, so the part of the gradient along the row is left out.
        let along = dot(d_d, unit_row);
        axpy(d_d, -along, unit_row);
    }

    /// Replaces `d_b` by the gradient of `b_enc`, `d_b_dec` by that of `b_dec` and `d_extras` by those of the further
    /// parameters: `dL/db_dec = sum_r g_r - sum_i dL/db_i w_i`, because `b_dec` is added to x_hat and subtracted from every
    /// z.
    pub fn vectors(
        &self,
        state: &TrainState,
        d_b: &mut Vec<f32>,
        d_b_dec: &mut Vec<f32>,
        d_extras: &mut Vec<Vec<f32>>,
    ) {
        d_b.clear();
        d_b.extend((0..state.d_sae).map(|latent| self.backward.bias(latent)));
        if let Some(aux) = self.aux {
            aux.dead.iter().zip(&aux.d_b).for_each(|(&latent, g)| d_b[latent as usize] += g);
        }
        let of_rows = sum_of_rows(&self.backward.d_out[0], state.d_in, None);
        let of_latents = sum_of_rows(&state.w_enc.value, state.d_in, Some(d_b));
        d_b_dec.clear();
        d_b_dec.extend(of_rows.iter().zip(&of_latents).map(|(r, l)| r - l));
        d_extras.resize_with(state.extras.len(), Vec::new);
        for (extra, gradient) in d_extras.iter_mut().enumerate() {
            gradient.clear();
            gradient.extend((0..state.d_sae).map(|latent| self.backward.extra(extra, latent)));
        }
        arch::finish_vectors(state, d_b, d_extras);
    }

    /// Norm over all parameters together.
    pub fn norm(&self, state: &TrainState, d_b: &[f32], d_b_dec: &[f32], d_extras: &[Vec<f32>]) -> f64 {
        let stride = if state.d_sae < NORM_FROM_ALL { 1 } else { NORM_STRIDE };
        // Another eighth at every step, so that no latent is overlooked for good.
        let first = state.step as usize % stride;
        let sampled: Vec<usize> = (first..state.d_sae).step_by(stride).collect();
        let squares: Vec<f64> = sampled
            .par_chunks(LATENT_BLOCK)
            .map(|latents| {
                let (mut d_w, mut d_d) = (vec![0f32; state.d_in], vec![0f32; state.d_in]);
                dispatch(
                    #[inline(always)]
                    || {
                        let mut sum = 0f64;
                        for &latent in latents {
                            let unit_row = &state.w_dec.value[latent * state.d_in..(latent + 1) * state.d_in];
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
        let vectors = square(d_b) + square(d_b_dec) + d_extras.iter().map(|g| square(g)).sum::<f64>();
        (squares.iter().sum::<f64>() * weight + vectors).sqrt()
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
        let d = d_w.len();
        for place in 0..self.dec.value.len() / d {
            let at = place * d..(place + 1) * d;
            gradients.of(self.first + place, &self.dec.value[at.clone()], d_w, d_d);
            d_w.iter_mut().chain(d_d.iter_mut()).for_each(|g| *g *= scale);
            self.enc.update(at.clone(), adam, d_w);
            self.dec.update(at.clone(), adam, d_d);
            normalise(&mut self.dec.value[at.clone()]);
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
fn update(
    state: &mut TrainState,
    gradients: &Gradients<'_>,
    scale: f32,
    adam: Adam,
    d_b: &mut [f32],
    d_b_dec: &mut [f32],
    d_extras: &mut [Vec<f32>],
) {
    let d = state.d_in;
    let size = LATENT_BLOCK * d;
    let mut narrow = state.narrow.as_mut().map(|w| w.blocks_mut(LATENT_BLOCK, d));
    let blocks: Vec<Block<'_>> = rows_of(&mut state.w_enc, size)
        .zip(rows_of(&mut state.w_dec, size))
        .enumerate()
        .map(|(i, (enc, dec))| {
            let narrow = narrow.as_mut().and_then(Iterator::next);
            Block { first: i * LATENT_BLOCK, enc, dec, narrow }
        })
        .collect();
    blocks.into_par_iter().for_each(|block| {
        let (mut d_w, mut d_d) = (vec![0f32; d], vec![0f32; d]);
        dispatch(
            #[inline(always)]
            || block.update(gradients, scale, adam, &mut d_w, &mut d_d),
        );
    });
    let vectors = [(&mut state.b_enc, d_b), (&mut state.b_dec, d_b_dec)];
    let extras = state.extras.iter_mut().zip(d_extras.iter_mut().map(|g| &mut g[..]));
    for (parameter, gradient) in vectors.into_iter().chain(extras) {
        gradient.iter_mut().for_each(|g| *g *= scale);
        dispatch(
            #[inline(always)]
            || parameter.update(adam, gradient),
        );
    }
}
