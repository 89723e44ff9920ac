//! Every pre-activation of a few rows, in f32.
//!
//! Of few rows the product is a walk through the weights, which are far larger than the caches. So latents are divided among the
//! threads instead of rows, and every weight is fetched once for all rows. The numbers are those of
//! [`all_pre_acts`](super::encode::all_pre_acts), bit for bit.

use super::encode::EncoderWeights;
use super::vector;
use std::ops::Range;

/// The pre-activations of `latents` on all rows.
///
/// # Shapes
/// `centred: [n, d_in]`, `out: [n, latents]`
pub fn pre_acts_of(weights: &EncoderWeights<'_>, centred: &[f32], latents: Range<usize>, out: &mut [f32]) {
    vector::dispatch(
        #[inline(always)]
        || walk(weights, centred, latents, out),
    );
}

#[inline(always)]
fn walk(weights: &EncoderWeights<'_>, centred: &[f32], latents: Range<usize>, out: &mut [f32]) {
    let (d, width) = (weights.d_in, latents.len());
    for (at, latent) in latents.enumerate() {
        for (x, out) in centred.chunks_exact(d).zip(out.chunks_exact_mut(width)) {
            out[at] = weights.pre_act(x, latent as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::encode::all_pre_acts;
    use proptest::prelude::*;
    use untangle_schema::mix::mix;

    proptest! {
        #[test]
        fn they_are_those_of_single_dot_products_bit_for_bit(
            n in 1usize..5, d in 1usize..200, f in 1usize..40, from in 0usize..40, seed in any::<u64>(),
        ) {
            let drawn = |at: usize| mix(seed.wrapping_add(at as u64)) as f32 / u64::MAX as f32 - 0.5;
            let (w_enc, x): (Vec<f32>, Vec<f32>) = ((0..f * d).map(drawn).collect(), (0..n * d).map(|at| drawn(at + f * d)).collect());
            let b_enc: Vec<f32> = (0..f).map(|at| drawn(at + 99_999)).collect();
            let weights = EncoderWeights { w_enc: &w_enc, narrow: None, b_enc: &b_enc, d_in: d };
            let (from, mut all) = (from.min(f - 1), vec![0.0; n * f]);
            all_pre_acts(&weights, &x, &mut all);
            let mut part = vec![0.0; n * (f - from)];
            pre_acts_of(&weights, &x, from..f, &mut part);
            let expected: Vec<f32> = all.chunks_exact(f).flat_map(|row| row[from..].to_vec()).collect();
            prop_assert_eq!(part, expected);
        }
    }
}
