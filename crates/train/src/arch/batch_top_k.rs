//! BatchTopK: the `k n` largest pre-activations of a batch of `n` rows, so that rows share k as they need it
//! (Bussmann et al. 2024).
//!
//! ```text
//! p_r = W_enc z_r + b_enc        f = the k n largest of relu(p) over all rows and latents, zero elsewhere
//! L   = 1/n sum_r |W_dec^T f_r - z_r|^2        dL/dp_ri = g_r · d_i where f_ri > 0, else 0
//! ```
//!
//! A result for single rows needs a threshold instead of a batch: it is calibrated after training (see
//! [`crate::calibrate`]) and saved as JumpReLU. Ties of the last place go to the lower row, then to the lower latent.
//!
//! A crosscoder ranks by `p_i c_i`, with a weight `c_i` of every latent's own (see [`super::crosscoder`]).
//!
//! The search is exact (see [`untangle_sae::kernels::largest`]). It begins at a lower bound of the last place, which is guessed
//! from the last batch, and lowers the bound where too few are above it.

use super::asked::{About, Asked};
use super::method::{Method, Ruled, Units};
use super::tensors::{Pass, Passed};
use crate::activity::{Activity, Entries, Scratches};
use crate::error::TrainError;
use crate::state::TrainState;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::kernels::bounds::Bounds;
use untangle_sae::kernels::encode::{EncoderWeights, TILE_ROWS};
use untangle_sae::kernels::largest::Proposed;
use untangle_sae::{Activation, SaeError};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchTopK {
    /// Mean number of active latents per row in training.
    pub k: usize,
    /// Mean number that the threshold of the result is calibrated to.
    pub l0: f64,
}

impl Ruled for BatchTopK {
    const ABOUT: About = About::BY_BATCH;

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        Ok(BatchTopK { k: asked.k, l0: asked.aim() })
    }
}

impl Method for BatchTopK {
    fn target_l0(&self) -> Option<f64> {
        Some(self.l0)
    }

    fn is_calibrated(&self) -> bool {
        true
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        choose(state, self.k, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        pass.by_batch(self.k)
    }

    fn saved_as(&self, state: &TrainState, units: Units) -> Activation {
        units.one_threshold(state.d_sae)
    }
}

/// The search begins at this part of the last batch's smallest chosen pre-activation: steps move it by a few per cent, and a
/// tenth lower costs a third more candidates.
const GUESS: f32 = 0.9;
/// The bound is lowered to this part of itself where it was too high.
const LOWERED: f32 = 0.7;
/// Lowered so often in vain, everything positive is looked at.
const PATIENCE: usize = 5;
/// The smallest positive number.
const SMALLEST: f32 = f32::from_bits(1);

/// What entries are ranked by: the pre-activation times the latent's weight, where there are weights.
#[derive(Clone, Copy)]
pub(crate) struct Ranks<'a>(pub(crate) &'a [f32]);

impl Ranks<'_> {
    #[inline(always)]
    fn rank(self, latent: u32, p: f32) -> f32 {
        if self.0.is_empty() { p } else { p * self.0[latent as usize] }
    }

    /// The ranks of a tile's entries.
    pub(crate) fn of<'a>(self, tile: &'a Entries) -> impl Iterator<Item = f32> + 'a
    where
        Self: 'a,
    {
        tile.found.latents.iter().zip(&tile.found.pre_acts).map(move |(&latent, &p)| self.rank(latent, p))
    }

    /// Bounds of the pre-activations that leave nothing out that ranks above `bound`.
    fn bounds(self, weights: &EncoderWeights<'_>, bound: f32) -> Bounds {
        match self.0 {
            [] => Bounds::same(weights, bound),
            // A hair lower, because the product with the weight is rounded.
            all => Bounds::new(weights, all.iter().map(|weight| bound / weight * (1.0 - 4.0 * f32::EPSILON)).collect()),
        }
    }
}

/// Chooses the `k n` largest, and keeps the smallest of them as where the next search begins; zero where there are fewer than
/// that many positive ones.
pub(super) fn choose(
    state: &mut TrainState,
    k: usize,
    scratch: &Scratches,
    activity: &mut Activity,
) -> Result<(), SaeError> {
    let (weights, ranks) = (state.encoder(), Ranks(&state.norm_sums));
    let wanted = k * (activity.centred.len() / state.d_in);
    let guess = match state.carried.threshold as f32 {
        threshold if threshold > 0.0 => GUESS * threshold,
        _ => first_guess(&weights, k, scratch, activity)?,
    };
    find_largest(&weights, ranks, wanted, guess, scratch, &activity.centred, &mut activity.tiles)?;
    let kth = nth_largest(activity.tiles.iter().flat_map(|tile| ranks.of(tile)), wanted);
    let mut ties = match kth {
        Some(kth) => wanted - activity.tiles.iter().flat_map(|t| ranks.of(t)).filter(|&rank| rank > kth).count(),
        None => 0,
    };
    let kth = kth.unwrap_or(0.0);
    activity.tiles.iter_mut().for_each(|tile| keep(tile, ranks, kth, &mut ties));
    state.carried.threshold = f64::from(kth);
    Ok(())
}

