//! A step's products where so many latents fire that sparse algebra costs more: the beginning of what is made sparse by a
//! penalty, and single rows of nothing else.
//!
//! ```text
//! P = Z W_enc^T + b        F = sigma(P)        E = F W_dec - Z        G = 2/n E        H = G W_dec^T
//! dL/dW_enc = D^T Z,  dL/dW_dec = F^T G        with D = dL/d(W_enc z), entry by entry what the rule says of (P, F, H)
//! ```
//!
//! The same rules, in bf16 where the encoder product runs in it and else in f32. Rows are taken in chunks, so that memory does not grow with the
//! batch; every sum has a fixed order.

use crate::arch::rule::{At, Rule, Totals, WithRule};
use crate::forward::Activity;
use crate::state::TrainState;
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::{Buffer, Element, matmul_nn, matmul_nt, matmul_tn};
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::narrow::NarrowWeights;
use untangle_sae::kernels::vector::dispatch;

/// Gradients of a batch, dense.
#[derive(Debug)]
pub struct DenseGradients {
    /// dL/dw_i, `[d_sae, d_in]`
    pub d_w: Buffer<f32>,
    /// dL/dd_i, `[d_sae, d_in]`
    pub d_d: Buffer<f32>,
    /// Sum over rows of dL/d(w_i · z), `[d_sae]`
    pub d_b: Vec<f32>,
    /// Gradients of further parameters, `[d_sae]` each
    pub d_extra: [Vec<f32>; 2],
    /// Sum over rows of the activations, `[d_sae]`
    pub acts: Vec<f32>,
    /// Which latents fired, `[d_sae]`
    pub fired: Vec<bool>,
    /// Number of firings of all latents
    pub active: u64,
    /// Number of entries that sparse algebra would have had
    pub entries: u64,
}

/// Elements of one matrix of a chunk, `[rows, d_sae]`: 32 MiB in f32.
pub(crate) const CHUNK_ELEMENTS: usize = 1 << 23;
/// Latents whose gradients one worker takes at a time.
const LATENT_BLOCK: usize = 64;

/// The pre-activations of a chunk of rows.
struct Chunk<T: Element> {
    centred: Buffer<T>,
    pre: Buffer<T>,
    /// Row of the batch at which it begins.
    first: usize,
}

/// Forward and backward of a batch whose rows are centred in `activity`; fills its loss and its gradient at the
/// reconstruction.
///
/// # Errors
/// When libtorch refuses a product.
pub fn dense_gradients(state: &TrainState, activity: &mut Activity) -> Result<DenseGradients, SaeError> {
    activity.clear_entries();
    match &state.narrow {
        Some(NarrowWeights::Bf16(w_enc)) => {
            Task { state, w_enc, w_dec: &Buffer::<bf16>::narrowed(&state.w_dec.value) }.solve(activity)
        }
        Some(NarrowWeights::Int8(_)) | None => {
            Task::<f32> { state, w_enc: &state.w_enc.value, w_dec: &state.w_dec.value }.solve(activity)
        }
    }
}

struct Task<'a, T: Element> {
    state: &'a TrainState,
    w_enc: &'a [T],
    w_dec: &'a [T],
}

impl<T: Element> Task<'_, T> {
    fn solve(&self, activity: &mut Activity) -> Result<DenseGradients, SaeError> {
        let (d, f) = (self.state.d_in, self.state.d_sae);
        let n = activity.centred.len() / d;
        activity.d_out.resize_with(1, Vec::new);
        activity.d_out[0].resize(n * d, 0.0);
        (activity.loss, activity.penalty) = (0.0, 0.0);
        let mut gradients = DenseGradients {
            d_w: Buffer::zeros(f * d),
            d_d: Buffer::zeros(f * d),
            d_b: vec![0.0; f],
            d_extra: [vec![0.0; f], vec![0.0; f]],
            acts: vec![0.0; f],
            fired: vec![false; f],
            active: 0,
            entries: 0,
        };
        let rows = (CHUNK_ELEMENTS / f / TILE_ROWS).max(1) * TILE_ROWS;
        for first in (0..n).step_by(rows) {
            let at = first * d..(first + rows).min(n) * d;
            let centred = Buffer::<T>::narrowed(&activity.centred[at.clone()]);
            let chunk = self.pre_activations(centred, first)?;
            let l0 = crate::arch::l0_of(self.state, &chunk.pre);
            let pass = Pass { task: self, chunk: &chunk, n, wide: &activity.centred[at.clone()] };
            let d_out = &mut activity.d_out[0][at];
            let (passed, totals) = crate::arch::with_rule(self.state, n, l0, PassRows { pass, d_out })?;
            activity.loss += totals.squared_error / n as f64;
            activity.penalty += totals.penalty;
            passed.add_to(&chunk, &activity.d_out[0][first * d..], &mut gradients)?;
        }
        activity.penalty += crate::arch::batch_penalty(self.state, gradients.active as f64 / n as f64);
        Ok(gradients)
    }

    /// `P` of a chunk.
    fn pre_activations(&self, centred: Buffer<T>, first: usize) -> Result<Chunk<T>, SaeError> {
        let (d, f) = (self.state.d_in, self.state.d_sae);
        let mut pre = Buffer::<T>::zeros(centred.len() / d * f);
        pre.par_chunks_mut(TILE_ROWS * f).zip(centred.par_chunks(TILE_ROWS * d)).try_for_each(|(pre, centred)| {
            matmul_nt(centred, self.w_enc, pre, d)?;
            for row in pre.chunks_exact_mut(f) {
                row.iter_mut().zip(&self.state.b_enc.value[..]).for_each(|(p, b)| *p = T::narrow(p.widen() + b));
            }
            Ok::<(), SaeError>(())
        })?;
        Ok(Chunk { centred, pre, first })
    }
}

