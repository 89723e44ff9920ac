//! What latents have to exceed, and what of the weights says how wrong a product of theirs can be.

use super::encode::EncoderWeights;
use super::int8_error::Rounded;
use super::narrow::NarrowWeights;
use super::select::BLOCK;
use super::vector::{self, dispatch};
use rayon::prelude::*;

/// What every latent has to exceed.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub(super) bound: Vec<f32>,
    /// `b_enc - bound`: with it, exceeding the bound is being positive.
    pub(super) shifted: Vec<f32>,
    /// The largest norm of an encoder row.
    pub(super) largest_norm: f32,
    /// Sizes and errors of encoder rows in bytes, where the product runs in them, `[d_sae]`.
    pub(super) in_bytes: Vec<Rounded>,
    /// The largest of them.
    pub(super) largest_in_bytes: Rounded,
    /// What the additions of biases and bounds can be wrong by.
    pub(super) rounded: f32,
}

impl Bounds {
    /// Bounds of every latent, `[d_sae]`.
    pub fn new(weights: &EncoderWeights<'_>, bound: Vec<f32>) -> Self {
        let in_bytes = match weights.narrow {
            Some(NarrowWeights::Int8(narrow)) => narrow.rounded(weights.w_enc),
            _ => vec![Rounded::default(); weights.d_sae()],
        };
        let largest_in_bytes = in_bytes.iter().copied().fold(Rounded::default(), Rounded::max);
        let largest_norm = largest_norm(weights);
        let shifted = bound.clone();
        let mut bounds = Bounds { bound, shifted, largest_norm, in_bytes, largest_in_bytes, rounded: 0.0 };
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
            || {
                // A fold over an iterator is a function of its own, compiled without the dispatched instructions.
                let mut largest = 0f32;
                for w in rows.chunks_exact(weights.d_in) {
                    largest = largest.max(vector::dot(w, w));
                }
                largest
            },
        )
    });
    squares.reduce(|| 0f32, f32::max).sqrt()
}
