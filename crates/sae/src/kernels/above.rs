//! All latents of a row whose pre-activation exceeds a bound: the selection of architectures without a fixed k.
//!
//! As in [`super::encode`], the product of a tile only proposes and f32 decides: a latent whose proposed pre-activation lies
//! above `bound_i - margin` is recomputed by [`super::vector::dot`] and kept where the exact value exceeds `bound_i`. Here
//! the margin is a proof and not an estimate: by Cauchy and Schwarz, a product of rounded operands is wrong by at most
//! `u |x| |w_i|`, with `u` from the roundings of the arithmetic (`margin.rs`; for bytes, see `int8_error.rs`). In f32 and
//! bf16 the set is therefore exactly that of f32.
//!
//! For bytes most of what that proof proposes is far from its bound. There a part of the margin is looked at first, which
//! is an estimate (`margin.rs`); the set is that of f32 in all that was tested.

use super::bounds::Bounds;
use super::buffer::{Buffer, Element, matmul_nt};
use super::decide::FirstPass;
use super::encode::{EncoderWeights, INT8_LATENTS, TILE_LATENTS, TILE_ROWS};
use super::int8::{self, GROUP, Int8Rows, Int8Weights, PANEL};
use super::margin::{Margin, of_rounding};
use super::narrow::NarrowWeights;
use super::select::{BLOCK, sums_of};
use super::vector::{self, dispatch};
use crate::error::SaeError;
use crate::precision::Precision;
use half::bf16;
use std::sync::Mutex;

/// The latents found for a tile of rows, compressed by row; the memory is reused.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Where every row begins, `[rows + 1]`
    pub starts: Vec<u32>,
    /// Latents, ascending in a row
    pub latents: Vec<u32>,
    /// Their pre-activations in f32, not rectified
    pub pre_acts: Vec<f32>,
}

impl Found {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The places of a row's entries.
    #[inline(always)]
    pub fn row(&self, row: usize) -> std::ops::Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }

    pub(super) fn restart(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.latents.clear();
        self.pre_acts.clear();
    }
}

/// A latent, and how far above its bound the product has it.
pub(super) type Proposal = (u32, f32);

/// What a tile of rows is left with by the product.
pub(super) struct Proposals<'a> {
    /// `[n]`, latents ascending in a row.
    pub(super) rows: &'a [Vec<Proposal>],
    /// What the proposals of a row may be wrong by, `[n]`.
    pub(super) margins: &'a [Margin],
    /// What every latent has to exceed.
    pub(super) bounds: &'a Bounds,
}

/// Reusable memory of tiles in work.
#[derive(Debug, Default)]
pub struct AboveScratch(Mutex<Vec<Tile>>);

#[derive(Debug)]
struct Tile {
    x: Buffer<f32>,
    x_bf16: Buffer<bf16>,
    x_int8: Int8Rows,
    pre: Buffer<f32>,
    pre_bf16: Buffer<bf16>,
    /// What the proposals of a row may be wrong by.
    margins: Vec<Margin>,
    proposed: Vec<Vec<Proposal>>,
    first: FirstPass,
    made_for: (usize, Precision),
}

impl Tile {
    fn new(d_in: usize, precision: Precision) -> Self {
        let tile_of = |used: bool, width: usize| if used { TILE_ROWS * width } else { 0 };
        let (bf16, int8) = (precision == Precision::Bf16, precision == Precision::Int8);
        let pre = if int8 { GROUP * INT8_LATENTS } else { tile_of(!bf16, TILE_LATENTS) };
        Tile {
            x: Buffer::zeros(tile_of(!int8, d_in)),
            x_bf16: Buffer::zeros(tile_of(bf16, d_in)),
            x_int8: Int8Rows::new(if int8 { TILE_ROWS } else { 0 }, d_in),
            pre: Buffer::zeros(pre),
            pre_bf16: Buffer::zeros(tile_of(bf16, TILE_LATENTS)),
            margins: vec![Margin::default(); TILE_ROWS],
            proposed: vec![Vec::new(); TILE_ROWS],
            first: FirstPass::default(),
            made_for: (d_in, precision),
        }
    }

    /// A short tile is padded with zeros to a full one, so that rows are rounded alike in every batch.
    fn pad(&mut self, centred: &[f32]) {
        self.x[..centred.len()].copy_from_slice(centred);
        self.x[centred.len()..].fill(0.0);
    }

    /// Replaces the margins by `of(row)`, to which what all precisions have in common is added.
    fn set_margins(&mut self, centred: &[f32], bounds: &Bounds, of: impl Fn(&Int8Rows, usize, &[f32]) -> Margin) {
        let (d, precision) = self.made_for;
        let unit = of_rounding(precision, d) * bounds.largest_norm;
        dispatch(
            #[inline(always)]
            || {
                for (row, (margin, x)) in self.margins.iter_mut().zip(centred.chunks_exact(d)).enumerate() {
                    *margin = of(&self.x_int8, row, x).plus(unit * vector::dot(x, x).sqrt() + bounds.rounded);
                }
            },
        );
    }
}