#[derive(Clone, Copy)]
struct Pass<'a, T: Element> {
    task: &'a Task<'a, T>,
    chunk: &'a Chunk<T>,
    n: usize,
    /// `z` of the chunk in f32.
    wide: &'a [f32],
}

/// Of a chunk: `F`, `D`, and sums by latent of every tile.
struct Passed<T: Element> {
    acts: Buffer<T>,
    d_pre: Buffer<T>,
    sums: Vec<Sums>,
}

/// Sums of a tile of rows by latent.
struct Sums {
    d_b: Vec<f32>,
    d_extra: [Vec<f32>; 2],
    acts: Vec<f32>,
    fired: Vec<bool>,
    active: u64,
    entries: u64,
    totals: Totals,
}

struct PassRows<'a, T: Element> {
    pass: Pass<'a, T>,
    d_out: &'a mut [f32],
}

impl<T: Element> WithRule for PassRows<'_, T> {
    type Out = Result<(Passed<T>, Totals), SaeError>;

    fn with<R: Rule>(self, rule: &R) -> Self::Out {
        let (d, f) = (self.pass.task.state.d_in, self.pass.task.state.d_sae);
        let len = self.pass.chunk.pre.len();
        let (mut acts, mut d_pre) = (Buffer::zeros(len), Buffer::zeros(len));
        let sums: Vec<Sums> = (acts.par_chunks_mut(TILE_ROWS * f))
            .zip(d_pre.par_chunks_mut(TILE_ROWS * f))
            .zip(self.d_out.par_chunks_mut(TILE_ROWS * d))
            .zip(self.pass.chunk.pre.par_chunks(TILE_ROWS * f))
            .zip(self.pass.wide.par_chunks(TILE_ROWS * d))
            .map(|((((acts, d_pre), d_out), pre), z)| self.pass.tile(rule, pre, z, acts, d_pre, d_out))
            .collect::<Result<_, SaeError>>()?;
        let mut totals = Totals::default();
        for sum in &sums {
            totals.squared_error += sum.totals.squared_error;
            totals.penalty += sum.totals.penalty;
        }
        Ok((Passed { acts, d_pre, sums }, totals))
    }
}

impl<T: Element> Pass<'_, T> {
    fn tile<R: Rule>(
        &self,
        rule: &R,
        pre: &[T],
        z: &[f32],
        acts: &mut [T],
        d_pre: &mut [T],
        d_out: &mut [f32],
    ) -> Result<Sums, SaeError> {
        let (d, f) = (self.task.state.d_in, self.task.state.d_sae);
        let mut gated = Buffer::<T>::zeros(if R::GATED { pre.len() } else { 0 });
        let mut totals = Totals::default();
        if R::GATED {
            gated.iter_mut().zip(pre).for_each(|(gate, p)| *gate = T::narrow(rule.gate(p.widen())));
            let (error, square) = self.reconstruct(&gated, z, None)?;
            totals.penalty += square / self.n as f64;
            matmul_nt(&error, self.task.w_dec, &mut gated, d)?;
        }
        dispatch(
            #[inline(always)]
            || {
                for (acts, pre) in acts.chunks_exact_mut(f).zip(pre.chunks_exact(f)) {
                    for (latent, (act, p)) in acts.iter_mut().zip(pre).enumerate() {
                        *act = T::narrow(rule.act(latent, p.widen()));
                    }
                }
            },
        );
        let (error, square) = self.reconstruct(acts, z, Some(d_out))?;
        totals.squared_error += square;
        matmul_nt(&error, self.task.w_dec, d_pre, d)?;
        let mut sums = Sums::new::<R>(f, totals);
        dispatch(
            #[inline(always)]
            || sums.differentiate(rule, pre, acts, &gated, d_pre),
        );
        Ok(sums)
    }

    /// The gradient at a reconstruction, in `T` and where wanted in f32, and the sum of squared errors.
    fn reconstruct(&self, acts: &[T], z: &[f32], mut wide: Option<&mut [f32]>) -> Result<(Buffer<T>, f64), SaeError> {
        let (d, f) = (self.task.state.d_in, self.task.state.d_sae);
        let scale = 2.0 / self.n as f32;
        let mut out = Buffer::<T>::zeros(z.len());
        matmul_nn(acts, self.task.w_dec, &mut out, f, d)?;
        let mut total = 0f64;
        for (row, (out, z)) in out.chunks_exact_mut(d).zip(z.chunks_exact(d)).enumerate() {
            let mut square = 0f32;
            for (column, (out, z)) in out.iter_mut().zip(z).enumerate() {
                let error = out.widen() - z;
                square += error * error;
                *out = T::narrow(scale * error);
                if let Some(wide) = wide.as_deref_mut() {
                    wide[row * d + column] = scale * error;
                }
            }
            total += f64::from(square);
        }
        Ok((out, total))
    }
}

