//! Encoder product, selection, and exact recomputation of what was selected, a tile of rows at a time.
//!
//! A latent's pre-activation is `p_i = w_i · (x - b_dec) + b_i`. The product of all rows with all latents is the only
//! dense work of a sparse autoencoder, so it may run in bf16 or in bytes ([`super::int8`]), but its result only *proposes*:
//! the candidates' pre-activations are recomputed in f32 by [`vector::dot`], and the k largest of those are the answer. Twice
//! the largest error seen in the recomputed ones is taken for what a latent that was not recomputed may have been misjudged
//! by; while that leaves a doubt, more candidates are recomputed, in the last resort all of them. It is an estimate and not a
//! proof: weights can be made up that deceive it. In random and trained dictionaries the chosen set is that of f32 arithmetic
//! in every row tested, and the values always are, however the product was tiled.

use super::buffer::{Buffer, Element, matmul_nt, prefetch};
use super::int8::{self, GROUP, Int8Rows, Int8Weights, PANEL};
use super::narrow::NarrowWeights;
use super::select::{Candidate, Running, keep_best};
use super::vector;
use crate::error::SaeError;
use crate::precision::Precision;
use half::bf16;
use std::sync::Mutex;

/// Rows of a tile. Fixed, because a product's rounding may depend on its shape, and proposals should not.
pub const TILE_ROWS: usize = 256;
/// Latents of one product: a tile of pre-activations, 256 x 4096 in bf16, takes 2 MiB, the second cache of a current CPU.
pub(super) const TILE_LATENTS: usize = 4096;
/// The same in bytes: the weights, 512 x 768 bytes, stay in the second cache while all rows of the tile pass.
pub(super) const INT8_LATENTS: usize = 512;
/// Candidates recomputed at once beyond k. Plain bf16 selection is wrong in 4 to 8 % of the rows of a trained
/// dictionary; a quarter more candidates leave few rows in doubt.
fn extra(k: usize) -> usize {
    (k / 4).max(8)
}

/// Candidates kept beyond k for the rows that are still in doubt: about the k-th place pre-activations lie the denser the
/// larger k is.
fn spare(k: usize) -> usize {
    k.max(32)
}

/// Encoder weights as the kernels want them: a row per latent.
#[derive(Clone, Copy, Debug)]
pub struct EncoderWeights<'a> {
    /// `[d_sae, d_in]`
    pub w_enc: &'a [f32],
    /// The copy of `w_enc` that proposes, when the product is not to run in f32.
    pub narrow: Option<&'a NarrowWeights>,
    /// `[d_sae]`
    pub b_enc: &'a [f32],
    /// Width of a row.
    pub d_in: usize,
}

/// The k chosen latents of every row of a block, ascending by index, with their exact pre-activations (not rectified).
#[derive(Debug)]
pub struct Chosen<'a> {
    /// `[n, k]`
    pub indices: &'a mut [u32],
    /// `[n, k]`
    pub pre_acts: &'a mut [f32],
    /// Latents of which the proposals are wanted, whether they are chosen or not.
    pub proposals: Proposals<'a>,
}

impl<'a> Chosen<'a> {
    /// Room for these, where no proposals are wanted.
    pub fn of(indices: &'a mut [u32], pre_acts: &'a mut [f32]) -> Self {
        Chosen { indices, pre_acts, proposals: Proposals::default() }
    }
}

/// Pre-activations without bias as a product in bytes proposes them, of some latents.
#[derive(Debug, Default)]
pub struct Proposals<'a> {
    /// Ascending.
    pub latents: &'a [u32],
    /// `[n, latents]`; left as it is by a product in f32 or bf16.
    pub pre_acts: &'a mut [f32],
}

