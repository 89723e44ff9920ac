//! The k largest magnitudes of every row, which keep their signs.
//!
//! ```text
//! the k largest |p_i| are among the k largest p_i and the k largest -p_i        -p = W (-z) - b
//! ```
//!
//! So two searches for the k largest find them, exactly as [`super::encode`] finds those of one: rows and biases are turned, and
//! the weights with their narrow copy stay as they are.

use super::encode::{Chosen, EncoderWeights, Recomputation, Scratch};
use crate::error::SaeError;

impl EncoderWeights<'_> {
    /// Chooses the `k` latents of every row whose pre-activations have the largest magnitudes, ascending, with their
    /// pre-activations; ties of the last place go to the lower latent.
    ///
    /// # Shapes
    /// `centred: [n, d_in]`, at most [`super::encode::TILE_ROWS`] rows; `indices` and `pre_acts`: `[n, k]`
    ///
    /// # Errors
    /// When libtorch refuses a product.
    pub fn choose_by_magnitude(
        &self,
        centred: &[f32],
        k: usize,
        scratch: &Scratch,
        indices: &mut [u32],
        pre_acts: &mut [f32],
    ) -> Result<Recomputation, SaeError> {
        let turned = |values: &[f32]| values.iter().map(|v| -v).collect::<Vec<f32>>();
        let (mut below, mut sizes) = (vec![0; indices.len()], vec![0f32; indices.len()]);
        let mut recomputation = self.choose(centred, k, scratch, Chosen::of(indices, pre_acts))?;
        let of_turned = EncoderWeights { b_enc: &turned(self.b_enc), ..*self };
        recomputation += of_turned.choose(&turned(centred), k, scratch, Chosen::of(&mut below, &mut sizes))?;
        let rows = indices.chunks_exact_mut(k).zip(pre_acts.chunks_exact_mut(k));
        for ((indices, pre_acts), (below, sizes)) in rows.zip(below.chunks_exact(k).zip(sizes.chunks_exact(k))) {
            let above = indices.iter().copied().zip(pre_acts.iter().copied());
            let mut all: Vec<(u32, f32)> = above.chain(below.iter().copied().zip(sizes.iter().map(|p| -p))).collect();
            all.sort_unstable_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
            // Of few latents some are found from both sides.
            all.dedup_by_key(|(latent, _)| *latent);
            all.truncate(k);
            all.sort_unstable_by_key(|(latent, _)| *latent);
            for ((index, pre_act), (latent, p)) in indices.iter_mut().zip(pre_acts).zip(all) {
                (*index, *pre_act) = (latent, p);
            }
        }
        Ok(recomputation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::narrow::NarrowWeights;
    use crate::precision::Precision;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_largest_magnitudes_are_those_of_a_sort_whatever_proposes() {
        const N: usize = 20;
        let mut generator = ChaCha8Rng::seed_from_u64(6);
        let mut random = |n: usize| (0..n).map(|_| generator.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
        for (d, f, k) in [(24, 300, 7), (24, 40, 33), (5, 6, 6)] {
            let (w_enc, b_enc, centred) = (random(f * d), random(f), random(N * d));
            for precision in Precision::ALL {
                let mut narrow = NarrowWeights::zeros(precision, f, &vec![1.0; d]);
                narrow.iter_mut().for_each(|narrow| narrow.copy_from(&w_enc, d));
                let weights = EncoderWeights { w_enc: &w_enc, narrow: narrow.as_ref(), b_enc: &b_enc, d_in: d };
                let (mut indices, mut pre_acts) = (vec![0; N * k], vec![0f32; N * k]);
                let scratch = Scratch::default();
                weights.choose_by_magnitude(&centred, k, &scratch, &mut indices, &mut pre_acts).expect("shapes fit");
                for (row, z) in centred.chunks_exact(d).enumerate() {
                    let dot = |w: &[f32]| w.iter().zip(z).map(|(w, z)| f64::from(*w) * f64::from(*z)).sum::<f64>();
                    let of = |(i, w): (usize, &[f32])| (i as u32, dot(w) + f64::from(b_enc[i]));
                    let mut all: Vec<(u32, f64)> = w_enc.chunks_exact(d).enumerate().map(of).collect();
                    all.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
                    all.truncate(k);
                    all.sort_by_key(|(latent, _)| *latent);
                    let at = row * k..(row + 1) * k;
                    assert!(indices[at.clone()].iter().eq(all.iter().map(|(latent, _)| latent)), "row {row} of {f}");
                    let close = |(p, (_, exact)): (&f32, &(u32, f64))| (f64::from(*p) - exact).abs() < 1e-5;
                    assert!(pre_acts[at].iter().zip(&all).all(close), "row {row} of {f}");
                }
            }
        }
    }
}
