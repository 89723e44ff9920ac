//! A step's products where so many latents fire that sparse algebra costs more: the beginning of what is made sparse by a
//! penalty, and single rows of nothing else.
//!
//! ```text
//! P = Z W_enc^T + b        F = sigma(P)        E = F W_dec - Z        G = 2/n E        H = G W_dec^T
//! dL/dW_enc = D^T Z,  dL/dW_dec = F^T G        with D = dL/d(W_enc z), entry by entry what the rule says of (P, F, H)
//! ```
//!
//! The same rules; the products run in the arithmetic in which the encoder product proposes, bytes in the first half
//! of a run only (see `products.rs`). Rows are
//! taken in chunks, so that memory does not grow with the batch; every sum has a fixed order.

use crate::activity::Activity;
use crate::arch::Architecture;
use crate::arch::decode::Totals;
use crate::arch::rule::{At, Rule, WithRule};
use crate::products::{Bytes, Native, Products};
use crate::state::TrainState;
use half::bf16;
use rayon::prelude::*;
use untangle_sae::kernels::buffer::{Buffer, Element};
use untangle_sae::kernels::narrow::NarrowWeights;
use untangle_sae::kernels::vector::dispatch;
use untangle_sae::{Precision, SaeError};

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
/// Rows that one worker takes at a time: the weights of a product are read once for so many.
pub(crate) const DENSE_ROWS: usize = 64;
/// Latents whose gradients one worker takes at a time.
const LATENT_BLOCK: usize = 64;

/// The matrices of a chunk of rows; the memory is used again for the next one.
struct Chunk<T: Element> {
    /// `Z`, `[rows, d_in]`
    centred: Buffer<T>,
    /// `P`, `[rows, d_sae]`
    pre: Buffer<T>,
    /// `F`, `[rows, d_sae]`
    acts: Buffer<T>,
    /// `H` and then `D`, `[rows, d_sae]`
    d_pre: Buffer<T>,
}

/// Forward and backward of a batch whose rows are centred in `activity`; fills its loss and its gradient at the
/// reconstruction. The products run in `precision` where the state has its weights in it, else in f32.
///
/// # Errors
/// When libtorch refuses a product.
pub fn dense_gradients(
    state: &TrainState,
    architecture: &Architecture,
    activity: &mut Activity,
    precision: Precision,
) -> Result<DenseGradients, SaeError> {
    activity.clear_entries();
    match &state.narrow {
        Some(NarrowWeights::Bf16(w_enc)) => {
            Task { state, architecture, products: Native::<bf16>::of(state, w_enc) }.solve(activity)
        }
        Some(NarrowWeights::Int8(w_enc)) if precision == Precision::Int8 => {
            Task { state, architecture, products: Bytes::of(state, w_enc) }.solve(activity)
        }
        _ => Task { state, architecture, products: Native::<f32>::of(state) }.solve(activity),
    }
}

struct Task<'a, P: Products> {
    state: &'a TrainState,
    architecture: &'a Architecture,
    products: P,
}