impl Proposals<'_> {
    /// Takes those of `latents`, `pre: [n, latents]`, for the rows from `row` on.
    fn take(&mut self, row: usize, latents: std::ops::Range<usize>, pre: &[f32]) {
        let place_of = |latent: usize| self.latents.partition_point(|&l| (l as usize) < latent);
        let places = place_of(latents.start)..place_of(latents.end);
        let rows = self.pre_acts.chunks_exact_mut(self.latents.len().max(1)).skip(row);
        for (out, pre) in rows.zip(pre.chunks_exact(latents.len())) {
            for (out, &latent) in out[places.clone()].iter_mut().zip(&self.latents[places.clone()]) {
                *out = pre[latent as usize - latents.start];
            }
        }
    }
}

/// How far the proposals had to be trusted less: what recomputation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recomputation {
    /// Rows.
    pub rows: usize,
    /// Pre-activations recomputed in f32, over all rows.
    pub recomputed: usize,
    /// Rows in which the first candidates left a doubt.
    pub widened: usize,
    /// Rows in which all candidates did, so that every latent was recomputed.
    pub exhausted: usize,
}

impl std::ops::AddAssign for Recomputation {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.recomputed += other.recomputed;
        self.widened += other.widened;
        self.exhausted += other.exhausted;
    }
}

/// Reusable memory of tiles in work; one per worker is in use at a time.
#[derive(Debug, Default)]
pub struct Scratch(Mutex<Vec<Tile>>);

#[derive(Debug)]
struct Tile {
    x: Buffer<f32>,
    x_bf16: Buffer<bf16>,
    x_int8: Int8Rows,
    pre: Buffer<f32>,
    pre_bf16: Buffer<bf16>,
    running: Vec<Running>,
    exact: Vec<Candidate>,
    made_for: (usize, usize, Precision),
}

impl Tile {
    /// Room for what a product of width `d_in` in `precision` needs, and for the `keep` best of every row.
    fn new(d_in: usize, keep: usize, precision: Precision) -> Self {
        let tile_of = |used: bool, width: usize| if used { TILE_ROWS * width } else { 0 };
        let (f32, bf16) = (precision == Precision::F32, precision == Precision::Bf16);
        let pre = if precision == Precision::Int8 { GROUP * INT8_LATENTS } else { tile_of(f32, TILE_LATENTS) };
        Tile {
            x: Buffer::zeros(tile_of(f32 || bf16, d_in)),
            x_bf16: Buffer::zeros(tile_of(bf16, d_in)),
            x_int8: Int8Rows::new(if precision == Precision::Int8 { TILE_ROWS } else { 0 }, d_in),
            pre: Buffer::zeros(pre),
            pre_bf16: Buffer::zeros(tile_of(bf16, TILE_LATENTS)),
            running: (0..TILE_ROWS).map(|_| Running::new(keep)).collect(),
            exact: Vec::with_capacity(keep),
            made_for: (d_in, keep, precision),
        }
    }

    /// A short tile is padded with zeros to a full one, so that rows are rounded alike in every batch.
    fn pad(&mut self, centred: &[f32]) {
        self.x[..centred.len()].copy_from_slice(centred);
        self.x[centred.len()..].fill(0.0);
    }
}

impl Scratch {
    fn with<R>(&self, made_for: (usize, usize, Precision), work: impl FnOnce(&mut Tile) -> R) -> R {
        let lock = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let idle = lock().pop().filter(|tile| tile.made_for == made_for);
        let (d_in, keep, precision) = made_for;
        let mut tile = idle.unwrap_or_else(|| Tile::new(d_in, keep, precision));
        let result = work(&mut tile);
        lock().push(tile);
        result
    }
}

