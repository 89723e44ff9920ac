//! Matryoshka: batch-topk whose latents also reconstruct from every prefix of them, so that early latents become general
//! and late ones specific (Bussmann et al. 2025; random prefixes: Abeshima 2024).
//!
//! ```text
//! f as in batch-topk        e_r^m = sum_{i < l_m} f_ri d_i - z_r  for prefixes of lengths l_1 < ... < l_M = d_sae
//! L = 1/n sum_r sum_m |e_r^m|^2        g_r^m = 2/n e_r^m
//! G_r^j = sum_{m >= j} g_r^m           dL/df_ri = G_r^j · d_i,  dL/dd_i = sum_r f_ri G_r^j  for i in l_{j-1}..l_j
//! ```
//!
//! The sum over prefixes is not divided by their number, as in SAELens. `b_dec` receives `G^1`, the sum of all. Random
//! lengths are drawn anew at every step with `P(l <= x) = sqrt(x / d_sae)`, without repetition, `d_sae` always among them.

use super::asked::{About, Asked, Setting};
use super::batch_top_k;
use super::decode::{Totals, put};
use super::method::{Method, Ruled, Units};
use super::rule::{At, Local, Rectified, Rule};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Scratches, TileMut};
use crate::error::TrainError;
use crate::prefixes::Prefixes;
use crate::state::TrainState;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::kernels::buffer::prefetch;
use untangle_sae::kernels::vector::{axpy, dot};
use untangle_sae::{Activation, SaeError};

/// Its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matryoshka {
    /// As of batch-topk.
    pub k: usize,
    /// As of batch-topk.
    pub l0: f64,
    /// The prefixes.
    pub prefixes: Prefixes,
}

impl Ruled for Matryoshka {
    const ABOUT: About = About { settings: &[Setting::K, Setting::Prefixes], ..About::BY_BATCH };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(Matryoshka { k: asked.k, l0: asked.aim(), prefixes: Prefixes::resolve(asked.prefixes, asked.d_sae)? })
    }

    #[inline(always)]
    fn decode(&self, state: &TrainState, n: usize, _: f64, groups: &[usize], tile: TileMut<'_>) -> Totals {
        decode(state, n, groups, tile)
    }
}

impl Method for Matryoshka {
    fn target_l0(&self) -> Option<f64> {
        Some(self.l0)
    }

    fn is_calibrated(&self) -> bool {
        true
    }

    fn groups(&self, d_sae: usize, step: u64) -> Vec<usize> {
        lengths(&self.prefixes, d_sae, step)
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        batch_top_k::choose(state, self.k, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let passed = pass.by_batch(self.k)?;
        let lengths = self.groups(pass.d_sae() as usize, pass.step);
        let mut partial = passed.loss.f_zeros_like()?;
        for length in &lengths[..lengths.len() - 1] {
            partial = partial.f_add(&pass.error_of(&pass.reconstruct(&passed.acts, *length as i64)?)?)?;
        }
        Ok(Passed { penalty: Some(partial), ..passed })
    }

    fn saved_as(&self, state: &TrainState, units: Units) -> Activation {
        units.one_threshold(state.d_sae)
    }

    fn most_groups(&self) -> usize {
        self.prefixes.number()
    }
}

/// The lengths of a step's prefixes, ascending, the last `d_sae`.
pub fn lengths(prefixes: &Prefixes, d_sae: usize, step: u64) -> Vec<usize> {
    match prefixes {
        Prefixes::Fixed(lengths) => lengths.clone(),
        Prefixes::Random(n) => {
            let mut generator = ChaCha8Rng::seed_from_u64(step);
            let mut lengths = vec![d_sae];
            while lengths.len() < (*n).min(d_sae) {
                let u: f64 = generator.random();
                let length = ((d_sae as f64 * u * u).ceil() as usize).clamp(1, d_sae);
                if !lengths.contains(&length) {
                    lengths.push(length);
                }
            }
            lengths.sort_unstable();
            lengths
        }
    }
}

/// Decodes a tile from every prefix and differentiates it.
#[inline(always)]
fn decode(state: &TrainState, n: usize, ends: &[usize], mut tile: TileMut<'_>) -> Totals {
    let (d, scale) = (state.d_out, 2.0 / n as f32);
    let w_dec: &[f32] = &state.w_dec.value;
    let decoder_row = |latent: u32| &w_dec[latent as usize * d..(latent as usize + 1) * d];
    let mut totals = Totals::default();
    tile.entries.make_room(0);
    let (mut error, mut partial) = (vec![0f32; d], 0f64);
    for (row, z) in tile.target.chunks_exact(d).enumerate() {
        let places = tile.entries.found.row(row);
        error.iter_mut().zip(z).for_each(|(e, z)| *e = -z);
        let mut next = places.start;
        for (group, &end) in ends.iter().enumerate() {
            while next < places.end && (tile.entries.found.latents[next] as usize) < end {
                let f = Rectified.act(0, tile.entries.found.pre_acts[next]);
                tile.entries.acts[next] = f;
                if next + 1 < places.end {
                    prefetch(decoder_row(tile.entries.found.latents[next + 1]));
                }
                axpy(&mut error, f, decoder_row(tile.entries.found.latents[next]));
                next += 1;
            }
            let square = f64::from(dot(&error, &error));
            if group + 1 == ends.len() {
                totals.squared_error += square
            } else {
                partial += square
            }
            let out = &mut tile.d_out[group][row * d..(row + 1) * d];
            out.iter_mut().zip(&error).for_each(|(g, e)| *g = scale * e);
        }
        // From g of every prefix to G of every group.
        for group in (1..ends.len()).rev() {
            let (before, from) = tile.d_out.split_at_mut(group);
            axpy(&mut before[group - 1][row * d..(row + 1) * d], 1.0, &from[0][row * d..(row + 1) * d]);
        }
        let mut group = 0;
        for at in places {
            let latent = tile.entries.found.latents[at];
            while latent as usize >= ends[group] {
                group += 1;
            }
            let h = dot(&tile.d_out[group][row * d..(row + 1) * d], decoder_row(latent));
            let (p, f) = (tile.entries.found.pre_acts[at], tile.entries.acts[at]);
            let local: Local = Rectified.back(At { latent: latent as usize, p, f, h, h_gate: 0.0 });
            put(tile.entries, at, 0, local);
        }
    }
    totals.penalty = partial / n as f64;
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_lengths_ascend_to_all_latents_and_short_ones_are_likelier() {
        let mut below_half = 0;
        for step in 0..500 {
            let lengths = lengths(&Prefixes::Random(10), 1000, step);
            assert_eq!((lengths.len(), lengths[9]), (10, 1000));
            assert!(lengths.windows(2).all(|pair| pair[0] < pair[1]) && lengths[0] > 0);
            below_half += lengths[..9].iter().filter(|&&l| l <= 500).count();
        }
        // P(l <= 500) = sqrt(1/2) = .707 of 4500.
        assert!((3000..3400).contains(&below_half), "{below_half}");
        assert_eq!(lengths(&Prefixes::Random(10), 4, 0), [1, 2, 3, 4]);
    }
}