impl Sums {
    fn new<R: Rule>(f: usize, totals: Totals) -> Self {
        let extra = |at: usize| vec![0f32; if at < R::EXTRAS { f } else { 0 }];
        let d_extra = [extra(0), extra(1)];
        Sums { d_b: vec![0.0; f], d_extra, acts: vec![0.0; f], fired: vec![false; f], active: 0, entries: 0, totals }
    }

    /// Turns `H` in `d_pre` into `D`, row after row.
    #[inline(always)]
    fn differentiate<R: Rule, T: Element>(&mut self, rule: &R, pre: &[T], acts: &[T], gated: &[T], d_pre: &mut [T]) {
        let f = self.d_b.len();
        for (row, (d_pre, (pre, acts))) in
            d_pre.chunks_exact_mut(f).zip(pre.chunks_exact(f).zip(acts.chunks_exact(f))).enumerate()
        {
            let mut penalty = 0f32;
            for latent in 0..f {
                let h_gate = if R::GATED { gated[row * f + latent].widen() } else { 0.0 };
                let (p, act, h) = (pre[latent].widen(), acts[latent].widen(), d_pre[latent].widen());
                let local = rule.back(At { latent, p, f: act, h, h_gate });
                d_pre[latent] = T::narrow(local.d_pre);
                penalty += local.penalty;
                self.d_b[latent] += local.d_pre;
                self.acts[latent] += act;
                for extra in 0..R::EXTRAS {
                    self.d_extra[extra][latent] += local.d_extra[extra];
                }
                self.fired[latent] |= act > 0.0;
                self.active += u64::from(act > 0.0);
                self.entries += u64::from(act > 0.0 || local.d_pre != 0.0 || local.d_extra[0] != 0.0);
            }
            self.totals.penalty += f64::from(penalty);
        }
    }
}

impl<T: Element> Passed<T> {
    /// Adds the chunk's gradients; `d_out` begins at its first row.
    fn add_to(&self, chunk: &Chunk<T>, d_out: &[f32], into: &mut DenseGradients) -> Result<(), SaeError> {
        let f = into.d_b.len();
        let d = into.d_w.len() / f;
        let g = Buffer::<T>::narrowed(&d_out[..chunk.centred.len()]);
        debug_assert!(chunk.first.is_multiple_of(TILE_ROWS));
        into.d_w
            .par_chunks_mut(LATENT_BLOCK * d)
            .zip(into.d_d.par_chunks_mut(LATENT_BLOCK * d))
            .enumerate()
            .try_for_each(|(block, (d_w, d_d))| {
                let columns = block * LATENT_BLOCK..block * LATENT_BLOCK + d_w.len() / d;
                add_product(&columns_of(&self.d_pre, f, columns.clone()), &chunk.centred, d_w, d)?;
                add_product(&columns_of(&self.acts, f, columns), &g, d_d, d)
            })?;
        for sums in &self.sums {
            let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            add(&mut into.d_b, &sums.d_b);
            add(&mut into.acts, &sums.acts);
            into.d_extra.iter_mut().zip(&sums.d_extra).for_each(|(to, from)| add(to, from));
            into.fired.iter_mut().zip(&sums.fired).for_each(|(to, from)| *to |= from);
            into.active += sums.active;
            into.entries += sums.entries;
        }
        Ok(())
    }
}

/// The columns of a row-major matrix of this width, contiguous.
pub(crate) fn columns_of<T: Element>(matrix: &[T], width: usize, columns: Range<usize>) -> Buffer<T> {
    let mut out = Buffer::zeros(matrix.len() / width * columns.len());
    for (to, from) in out.chunks_exact_mut(columns.len()).zip(matrix.chunks_exact(width)) {
        to.copy_from_slice(&from[columns.clone()]);
    }
    out
}

/// `out += aᵀ b` in f32, from operands in `T`.
pub(crate) fn add_product<T: Element>(a: &[T], b: &[T], out: &mut [f32], d: usize) -> Result<(), SaeError> {
    let m = out.len() / d;
    let mut product = Buffer::<T>::zeros(m * d);
    matmul_tn(a, b, &mut product, m, d)?;
    out.iter_mut().zip(product.iter()).for_each(|(out, p)| *out += p.widen());
    Ok(())
}