impl EncoderWeights<'_> {
    /// Finds the latents above their bounds for each of at most [`TILE_ROWS`] rows.
    ///
    /// # Shapes
    /// `centred: [n, d_in]`, the rows less `b_dec`; `found` gets `n` rows.
    ///
    /// # Errors
    /// When libtorch refuses the product.
    pub fn choose_above(
        &self,
        centred: &[f32],
        bounds: &Bounds,
        scratch: &AboveScratch,
        found: &mut Found,
    ) -> Result<(), SaeError> {
        self.with_proposals(centred, bounds, scratch, |proposed, first| self.decide(centred, &proposed, first, found))
    }

    /// Runs the product of a tile of rows and hands over what may be above its bound.
    pub(super) fn with_proposals(
        &self,
        centred: &[f32],
        bounds: &Bounds,
        scratch: &AboveScratch,
        take: impl FnOnce(Proposals<'_>, &mut FirstPass),
    ) -> Result<(), SaeError> {
        let lock = || scratch.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let precision = self.narrow.map_or(Precision::F32, NarrowWeights::precision);
        let idle = lock().pop().filter(|tile| tile.made_for == (self.d_in, precision));
        let mut tile = idle.unwrap_or_else(|| Tile::new(self.d_in, precision));
        let n = centred.len() / self.d_in;
        let result = self.propose_above(centred, bounds, &mut tile);
        let result = result.map(|()| {
            let (rows, margins) = (&tile.proposed[..n], &tile.margins[..n]);
            take(Proposals { rows, margins, bounds }, &mut tile.first);
        });
        lock().push(tile);
        result
    }

    /// Leaves in `tile` the latents that may be above their bounds.
    fn propose_above(&self, centred: &[f32], bounds: &Bounds, tile: &mut Tile) -> Result<(), SaeError> {
        let n = centred.len() / self.d_in;
        tile.proposed.iter_mut().for_each(Vec::clear);
        if let Some(NarrowWeights::Int8(w)) = self.narrow {
            tile.x_int8.fill(centred, w);
            let of_bytes = |rows: &Int8Rows, row: usize, x: &[f32]| {
                Margin::of_bytes(rows.rounded(row, x, w), bounds.largest_in_bytes, x.len())
            };
            tile.set_margins(centred, bounds, of_bytes);
            propose_int8(&tile.x_int8, w, bounds, &mut tile.pre, &tile.margins[..n], &mut tile.proposed[..n]);
            return Ok(());
        }
        tile.pad(centred);
        tile.set_margins(centred, bounds, |_, _, _| Margin::proof(0.0));
        let (d, margins, proposed) = (self.d_in, &tile.margins[..n], &mut tile.proposed[..n]);
        match self.narrow {
            Some(NarrowWeights::Bf16(w)) => {
                tile.x_bf16.narrow_from(&tile.x);
                propose(&tile.x_bf16, w, bounds, d, &mut tile.pre_bf16, margins, proposed)
            }
            _ => propose(&tile.x, self.w_enc, bounds, d, &mut tile.pre, margins, proposed),
        }
    }
}

fn propose<T: Element>(
    x: &[T],
    w_enc: &[T],
    bounds: &Bounds,
    d: usize,
    pre: &mut [T],
    margins: &[Margin],
    rows: &mut [Vec<Proposal>],
) -> Result<(), SaeError> {
    for (tile, (w, shifted)) in w_enc.chunks(TILE_LATENTS * d).zip(bounds.shifted.chunks(TILE_LATENTS)).enumerate() {
        let pre = &mut pre[..TILE_ROWS * shifted.len()];
        matmul_nt(x, w, pre, d)?;
        sweep_rows(pre, shifted.len(), shifted, margins, tile * TILE_LATENTS, rows);
    }
    Ok(())
}

/// The same in bytes, by small groups of rows, whose pre-activations never leave the first cache.
fn propose_int8(
    x: &Int8Rows,
    w: &Int8Weights,
    bounds: &Bounds,
    pre: &mut [f32],
    margins: &[Margin],
    rows: &mut [Vec<Proposal>],
) {
    for (chunk, shifted) in bounds.shifted.chunks(INT8_LATENTS).enumerate() {
        let first = chunk * INT8_LATENTS;
        let panels = first / PANEL..(first + shifted.len()).div_ceil(PANEL);
        let width = panels.len() * PANEL;
        let pre = &mut pre[..GROUP * width];
        for (group, (rows, margins)) in rows.chunks_mut(GROUP).zip(margins.chunks(GROUP)).enumerate() {
            int8::product(x, group, w, panels.clone(), pre);
            sweep_rows(pre, width, shifted, margins, first, rows);
        }
    }
}

/// Sweeps rows of pre-activations, `width` apart, from latent `first` on.
fn sweep_rows<T: Element>(
    pre: &[T],
    width: usize,
    shifted: &[f32],
    margins: &[Margin],
    first: usize,
    rows: &mut [Vec<Proposal>],
) {
    dispatch(
        #[inline(always)]
        || {
            for ((proposed, pre), margin) in rows.iter_mut().zip(pre.chunks_exact(width)).zip(margins) {
                sweep(&pre[..shifted.len()], shifted, -margin.proposed, first, proposed);
            }
        },
    );
}

