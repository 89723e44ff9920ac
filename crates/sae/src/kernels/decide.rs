//! Exact recomputation of what a product proposed, a tile of rows at a time, in the order of [`super::order`].

use super::above::{Found, Proposals};
use super::bounds::Bounds;
use super::encode::EncoderWeights;
use super::order::Order;
use super::vector::dispatch;

/// Latents of a tile's rows that are recomputed; the memory is reused.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Where every row begins, `[rows + 1]`
    starts: Vec<u32>,
    /// Latents, ascending in a row
    pub(super) latents: Vec<u32>,
    /// The pre-activation of each, once they are recomputed.
    pub(super) exact: Vec<f32>,
    order: Order,
}

impl Wanted {
    /// Wants nothing of no row.
    pub(super) fn restart(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.latents.clear();
    }

    /// Ends a row; the latents after it are of the next.
    pub(super) fn end_row(&mut self) {
        self.starts.push(self.latents.len() as u32);
    }

    /// The places of a row's latents.
    pub(super) fn row(&self, row: usize) -> std::ops::Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }
}

impl EncoderWeights<'_> {
    /// Sets the exact pre-activations of what is wanted of rows `[n, d_in]`.
    #[inline(always)]
    pub(super) fn recompute(&self, centred: &[f32], wanted: &mut Wanted) {
        let Wanted { starts, latents, exact, order } = wanted;
        exact.resize(latents.len(), 0.0);
        order.set(starts, latents, self.d_sae());
        for block in order.blocks() {
            for (latent, places) in block.runs(|latent| self.row(latent)) {
                for place in places {
                    let row = place.row as usize * self.d_in;
                    exact[place.at as usize] = self.pre_act(&centred[row..row + self.d_in], latent);
                }
            }
        }
    }

    /// Recomputes what was proposed and keeps what is above its bound.
    pub(super) fn decide(&self, centred: &[f32], proposals: &Proposals<'_>, first: &mut FirstPass, found: &mut Found) {
        found.restart();
        dispatch(
            #[inline(always)]
            || {
                first.set(proposals);
                self.recompute(centred, &mut first.wanted);
                // Growing by doubling would take up to twice as much, for every tile.
                found.latents.reserve_exact(first.wanted.latents.len());
                found.pre_acts.reserve_exact(first.wanted.latents.len());
                for (row, x) in centred.chunks_exact(self.d_in).enumerate() {
                    if first.leaves_doubt(row, proposals) {
                        self.look_further(x, row, proposals, found);
                    } else {
                        first.keep_above(row, &proposals.bounds.bound, found);
                    }
                    found.starts.push(found.latents.len() as u32);
                }
            },
        );
    }

    /// Recomputes all that was proposed of a row, and all latents where that leaves a doubt, too.
    #[inline(always)]
    fn look_further(&self, x: &[f32], row: usize, proposals: &Proposals<'_>, found: &mut Found) {
        let (start, margin, mut doubt) = (found.latents.len(), &proposals.margins[row], false);
        for &(latent, over) in &proposals.rows[row] {
            let off = self.keep_if_above(x, latent, proposals.bounds, found) - over;
            doubt |= off.abs() - margin.rest > margin.first(proposals.bounds.in_bytes[latent as usize]);
        }
        if doubt && !margin.proven {
            found.latents.truncate(start);
            found.pre_acts.truncate(start);
            for latent in 0..self.d_sae() as u32 {
                self.keep_if_above(x, latent, proposals.bounds, found);
            }
        }
    }

    /// Keeps a latent if it is above its bound, and returns how far above.
    #[inline(always)]
    fn keep_if_above(&self, x: &[f32], latent: u32, bounds: &Bounds, found: &mut Found) -> f32 {
        let (value, bound) = (self.pre_act(x, latent), bounds.bound[latent as usize]);
        if value > bound {
            found.latents.push(latent);
            found.pre_acts.push(value);
        }
        value - bound
    }
}

/// What is looked at first; the memory is reused.
#[derive(Debug, Default)]
pub(super) struct FirstPass {
    wanted: Wanted,
    /// How far above its bound the product has each.
    over: Vec<f32>,
    /// What the product of each is taken to err by at most.
    first: Vec<f32>,
}

impl FirstPass {
    #[inline(always)]
    fn set(&mut self, proposals: &Proposals<'_>) {
        let FirstPass { wanted, over: overs, first: firsts } = self;
        let n = proposals.rows.iter().map(Vec::len).sum();
        wanted.restart();
        wanted.latents.resize(n, 0);
        overs.resize(n, 0.0);
        firsts.resize(n, 0.0);
        let mut end = 0;
        for (proposed, margin) in proposals.rows.iter().zip(proposals.margins) {
            for &(latent, over) in proposed {
                // Written anyway and kept by counting on: half are kept at random, which no branch predicts.
                let first = margin.first(proposals.bounds.in_bytes[latent as usize]);
                (wanted.latents[end], overs[end], firsts[end]) = (latent, over, first);
                end += usize::from(over > -(first + margin.rest));
            }
            wanted.starts.push(end as u32);
        }
        wanted.latents.truncate(end);
    }

    /// Whether a row's products err by more than half of what they are taken to, where there is more to look at.
    #[inline(always)]
    fn leaves_doubt(&self, row: usize, proposals: &Proposals<'_>) -> bool {
        let (at, margin) = (self.wanted.row(row), &proposals.margins[row]);
        if margin.proven && at.len() == proposals.rows[row].len() {
            return false;
        }
        let mut doubt = false;
        for at in at {
            let bound = proposals.bounds.bound[self.wanted.latents[at] as usize];
            let off = (self.wanted.exact[at] - bound - self.over[at]).abs();
            doubt |= 2.0 * (off - margin.rest) > self.first[at];
        }
        doubt
    }

    #[inline(always)]
    fn keep_above(&self, row: usize, bound: &[f32], found: &mut Found) {
        for at in self.wanted.row(row) {
            let (latent, value) = (self.wanted.latents[at], self.wanted.exact[at]);
            if value > bound[latent as usize] {
                found.latents.push(latent);
                found.pre_acts.push(value);
            }
        }
    }
}
