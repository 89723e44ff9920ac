//! The largest pre-activations of many rows together: the selection of architectures whose rows share their number.
//!
//! As in [`super::above`], a product proposes, within margins, and f32 decides; but of all that may lie above a bound only that
//! is recomputed which may be among the largest. The `m` entries with the largest proposals are recomputed first. The smallest
//! of their exact ranks is a floor under the `m`-th largest of all, and what cannot reach it, even with its margin, is left
//! alone. Recomputing every proposal costs several times as much. Where a margin is an estimate and a product of the row errs
//! by more than half of it, all latents of the row are recomputed.

use super::above::{AboveScratch, Found};
use super::bounds::Bounds;
use super::decide::Wanted;
use super::encode::EncoderWeights;
use super::margin::Margin;
use super::vector::dispatch;
use crate::error::SaeError;

/// The exact pre-activation of what was not recomputed.
const UNKNOWN: f32 = f32::NAN;

/// What a product proposes for a tile of rows; the memory is reused.
#[derive(Clone, Debug, Default)]
pub struct Proposed {
    /// Latents, and their pre-activations as the product has them.
    found: Found,
    /// What the proposals of a row may be wrong by, `[rows]`
    margins: Vec<Margin>,
    /// Pre-activations in f32, of what was recomputed.
    exact: Vec<f32>,
}

impl Proposed {
    /// Adds a row's proposals, which lie so far above their bounds.
    fn push_row(&mut self, over: &[(u32, f32)], bound: &[f32]) {
        self.found.latents.extend(over.iter().map(|&(latent, _)| latent));
        self.found.pre_acts.extend(over.iter().map(|&(latent, over)| over + bound[latent as usize]));
        self.found.starts.push(self.found.latents.len() as u32);
    }

    /// What every proposal ranks by its product.
    pub fn ranks<'a>(&'a self, rank: impl Fn(u32, f32) -> f32 + 'a) -> impl Iterator<Item = f32> + 'a {
        self.found.latents.iter().zip(&self.found.pre_acts).map(move |(&latent, &p)| rank(latent, p))
    }
}

