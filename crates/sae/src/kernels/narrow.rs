//! The encoder's weights in the arithmetic that proposes, kept beside those that decide.

use super::buffer::{Buffer, Element};
use super::int8::{self, Int8Block, Int8Weights};
use super::vector::dispatch;
use crate::precision::Precision;
use half::bf16;
use rayon::prelude::*;

/// A narrow copy of `w_enc`, `[d_sae, d_in]`.
#[derive(Clone, Debug)]
pub enum NarrowWeights {
    /// Rounded to bf16.
    Bf16(Buffer<bf16>),
    /// Quantised to bytes.
    Int8(Int8Weights),
}

/// A block of latents of the copy, to be written.
#[derive(Debug)]
pub enum NarrowBlock<'a> {
    /// `[latents, d_in]`
    Bf16(&'a mut [bf16]),
    /// Whole panels.
    Int8(Int8Block<'a>),
}

/// Latents that a worker writes at a time; a multiple of [`int8::PANEL`].
const BLOCK: usize = 256;

impl NarrowWeights {
    /// A copy of zeros for `d_sae` latents, where `precision` needs one; `spread`, `[d_in]`, says how unequal the
    /// dimensions of the rows are, one for each where nothing is known (see [`int8`]).
    pub fn zeros(precision: Precision, d_sae: usize, spread: &[f32]) -> Option<Self> {
        match precision {
            Precision::Bf16 => Some(NarrowWeights::Bf16(Buffer::zeros(d_sae * spread.len()))),
            Precision::Int8 if spread.len() <= int8::MAX_WIDTH => {
                Some(NarrowWeights::Int8(Int8Weights::zeros(d_sae, spread)))
            }
            Precision::Int8 | Precision::F32 => None,
        }
    }

    /// What it is a copy in.
    pub fn precision(&self) -> Precision {
        match self {
            NarrowWeights::Bf16(_) => Precision::Bf16,
            NarrowWeights::Int8(_) => Precision::Int8,
        }
    }

    /// Makes it a copy of `w_enc`, rows of width `d_in`.
    pub fn copy_from(&mut self, w_enc: &[f32], d_in: usize) {
        let blocks: Vec<_> = self.blocks_mut(BLOCK, d_in).zip(w_enc.chunks(BLOCK * d_in)).collect();
        blocks.into_par_iter().for_each(|(mut block, rows)| {
            dispatch(
                #[inline(always)]
                || rows.chunks_exact(d_in).enumerate().for_each(|(place, row)| block.set(place, row)),
            );
        });
    }

    /// Blocks of `latents` each, a multiple of [`int8::PANEL`], to be written at the same time.
    pub fn blocks_mut(&mut self, latents: usize, d_in: usize) -> impl Iterator<Item = NarrowBlock<'_>> {
        let (bf16, int8) = match self {
            NarrowWeights::Bf16(weights) => (Some(weights), None),
            NarrowWeights::Int8(weights) => (None, Some(weights)),
        };
        let bf16 = bf16.into_iter().flat_map(move |w| w.chunks_mut(latents * d_in)).map(NarrowBlock::Bf16);
        bf16.chain(int8.into_iter().flat_map(move |w| w.blocks_mut(latents)).map(NarrowBlock::Int8))
    }
}

impl NarrowBlock<'_> {
    /// Replaces the row of the block's latent number `place`, `[d_in]`.
    #[inline(always)]
    pub fn set(&mut self, place: usize, row: &[f32]) {
        match self {
            NarrowBlock::Bf16(block) => {
                let narrow = &mut block[place * row.len()..(place + 1) * row.len()];
                narrow.iter_mut().zip(row).for_each(|(narrow, &wide)| *narrow = bf16::narrow(wide));
            }
            NarrowBlock::Int8(block) => block.set(place, row),
        }
    }
}
