//! All latents of a row whose pre-activation exceeds a bound: the selection of architectures without a fixed k.
//!
//! As in [`super::encode`], the product of a tile only proposes and f32 decides: a latent whose proposed pre-activation lies
//! above `bound_i - margin` is recomputed by [`super::vector::dot`] and kept where the exact value exceeds `bound_i`. Here
//! the margin is a proof and not an estimate: by Cauchy and Schwarz, a product of rounded operands is wrong by at most
//! `u |x| |w_i|`, with `u` from the roundings of the arithmetic ([`rounding`]). The set is therefore exactly that of f32.

use super::buffer::{Buffer, Element, matmul_nt};
use super::encode::{EncoderWeights, TILE_LATENTS, TILE_ROWS};
use super::select::{BLOCK, sums_of};
use super::vector::{self, dispatch};
use crate::error::SaeError;
use half::bf16;
use rayon::prelude::*;
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

    fn restart(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.latents.clear();
        self.pre_acts.clear();
    }
}

/// What every latent has to exceed.
#[derive(Clone, Debug)]
pub struct Bounds {
    bound: Vec<f32>,
    /// `b_enc - bound`: with it, exceeding the bound is being positive.
    shifted: Vec<f32>,
    /// The largest norm of an encoder row.
    largest_norm: f32,
    /// What the additions of biases and bounds can be wrong by.
    rounded: f32,
}

impl Bounds {
    /// Bounds of every latent, `[d_sae]`.
    pub fn new(weights: &EncoderWeights<'_>, bound: Vec<f32>) -> Self {
        let mut bounds = Bounds { shifted: bound.clone(), bound, largest_norm: largest_norm(weights), rounded: 0.0 };
        bounds.shift(weights);
        bounds
    }

    /// The same bound for all latents.
    pub fn same(weights: &EncoderWeights<'_>, bound: f32) -> Self {
        Self::new(weights, vec![bound; weights.d_sae()])
    }

    /// Other bounds for the same weights.
    pub fn set(&mut self, weights: &EncoderWeights<'_>, bound: f32) {
        self.bound.fill(bound);
        self.shift(weights);
    }

    fn shift(&mut self, weights: &EncoderWeights<'_>) {
        let mut largest = 0f32;
        for ((shifted, b), bound) in self.shifted.iter_mut().zip(weights.b_enc).zip(&self.bound) {
            *shifted = b - bound;
            largest = largest.max(b.abs()).max(bound.abs());
        }
        self.rounded = 4.0 * largest * f32::EPSILON;
    }
}

fn largest_norm(weights: &EncoderWeights<'_>) -> f32 {
    let squares = weights.w_enc.par_chunks(BLOCK * weights.d_in).map(|rows| {
        dispatch(
            #[inline(always)]
            || rows.chunks_exact(weights.d_in).map(|w| vector::dot(w, w)).fold(0f32, f32::max),
        )
    });
    squares.reduce(|| 0f32, f32::max).sqrt()
}

/// Largest error of a product relative to `|x| |w|`. Sums of `d` terms in f32 err by at most `d 2^-24`, twice, because the
/// value that decides is such a sum too; bf16 rounds either operand and the result by `2^-9`, a little more to be safe.
fn rounding<T: Element>(d_in: usize) -> f32 {
    let of_sums = d_in as f32 * f32::EPSILON;
    if size_of::<T>() == size_of::<f32>() { of_sums } else { of_sums + 1.0 / 128.0 }
}

/// Reusable memory of tiles in work.
#[derive(Debug, Default)]
pub struct AboveScratch(Mutex<Vec<Tile>>);

#[derive(Debug)]
struct Tile {
    x: Buffer<f32>,
    x_bf16: Buffer<bf16>,
    pre: Buffer<f32>,
    pre_bf16: Buffer<bf16>,
    proposed: Vec<Vec<u32>>,
}

impl Tile {
    fn new(d_in: usize, bf16_product: bool) -> Self {
        let (wide, narrow) = if bf16_product { (0, TILE_ROWS) } else { (TILE_ROWS, 0) };
        Tile {
            x: Buffer::zeros(TILE_ROWS * d_in),
            x_bf16: Buffer::zeros(narrow * d_in),
            pre: Buffer::zeros(wide * TILE_LATENTS),
            pre_bf16: Buffer::zeros(narrow * TILE_LATENTS),
            proposed: vec![Vec::new(); TILE_ROWS],
        }
    }

    fn fits(&self, d_in: usize, bf16_product: bool) -> bool {
        self.x.len() == TILE_ROWS * d_in && self.x_bf16.is_empty() != bf16_product
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
        let lock = || scratch.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bf16_product = self.w_enc_bf16.is_some();
        let idle = lock().pop().filter(|tile| tile.fits(self.d_in, bf16_product));
        let mut tile = idle.unwrap_or_else(|| Tile::new(self.d_in, bf16_product));
        let result = self.look_above(centred, bounds, &mut tile, found);
        lock().push(tile);
        result
    }