impl EncoderWeights<'_> {
    /// Leaves in `proposed` what may be above its bound in each of at most [`super::encode::TILE_ROWS`] rows, `[n, d_in]`,
    /// less `b_dec`.
    ///
    /// # Errors
    /// When libtorch refuses the product.
    pub fn propose(
        &self,
        centred: &[f32],
        bounds: &Bounds,
        scratch: &AboveScratch,
        proposed: &mut Proposed,
    ) -> Result<(), SaeError> {
        self.with_proposals(centred, bounds, scratch, |tile, _| {
            proposed.found.restart();
            proposed.margins.clear();
            proposed.margins.extend_from_slice(tile.margins);
            tile.rows.iter().for_each(|row| proposed.push_row(row, &tile.bounds.bound));
        })
    }

    /// Recomputes the proposals of a tile that rank `cut` or more by their product; returns the smallest of their exact
    /// ranks, infinity where there are none. `rank` of a latent and its pre-activation does not fall as that rises.
    pub fn confirm<R: Fn(u32, f32) -> f32>(&self, centred: &[f32], cut: f32, rank: R, proposed: &mut Proposed) -> f32 {
        let Proposed { found, exact, .. } = proposed;
        exact.clear();
        exact.resize(found.latents.len(), UNKNOWN);
        let mut smallest = f32::INFINITY;
        dispatch(
            #[inline(always)]
            || {
                for at in self
                    .recompute_where(centred, found, exact, |_, at| rank(found.latents[at], found.pre_acts[at]) >= cut)
                {
                    smallest = smallest.min(rank(found.latents[at], exact[at]));
                }
            },
        );
        smallest
    }

    /// Leaves in `found` every entry of a tile whose exact rank is `floor` or more, after [`Self::confirm`] with the same
    /// `rank`. `floor` is not below the bounds that were proposed with.
    pub fn collect<R: Fn(u32, f32) -> f32>(
        &self,
        centred: &[f32],
        floor: f32,
        rank: R,
        proposed: &mut Proposed,
        found: &mut Found,
    ) {
        found.restart();
        let Proposed { found: of, margins, exact } = proposed;
        dispatch(
            #[inline(always)]
            || {
                let reaches =
                    |row: usize, at: usize| rank(of.latents[at], of.pre_acts[at] + margins[row].proposed) >= floor;
                self.recompute_where(centred, of, exact, reaches);
                for (row, x) in centred.chunks_exact(self.d_in).enumerate() {
                    let mut keep = |latent: u32, p: f32| {
                        // What is still unknown compares as false.
                        if rank(latent, p) >= floor {
                            found.latents.push(latent);
                            found.pre_acts.push(p);
                        }
                    };
                    // Loops, because what `fold` and `for_each` call is compiled without the dispatched instructions.
                    let mut worst = 0f32;
                    for at in of.row(row) {
                        worst = worst.max((exact[at] - of.pre_acts[at]).abs());
                    }
                    if margins[row].is_refuted_by(worst) {
                        for latent in 0..self.d_sae() as u32 {
                            keep(latent, self.pre_act(x, latent));
                        }
                    } else {
                        for at in of.row(row) {
                            keep(of.latents[at], exact[at]);
                        }
                    }
                    found.starts.push(found.latents.len() as u32);
                }
            },
        );
    }

    /// Sets the exact pre-activations of what is unknown and `wanted`, by row and place; returns these places.
    #[inline(always)]
    fn recompute_where(
        &self,
        centred: &[f32],
        of: &Found,
        exact: &mut [f32],
        wanted: impl Fn(usize, usize) -> bool,
    ) -> Vec<usize> {
        let (mut list, mut places) = (Wanted::default(), Vec::new());
        list.restart();
        for row in 0..of.n_rows() {
            for at in of.row(row).filter(|&at| exact[at].is_nan() && wanted(row, at)) {
                list.latents.push(of.latents[at]);
                places.push(at);
            }
            list.end_row();
        }
        self.recompute(centred, &mut list);
        for (&at, value) in places.iter().zip(&list.exact) {
            exact[at] = *value;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::buffer::Buffer;
    use crate::kernels::encode::all_pre_acts;
    use crate::kernels::narrow::NarrowWeights;
    use crate::precision::Precision;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn everything_that_reaches_the_floor_is_found_and_nothing_else_in_every_precision() {
        for (d, f, n, wanted) in [(24, 300, 70, 300), (33, 4200, 256, 900), (7, 5, 3, 2)] {
            let mut generator = ChaCha8Rng::seed_from_u64(d as u64);
            let mut random = |n: usize| -> Vec<f32> { (0..n).map(|_| generator.random_range(-1.0f32..1.0)).collect() };
            let (w_enc, b_enc, rows) = (Buffer::copy_of(&random(d * f)), random(f), random(n * d));
            let factors: Vec<f32> = random(f).iter().map(|v| v.abs() + 0.5).collect();
            let rank = |latent: u32, p: f32| p * factors[latent as usize];
            for precision in Precision::ALL {
                let mut narrow = NarrowWeights::zeros(precision, f, &vec![1.0; d]);
                narrow.iter_mut().for_each(|narrow| narrow.copy_from(&w_enc, d));
                let weights = EncoderWeights { w_enc: &w_enc, narrow: narrow.as_ref(), b_enc: &b_enc, d_in: d };
                let bounds = Bounds::same(&weights, 0.0);
                let (mut proposed, mut found) = (Proposed::default(), Found::default());
                weights.propose(&rows, &bounds, &AboveScratch::default(), &mut proposed).expect("shapes fit");
                let mut by_product: Vec<f32> = proposed.ranks(rank).collect();
                by_product.sort_by(|a, b| b.total_cmp(a));
                let cut = by_product[wanted - 1];
                let floor = weights.confirm(&rows, cut, rank, &mut proposed);
                weights.collect(&rows, floor, rank, &mut proposed, &mut found);

                let mut all = vec![0f32; n * f];
                all_pre_acts(&weights, &rows, &mut all);
                let expected = |row: usize| -> Vec<(u32, f32)> {
                    let of_row = (0u32..).zip(all[row * f..(row + 1) * f].iter().copied());
                    of_row.filter(|&(latent, p)| rank(latent, p) >= floor).collect()
                };
                let mut largest: Vec<f32> = all.iter().enumerate().map(|(i, &p)| rank((i % f) as u32, p)).collect();
                largest.sort_by(|a, b| b.total_cmp(a));
                assert!(floor > 0.0 && floor <= largest[wanted - 1], "the wanted ones reach the floor");
                for row in 0..n {
                    let at = found.row(row);
                    let pairs = found.latents[at.clone()].iter().copied().zip(found.pre_acts[at].iter().copied());
                    assert_eq!(pairs.collect::<Vec<_>>(), expected(row), "{precision:?}, d {d}, f {f}, row {row}");
                }
                let recomputed = proposed.exact.iter().filter(|p| !p.is_nan()).count();
                assert!(recomputed < proposed.exact.len() || f == 5, "{recomputed} of all");
            }
        }
    }

    #[test]
    fn an_error_that_was_seen_has_all_latents_of_the_row_looked_at() {
        // In bytes 64.49 is 64: the sums come out at 65,599 and 64,599 instead of 66,100 and 65,100, which is further off
        // than twice the estimate, 251.
        let (d, f) = (1024, 32);
        let mut row = vec![64.49f32; d];
        row[0] = 127.0;
        let mut w_enc = vec![0f32; d * f];
        w_enc[7 * d..9 * d].fill(1.0);
        let mut b_enc = vec![0.0; f];
        b_enc[8] = -1000.0;
        let mut narrow = NarrowWeights::zeros(Precision::Int8, f, &vec![1.0; d]);
        narrow.iter_mut().for_each(|narrow| narrow.copy_from(&w_enc, d));
        let weights = EncoderWeights { w_enc: &w_enc, narrow: narrow.as_ref(), b_enc: &b_enc, d_in: d };
        let (mut proposed, mut found) = (Proposed::default(), Found::default());
        weights
            .propose(&row, &Bounds::same(&weights, 65_000.0), &AboveScratch::default(), &mut proposed)
            .expect("fits");
        assert_eq!(proposed.found.latents, [7], "the other one is not proposed");
        weights.confirm(&row, f32::NEG_INFINITY, |_, p| p, &mut proposed);
        weights.collect(&row, 65_050.0, |_, p| p, &mut proposed, &mut found);
        assert_eq!(found.latents, [7, 8]);
    }

    #[test]
    fn of_fewer_than_are_wanted_all_that_reach_the_floor_are_found() {
        let weights = EncoderWeights { w_enc: &[1.0, -1.0, 2.0], narrow: None, b_enc: &[0.0; 3], d_in: 1 };
        let (mut proposed, mut found) = (Proposed::default(), Found::default());
        let bounds = Bounds::same(&weights, 0.0);
        weights.propose(&[1.0, -3.0], &bounds, &AboveScratch::default(), &mut proposed).expect("shapes fit");
        assert_eq!(weights.confirm(&[1.0, -3.0], f32::INFINITY, |_, p| p, &mut proposed), f32::INFINITY);
        weights.collect(&[1.0, -3.0], f32::MIN_POSITIVE, |_, p| p, &mut proposed, &mut found);
        assert_eq!((found.starts, found.latents, found.pre_acts), (vec![0, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0]));
    }
}