impl<P: Products> Task<'_, P> {
    fn solve(&self, activity: &mut Activity) -> Result<DenseGradients, SaeError> {
        let (d, f) = (self.state.d_in, self.state.d_sae);
        let n = activity.centred.len() / d;
        activity.d_out.resize_with(1, Buffer::default);
        activity.d_out[0].set_len(n * d);
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
        let rows = ((CHUNK_ELEMENTS / f / DENSE_ROWS).max(1) * DENSE_ROWS).min(n);
        let zeros = |width: usize| Buffer::<P::T>::zeros(rows * width);
        let mut chunk = Chunk { centred: zeros(d), pre: zeros(f), acts: zeros(f), d_pre: zeros(f) };
        for (wide, d_out) in activity.centred.chunks(rows * d).zip(activity.d_out[0].chunks_mut(rows * d)) {
            let part = &mut chunk.first(wide.len() / d, d, f);
            part.centred.iter_mut().zip(wide).for_each(|(z, &wide)| *z = P::T::narrow(wide));
            self.pre_activations(part)?;
            let l0 = self.architecture.l0_of(self.state, part.pre);
            let pass = PassRows { task: self, n, wide, d_out, part };
            let sums = self.architecture.with_rule(self.state, n, l0, pass)?;
            sums.iter().for_each(|sums| gradients.add(sums));
            activity.loss += sums.iter().map(|sums| sums.totals.squared_error).sum::<f64>() / n as f64;
            activity.penalty += sums.iter().map(|sums| sums.totals.penalty).sum::<f64>();
            self.add_products(part, d_out, &mut gradients)?;
        }
        activity.penalty += self.architecture.batch_penalty(self.state, gradients.active as f64 / n as f64);
        Ok(gradients)
    }

    /// `P` of a chunk.
    fn pre_activations(&self, part: &mut ChunkViews<'_, P::T>) -> Result<(), SaeError> {
        let (d, f) = (self.state.d_in, self.state.d_sae);
        let rows = part.pre.par_chunks_mut(DENSE_ROWS * f).zip(part.centred.par_chunks(DENSE_ROWS * d));
        rows.try_for_each(|(pre, centred)| self.products.encode(centred, &self.state.b_enc.value, pre))
    }

    /// Adds the gradients of the chunk's matrices; `d_out` is the gradient at its reconstructions.
    fn add_products(
        &self,
        part: &ChunkViews<'_, P::T>,
        d_out: &[f32],
        into: &mut DenseGradients,
    ) -> Result<(), SaeError> {
        let d = self.state.d_in;
        let g = Buffer::<P::T>::narrowed(d_out);
        let (z, g) = rayon::join(|| self.products.right(part.centred), || self.products.right(&g));
        let blocks = into.d_w.par_chunks_mut(LATENT_BLOCK * d).zip(into.d_d.par_chunks_mut(LATENT_BLOCK * d));
        blocks.enumerate().try_for_each(|(block, (d_w, d_d))| {
            let columns = block * LATENT_BLOCK..block * LATENT_BLOCK + d_w.len() / d;
            self.products.add(part.d_pre, columns.clone(), &z, d_w)?;
            self.products.add(part.acts, columns, &g, d_d)
        })
    }
}

impl<T: Element> Chunk<T> {
    /// The matrices of its first `n` rows.
    fn first(&mut self, n: usize, d: usize, f: usize) -> ChunkViews<'_, T> {
        ChunkViews {
            centred: &mut self.centred[..n * d],
            pre: &mut self.pre[..n * f],
            acts: &mut self.acts[..n * f],
            d_pre: &mut self.d_pre[..n * f],
        }
    }
}

/// A chunk, or as much of one as there are rows.
struct ChunkViews<'a, T: Element> {
    centred: &'a mut [T],
    pre: &'a mut [T],
    acts: &'a mut [T],
    d_pre: &'a mut [T],
}

/// Sums of a tile of rows by latent.
struct Sums {
    d_b: Vec<f32>,
    d_extra: [Vec<f32>; 2],
    acts: Vec<f32>,
    active: u64,
    entries: u64,
    totals: Totals,
}

/// Forward and backward of a chunk as far as rows go.
struct PassRows<'a, 'b, P: Products> {
    task: &'a Task<'a, P>,
    /// Rows of the batch.
    n: usize,
    /// `z` of the chunk in f32.
    wide: &'a [f32],
    /// The gradient at its reconstructions.
    d_out: &'a mut [f32],
    part: &'a mut ChunkViews<'b, P::T>,
}

impl<P: Products> WithRule for PassRows<'_, '_, P> {
    type Out = Result<Vec<Sums>, SaeError>;

    fn with<R: Rule>(self, rule: &R) -> Self::Out {
        let PassRows { task, n, wide, d_out, part } = self;
        let (d, f) = (task.state.d_in, task.state.d_sae);
        (part.acts.par_chunks_mut(DENSE_ROWS * f))
            .zip(part.d_pre.par_chunks_mut(DENSE_ROWS * f))
            .zip(d_out.par_chunks_mut(DENSE_ROWS * d))
            .zip(part.pre.par_chunks(DENSE_ROWS * f))
            .zip(wide.par_chunks(DENSE_ROWS * d))
            .map(|((((acts, d_pre), d_out), pre), z)| task.pass(rule, n, Rows { pre, z, acts, d_pre, d_out }))
            .collect()
    }
}

/// Some rows of a chunk.
struct Rows<'a, T> {
    pre: &'a [T],
    z: &'a [f32],
    acts: &'a mut [T],
    d_pre: &'a mut [T],
    d_out: &'a mut [f32],
}