impl EncoderWeights<'_> {
    /// Number of latents.
    pub fn d_sae(&self) -> usize {
        self.b_enc.len()
    }

    /// The pre-activation of one latent on one row, in f32.
    #[inline(always)]
    pub(super) fn pre_act(&self, x: &[f32], latent: u32) -> f32 {
        vector::dot(x, self.row(latent)) + self.b_enc[latent as usize]
    }

    #[inline(always)]
    pub(super) fn row(&self, latent: u32) -> &[f32] {
        &self.w_enc[latent as usize * self.d_in..(latent as usize + 1) * self.d_in]
    }

    /// Chooses the `k` latents with the largest pre-activations for each of at most [`TILE_ROWS`] rows.
    ///
    /// # Shapes
    /// `centred: [n, d_in]`, the rows less `b_dec`; `chosen`: `[n, k]`. Returns what it took to be sure.
    ///
    /// # Errors
    /// When libtorch refuses the product.
    pub fn choose(
        &self,
        centred: &[f32],
        k: usize,
        scratch: &Scratch,
        mut chosen: Chosen<'_>,
    ) -> Result<Recomputation, SaeError> {
        let keep = (k + spare(k)).min(self.d_sae());
        let precision = self.narrow.map_or(Precision::F32, NarrowWeights::precision);
        scratch.with((self.d_in, keep, precision), |tile| {
            let rows = centred.len() / self.d_in;
            tile.running[..rows].iter_mut().for_each(Running::clear);
            match self.narrow {
                Some(NarrowWeights::Int8(w)) => {
                    tile.x_int8.fill(centred, w);
                    let rows = &mut tile.running[..rows];
                    propose_int8(&tile.x_int8, w, self.b_enc, &mut tile.pre, rows, &mut chosen.proposals);
                }
                Some(NarrowWeights::Bf16(w)) => {
                    tile.pad(centred);
                    tile.x_bf16.narrow_from(&tile.x);
                    propose(&tile.x_bf16, w, self.b_enc, self.d_in, &mut tile.pre_bf16, &mut tile.running[..rows])?;
                }
                None => {
                    tile.pad(centred);
                    propose(&tile.x, self.w_enc, self.b_enc, self.d_in, &mut tile.pre, &mut tile.running[..rows])?;
                }
            }
            Ok(vector::dispatch(
                #[inline(always)]
                || settle_rows(self, centred, k, &mut tile.running, &mut tile.exact, chosen),
            ))
        })
    }
}

/// Runs the products of a tile of rows with tiles of latents and shows them to each row's selection.
fn propose<T: Element>(
    x: &[T],
    w_enc: &[T],
    b_enc: &[f32],
    d: usize,
    pre: &mut [T],
    rows: &mut [Running],
) -> Result<(), SaeError> {
    for (tile, (w, bias)) in w_enc.chunks(TILE_LATENTS * d).zip(b_enc.chunks(TILE_LATENTS)).enumerate() {
        let width = bias.len();
        let pre = &mut pre[..TILE_ROWS * width];
        matmul_nt(x, w, pre, d)?;
        for (row, pre) in rows.iter_mut().zip(pre.chunks_exact(width)) {
            row.offer(pre, bias, tile * TILE_LATENTS);
        }
    }
    Ok(())
}

/// The same in bytes, by small groups of rows, whose pre-activations never leave the first cache.
fn propose_int8(
    x: &Int8Rows,
    w: &Int8Weights,
    b_enc: &[f32],
    pre: &mut [f32],
    rows: &mut [Running],
    proposals: &mut Proposals<'_>,
) {
    for (chunk, bias) in b_enc.chunks(INT8_LATENTS).enumerate() {
        let first = chunk * INT8_LATENTS;
        let panels = first / PANEL..(first + bias.len()).div_ceil(PANEL);
        let width = panels.len() * PANEL;
        let pre = &mut pre[..GROUP * width];
        for (group, rows) in rows.chunks_mut(GROUP).enumerate() {
            int8::product(x, group, w, panels.clone(), pre);
            proposals.take(group * GROUP, first..first + width, pre);
            for (row, pre) in rows.iter_mut().zip(pre.chunks_exact(width)) {
                row.offer(&pre[..bias.len()], bias, first);
            }
        }
    }
}