/// A bound from the first rows: half of what the k-th place of their top-k is on average.
fn first_guess(
    weights: &EncoderWeights<'_>,
    k: usize,
    scratch: &Scratches,
    activity: &Activity,
) -> Result<f32, SaeError> {
    const SAMPLE: usize = 16;
    let d = weights.d_in;
    let rows = &activity.centred[..activity.centred.len().min(SAMPLE * d)];
    let n = rows.len() / d;
    let (mut indices, mut pre_acts) = (vec![0; n * k], vec![0f32; n * k]);
    let chosen = untangle_sae::kernels::encode::Chosen::of(&mut indices, &mut pre_acts);
    weights.choose(rows, k, &scratch.per_row, chosen)?;
    let smallest = pre_acts.chunks_exact(k).map(|row| row.iter().copied().fold(f32::INFINITY, f32::min));
    Ok((smallest.sum::<f32>() / (2 * n) as f32).max(0.0))
}

/// Fills the tiles with entries among which are the `wanted` largest, or with all positive ones where these are fewer.
pub(crate) fn find_largest(
    weights: &EncoderWeights<'_>,
    ranks: Ranks<'_>,
    wanted: usize,
    guess: f32,
    scratch: &Scratches,
    centred: &[f32],
    tiles: &mut [Entries],
) -> Result<(), SaeError> {
    let rows = || centred.par_chunks(TILE_ROWS * weights.d_in);
    let rank = |latent, p| ranks.rank(latent, p);
    let mut proposed = vec![Proposed::default(); tiles.len()];
    let mut bound = guess.max(0.0);
    let mut floor = f32::INFINITY;
    for attempt in 1.. {
        let bounds = ranks.bounds(weights, bound);
        rows().zip(&mut proposed).try_for_each(|(rows, tile)| weights.propose(rows, &bounds, &scratch.above, tile))?;
        let ranks = proposed.iter().flat_map(|tile| tile.ranks(rank)).filter(|rank| *rank > bound);
        let cut = nth_largest(ranks, wanted).unwrap_or(f32::INFINITY);
        let smallest = rows().zip(&mut proposed).map(|(rows, tile)| weights.confirm(rows, cut, rank, tile));
        floor = smallest.reduce(|| f32::INFINITY, f32::min);
        if bound == 0.0 || (floor > bound && floor.is_finite()) {
            break;
        }
        bound = if attempt < PATIENCE { bound * LOWERED } else { 0.0 };
    }
    // Of too few all are wanted that are positive, and nothing else ever is.
    let floor = if floor.is_finite() { floor.max(SMALLEST) } else { SMALLEST };
    rows()
        .zip(&mut proposed)
        .zip(tiles)
        .for_each(|((rows, proposed), tile)| weights.collect(rows, floor, rank, proposed, &mut tile.found));
    Ok(())
}

/// The `n`-th largest of positive ranks; none where there are fewer.
pub(crate) fn nth_largest(ranks: impl Iterator<Item = f32>, n: usize) -> Option<f32> {
    // Positive floats are ordered as their bits are.
    let mut bits: Vec<u32> = ranks.map(f32::to_bits).collect();
    let place = n.checked_sub(1).filter(|place| *place < bits.len())?;
    let (_, &mut nth, _) = bits.select_nth_unstable_by(place, |a, b| b.cmp(a));
    Some(f32::from_bits(nth))
}

/// Drops what is below `kth`, and what equals it once `ties` are used up.
fn keep(tile: &mut Entries, ranks: Ranks<'_>, kth: f32, ties: &mut usize) {
    let found = &mut tile.found;
    let (mut next, mut begin) = (0, 0);
    for row in 0..found.n_rows() {
        let end = found.starts[row + 1] as usize;
        for at in begin..end {
            let p = found.pre_acts[at];
            let rank = ranks.rank(found.latents[at], p);
            let tied = rank == kth && *ties > 0;
            *ties -= usize::from(tied);
            if rank > kth || tied {
                (found.latents[next], found.pre_acts[next]) = (found.latents[at], p);
                next += 1;
            }
        }
        begin = end;
        found.starts[row + 1] = next as u32;
    }
    found.latents.truncate(next);
    found.pre_acts.truncate(next);
}