impl<P: Products> Task<'_, P> {
    fn pass<R: Rule>(&self, rule: &R, n: usize, rows: Rows<'_, P::T>) -> Result<Sums, SaeError> {
        let f = self.state.d_sae;
        let Rows { pre, z, acts, d_pre, d_out } = rows;
        let mut gated = Buffer::<P::T>::zeros(if R::GATED { pre.len() } else { 0 });
        let mut totals = Totals::default();
        if R::GATED {
            dispatch(
                #[inline(always)]
                || gated.iter_mut().zip(pre).for_each(|(gate, p)| *gate = P::T::narrow(rule.gate(p.widen()))),
            );
            let (error, square) = self.reconstruct(&gated, z, n, None)?;
            totals.penalty += square / n as f64;
            self.products.send_back(&error, &mut gated)?;
        }
        dispatch(
            #[inline(always)]
            || {
                let f = f.min(rule.latents());
                for (acts, pre) in acts.chunks_exact_mut(f).zip(pre.chunks_exact(f)) {
                    for latent in 0..f {
                        acts[latent] = P::T::narrow(rule.act(latent, pre[latent].widen()));
                    }
                }
            },
        );
        let (error, square) = self.reconstruct(acts, z, n, Some(d_out))?;
        totals.squared_error += square;
        self.products.send_back(&error, d_pre)?;
        let mut sums = Sums::new::<R>(f, totals);
        dispatch(
            #[inline(always)]
            || sums.differentiate(rule, pre, acts, &gated, d_pre),
        );
        Ok(sums)
    }

    /// The gradient at a reconstruction, in `T` and where wanted in f32, and the sum of squared errors.
    fn reconstruct(
        &self,
        acts: &[P::T],
        z: &[f32],
        n: usize,
        mut wide: Option<&mut [f32]>,
    ) -> Result<(Buffer<P::T>, f64), SaeError> {
        let (d, scale) = (self.state.d_in, 2.0 / n as f32);
        let mut out = Buffer::<P::T>::zeros(z.len());
        self.products.decode(acts, &mut out)?;
        let mut total = 0f64;
        for (row, (out, z)) in out.chunks_exact_mut(d).zip(z.chunks_exact(d)).enumerate() {
            let mut square = 0f32;
            for (column, (out, z)) in out.iter_mut().zip(z).enumerate() {
                let error = out.widen() - z;
                square += error * error;
                *out = P::T::narrow(scale * error);
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
        Sums { d_b: vec![0.0; f], d_extra, acts: vec![0.0; f], active: 0, entries: 0, totals }
    }

    /// Turns `H` in `d_pre` into `D`, row after row.
    #[inline(always)]
    fn differentiate<R: Rule, T: Element>(&mut self, rule: &R, pre: &[T], acts: &[T], gated: &[T], d_pre: &mut [T]) {
        // Loops that end at the length of everything that they index need no checks, and vectorise.
        let Sums { d_b, d_extra: [d_first, d_second], acts: sums, active, entries, totals } = self;
        let f = d_b.len().min(rule.latents());
        let f = if R::EXTRAS > 0 { f.min(d_first.len()) } else { f };
        let f = if R::EXTRAS > 1 { f.min(d_second.len()) } else { f };
        let (d_b, sums) = (&mut d_b[..f], &mut sums[..f]);
        for (row, (d_pre, (pre, acts))) in
            d_pre.chunks_exact_mut(f).zip(pre.chunks_exact(f).zip(acts.chunks_exact(f))).enumerate()
        {
            let (mut penalty, mut fire, mut matter) = (0f32, 0u32, 0u32);
            for latent in 0..f {
                let h_gate = if R::GATED { gated[row * f + latent].widen() } else { 0.0 };
                let (p, act, h) = (pre[latent].widen(), acts[latent].widen(), d_pre[latent].widen());
                let local = rule.back(At { latent, p, f: act, h, h_gate });
                d_pre[latent] = T::narrow(local.d_pre);
                penalty += local.penalty;
                d_b[latent] += local.d_pre;
                sums[latent] += act;
                if R::EXTRAS > 0 {
                    d_first[latent] += local.d_extra[0];
                }
                if R::EXTRAS > 1 {
                    d_second[latent] += local.d_extra[1];
                }
                // Without a branch, so that it vectorises.
                fire += u32::from(act > 0.0);
                matter += u32::from((act > 0.0) | (local.d_pre != 0.0) | (local.d_extra[0] != 0.0));
            }
            totals.penalty += f64::from(penalty);
            *active += u64::from(fire);
            *entries += u64::from(matter);
        }
    }
}

impl DenseGradients {
    /// Adds what is summed by latent.
    fn add(&mut self, sums: &Sums) {
        let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.d_b, &sums.d_b);
        add(&mut self.acts, &sums.acts);
        self.d_extra.iter_mut().zip(&sums.d_extra).for_each(|(to, from)| add(to, from));
        // Activations are not negative.
        self.fired.iter_mut().zip(&sums.acts).for_each(|(fired, sum)| *fired |= *sum > 0.0);
        self.active += sums.active;
        self.entries += sums.entries;
    }
}