#[inline(always)]
fn settle_rows(
    weights: &EncoderWeights<'_>,
    centred: &[f32],
    k: usize,
    running: &mut [Running],
    exact: &mut Vec<Candidate>,
    chosen: Chosen<'_>,
) -> Recomputation {
    let d = weights.d_in;
    let mut recomputation = Recomputation::default();
    let rows = centred.chunks_exact(d).zip(running);
    let outputs = chosen.indices.chunks_exact_mut(k).zip(chosen.pre_acts.chunks_exact_mut(k));
    for ((x, running), (indices, pre_acts)) in rows.zip(outputs) {
        let proposed = running.finish();
        let recomputed = settle(weights, x, k, proposed, exact);
        recomputation += Recomputation {
            rows: 1,
            recomputed,
            widened: usize::from(recomputed > (k + extra(k)).min(proposed.len())),
            exhausted: usize::from(recomputed > proposed.len()),
        };
        exact.sort_unstable_by_key(|c| c.index());
        for ((index, pre_act), c) in indices.iter_mut().zip(pre_acts).zip(exact.iter()) {
            (*index, *pre_act) = (c.index(), c.value());
        }
    }
    recomputation
}

/// Leaves in `exact` the k latents with the largest f32 pre-activations, given proposals in order of rank; returns how many
/// were recomputed.
#[inline(always)]
fn settle(
    weights: &EncoderWeights<'_>,
    x: &[f32],
    k: usize,
    proposed: &[Candidate],
    exact: &mut Vec<Candidate>,
) -> usize {
    exact.clear();
    let mut worst_error = 0f32;
    for (at, proposal) in proposed[..(k + extra(k)).min(proposed.len())].iter().enumerate() {
        if let Some(next) = proposed.get(at + 1) {
            prefetch(weights.row(next.index()));
        }
        worst_error = worst_error.max(look(weights, x, *proposal, exact));
    }
    let mut next = exact.len();
    loop {
        keep_best(exact, k);
        let kth = exact.iter().map(|c| c.value()).fold(f32::INFINITY, f32::min);
        // Twice the worst error seen: the latents that were looked at are a sample of those that were not.
        let doubt = kth - 2.0 * worst_error;
        match proposed.get(next) {
            Some(proposal) if proposal.value() >= doubt => {
                worst_error = worst_error.max(look(weights, x, *proposal, exact));
                next += 1;
            }
            Some(_) => return next,
            None if next == weights.d_sae() => return next,
            None => break,
        }
    }
    exact.clear();
    for index in 0..weights.d_sae() as u32 {
        exact.push(Candidate::new(weights.pre_act(x, index), index));
    }
    keep_best(exact, k);
    next + weights.d_sae()
}

/// Recomputes a proposal in f32; returns how far off it was.
#[inline(always)]
fn look(weights: &EncoderWeights<'_>, x: &[f32], proposal: Candidate, exact: &mut Vec<Candidate>) -> f32 {
    let value = weights.pre_act(x, proposal.index());
    exact.push(Candidate::new(value, proposal.index()));
    (value - proposal.value()).abs()
}

/// Every pre-activation of every row by f32 dot products: the slow reference of [`EncoderWeights::choose`], and the way
/// to encode single rows or dictionaries without a fixed k.
///
/// # Shapes
/// `centred: [n, d_in]`, `pre_acts: [n, d_sae]`.
pub fn all_pre_acts(weights: &EncoderWeights<'_>, centred: &[f32], pre_acts: &mut [f32]) {
    vector::dispatch(
        #[inline(always)]
        || dots(weights, centred, pre_acts),
    );
}

#[inline(always)]
fn dots(weights: &EncoderWeights<'_>, centred: &[f32], pre_acts: &mut [f32]) {
    let d = weights.d_in;
    for (x, out) in centred.chunks_exact(d).zip(pre_acts.chunks_exact_mut(weights.d_sae())) {
        for ((out, w), bias) in out.iter_mut().zip(weights.w_enc.chunks_exact(d)).zip(weights.b_enc) {
            *out = vector::dot(x, w) + bias;
        }
    }
}