    fn look_above(&self, centred: &[f32], bounds: &Bounds, tile: &mut Tile, found: &mut Found) -> Result<(), SaeError> {
        // A short tile is padded with zeros to a full one, so that rows are rounded alike in every batch.
        tile.x[..centred.len()].copy_from_slice(centred);
        tile.x[centred.len()..].fill(0.0);
        let rows = &mut tile.proposed[..centred.len() / self.d_in];
        rows.iter_mut().for_each(Vec::clear);
        match self.w_enc_bf16 {
            Some(w) => {
                tile.x_bf16.narrow_from(&tile.x);
                propose(&tile.x_bf16, w, &tile.x, bounds, self.d_in, &mut tile.pre_bf16, rows)?;
            }
            None => propose(&tile.x, self.w_enc, &tile.x, bounds, self.d_in, &mut tile.pre, rows)?,
        }
        found.restart();
        dispatch(
            #[inline(always)]
            || {
                for (x, proposed) in centred.chunks_exact(self.d_in).zip(rows) {
                    for &latent in proposed.iter() {
                        let value = self.pre_act(x, latent);
                        if value > bounds.bound[latent as usize] {
                            found.latents.push(latent);
                            found.pre_acts.push(value);
                        }
                    }
                    found.starts.push(found.latents.len() as u32);
                }
            },
        );
        Ok(())
    }
}

fn propose<T: Element>(
    x: &[T],
    w_enc: &[T],
    wide_x: &[f32],
    bounds: &Bounds,
    d: usize,
    pre: &mut [T],
    rows: &mut [Vec<u32>],
) -> Result<(), SaeError> {
    let unit = rounding::<T>(d) * bounds.largest_norm;
    for (tile, (w, shifted)) in w_enc.chunks(TILE_LATENTS * d).zip(bounds.shifted.chunks(TILE_LATENTS)).enumerate() {
        let pre = &mut pre[..TILE_ROWS * shifted.len()];
        matmul_nt(x, w, pre, d)?;
        dispatch(
            #[inline(always)]
            || {
                let pre = pre.chunks_exact(shifted.len());
                for ((proposed, pre), x) in rows.iter_mut().zip(pre).zip(wide_x.chunks_exact(d)) {
                    let margin = unit * vector::dot(x, x).sqrt() + bounds.rounded;
                    sweep(pre, shifted, -margin, tile * TILE_LATENTS, proposed);
                }
            },
        );
    }
    Ok(())
}

/// Collects the indices, from `first` on, at which `values + shifted` is above `floor`.
#[inline(always)]
fn sweep<T: Element>(values: &[T], shifted: &[f32], floor: f32, first: usize, proposed: &mut Vec<u32>) {
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
            proposed.push((first + block * BLOCK) as u32 + above.trailing_zeros());
            above &= above - 1;
        }
    }
    let first = first + value_blocks.len() * BLOCK;
    for ((index, value), shift) in (first as u32..).zip(value_rest).zip(shift_rest) {
        if value.widen() + shift > floor {
            proposed.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::encode::all_pre_acts;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_set_above_a_bound_is_that_of_f32_in_either_precision() {
        for (d, f, n) in [(24, 300, 70), (33, 4200, 256), (7, 5, 3)] {
            let mut generator = ChaCha8Rng::seed_from_u64(d as u64);
            let mut random = |n: usize| -> Vec<f32> { (0..n).map(|_| generator.random_range(-1.0f32..1.0)).collect() };
            let (w_enc, b_enc, rows, bound) = (Buffer::copy_of(&random(d * f)), random(f), random(n * d), random(f));
            let narrow = Buffer::narrowed(&w_enc);
            for w_enc_bf16 in [None, Some(&narrow[..])] {
                let weights = EncoderWeights { w_enc: &w_enc, w_enc_bf16, b_enc: &b_enc, d_in: d };
                let bounds = Bounds::new(&weights, bound.clone());
                let (scratch, mut found) = (AboveScratch::default(), Found::default());
                weights.choose_above(&rows, &bounds, &scratch, &mut found).expect("shapes fit");
                let mut all = vec![0f32; n * f];
                all_pre_acts(&weights, &rows, &mut all);
                assert_eq!(found.n_rows(), n);
                for (row, all) in all.chunks_exact(f).enumerate() {
                    let expected: Vec<(u32, f32)> = (0u32..)
                        .zip(all.iter().copied())
                        .zip(&bound)
                        .filter(|((_, p), bound)| p > bound)
                        .map(|(pair, _)| pair)
                        .collect();
                    let at = found.row(row);
                    let pairs = found.latents[at.clone()].iter().copied().zip(found.pre_acts[at].iter().copied());
                    assert_eq!(pairs.collect::<Vec<_>>(), expected, "d {d}, f {f}, row {row}");
                }
            }
        }
    }
}