/// Collects the indices, from `first` on, at which `values + shifted` is above `floor`, and these sums.
#[inline(always)]
fn sweep<T: Element>(values: &[T], shifted: &[f32], floor: f32, first: usize, proposed: &mut Vec<Proposal>) {
    let ((value_blocks, value_rest), (shift_blocks, shift_rest)) = (values.as_chunks(), shifted.as_chunks());
    for (block, (values, shifted)) in value_blocks.iter().zip(shift_blocks).enumerate() {
        let sums = sums_of(values, shifted);
        if !sums.iter().fold(false, |any, &sum| any | (sum > floor)) {
            continue;
        }
        let mut above = 0u32;
        for (lane, &sum) in sums.iter().enumerate() {
            above |= u32::from(sum > floor) << lane;
        }
        while above != 0 {
            let lane = above.trailing_zeros();
            proposed.push(((first + block * BLOCK) as u32 + lane, sums[lane as usize]));
            above &= above - 1;
        }
    }
    let first = first + value_blocks.len() * BLOCK;
    for ((index, value), shift) in (first as u32..).zip(value_rest).zip(shift_rest) {
        let sum = value.widen() + shift;
        if sum > floor {
            proposed.push((index, sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::encode::all_pre_acts;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Asserts that what is found in every precision is what f32 says, pre-activations included.
    fn assert_exact(w_enc: &Buffer<f32>, b_enc: &[f32], rows: &[f32], bound: &[f32]) {
        let (f, d) = (b_enc.len(), w_enc.len() / b_enc.len());
        for precision in Precision::ALL {
            let mut narrow = NarrowWeights::zeros(precision, f, &vec![1.0; d]);
            narrow.iter_mut().for_each(|narrow| narrow.copy_from(w_enc, d));
            let weights = EncoderWeights { w_enc, narrow: narrow.as_ref(), b_enc, d_in: d };
            let bounds = Bounds::new(&weights, bound.to_vec());
            let (scratch, mut found) = (AboveScratch::default(), Found::default());
            weights.choose_above(rows, &bounds, &scratch, &mut found).expect("shapes fit");
            let mut all = vec![0f32; rows.len() / d * f];
            all_pre_acts(&weights, rows, &mut all);
            assert_eq!(found.n_rows(), rows.len() / d);
            for (row, all) in all.chunks_exact(f).enumerate() {
                let all = (0u32..).zip(all.iter().copied()).zip(bound);
                let expected: Vec<(u32, f32)> = all.filter(|((_, p), bound)| p > bound).map(|(pair, _)| pair).collect();
                let at = found.row(row);
                let pairs = found.latents[at.clone()].iter().copied().zip(found.pre_acts[at].iter().copied());
                assert_eq!(pairs.collect::<Vec<_>>(), expected, "{precision:?}, d {d}, f {f}, row {row}");
            }
        }
    }

    #[test]
    fn the_set_above_a_bound_is_that_of_f32_in_every_precision() {
        for (d, f, n) in [(24, 300, 70), (33, 4200, 256), (7, 5, 3), (300, 1000, 256)] {
            let mut generator = ChaCha8Rng::seed_from_u64(d as u64);
            let mut random = |n: usize| -> Vec<f32> { (0..n).map(|_| generator.random_range(-1.0f32..1.0)).collect() };
            let (w_enc, b_enc, rows, bound) = (Buffer::copy_of(&random(d * f)), random(f), random(n * d), random(f));
            assert_exact(&w_enc, &b_enc, &rows, &bound);
        }
    }

    #[test]
    fn what_a_massive_dimension_rounds_to_zero_is_not_overlooked() {
        // All but one of the row's values become zero in bytes, and only one latent reads them: no error is seen beforehand.
        let (d, f) = (256, 32);
        let mut row = vec![3.0f32; d];
        row[0] = 1000.0;
        let mut w_enc = vec![0f32; d * f];
        w_enc[7 * d + 1..8 * d].fill(1.0 / 16.0);
        assert_exact(&Buffer::copy_of(&w_enc), &vec![0.0; f], &row, &vec![40.0; f]);
    }

    #[test]
    fn an_error_that_was_seen_widens_the_look() {
        // In bytes 64.49 is 64, so that both sums come out at 16,447 instead of 16,572. The first margin, 62, finds the one
        // latent; its error says to look for the other.
        let (d, f) = (256, 32);
        let mut row = vec![64.49f32; d];
        row[0] = 127.0;
        let (mut w_enc, mut bound) = (vec![0f32; d * f], vec![1e6; f]);
        for (latent, least) in [(7, 16_547.0), (8, 16_467.0)] {
            w_enc[latent * d..(latent + 1) * d].fill(1.0);
            bound[latent] = least;
        }
        assert_exact(&Buffer::copy_of(&w_enc), &vec![0.0; f], &row, &bound);
    }
}
