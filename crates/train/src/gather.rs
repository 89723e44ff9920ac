//! The gradient of one latent, gathered from the rows that chose it.
//!
//! With `g_r = dL/dx_hat_r` and `z_r = x_r - b_dec`, and the sum over the rows `r` on which latent `i` fires:
//!
//! ```text
//! dL/dd_i = sum_r f_ri g_r        dL/dw_i = sum_r (g_r · d_i) z_r        dL/db_i = sum_r (g_r · d_i)
//! ```
//!
//! where an architecture may replace `g_r · d_i` by what its own loss sends to the pre-activation. The inverse index is
//! built once per step; then every latent's gradient is finished in cache and used at once; no dense gradient is ever
//! stored.

use crate::activity::Entries;
use crate::dense::DenseGradients;
use rayon::prelude::*;
use std::ops::Range;
use untangle_sae::kernels::buffer::{Buffer, prefetch};
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::vector::axpy;

/// The entries of a batch that matter, by latent: a counting sort of them. Rows of a latent ascend.
#[derive(Clone, Debug, Default)]
pub struct Firings {
    starts: Vec<u32>,
    rows: Vec<u32>,
    acts: Vec<f32>,
    d_pre: Vec<f32>,
    d_extra: [Vec<f32>; 2],
}

/// Latents that a worker sorts at a time.
const RANGE: usize = 1024;

/// Entries without activation and without gradient change nothing.
#[inline]
fn matters(entries: &Entries, at: usize, extras: usize) -> bool {
    let learns = entries.d_extra.iter().take(extras).any(|values| values[at] != 0.0);
    entries.acts[at] != 0.0 || entries.d_pre[at] != 0.0 || learns
}

/// Calls `of` with the row and place of every entry of the tiles that matters and is of a latent in this range, by row.
fn for_each_of(tiles: &[Entries], extras: usize, latents: Range<usize>, mut of: impl FnMut(u32, &Entries, usize)) {
    for (number, tile) in tiles.iter().enumerate() {
        for row in 0..tile.found.n_rows() {
            let places = tile.found.row(row);
            let of_row = &tile.found.latents[places.clone()];
            let from = places.start + of_row.partition_point(|&latent| (latent as usize) < latents.start);
            let in_range = |at: &usize| (tile.found.latents[*at] as usize) < latents.end;
            for at in (from..places.end).take_while(in_range).filter(|&at| matters(tile, at, extras)) {
                of((number * TILE_ROWS + row) as u32, tile, at);
            }
        }
    }
}

/// The first `n` elements, of which `rest` is left without; all that there are where there are fewer.
fn take<'a, T>(rest: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    rest.split_off_mut(..n.min(rest.len())).unwrap_or_default()
}

/// The part of [`Firings`] that is of a range of latents.
struct RangeMut<'a> {
    latents: Range<usize>,
    next: &'a mut [u32],
    begin: u32,
    rows: &'a mut [u32],
    acts: &'a mut [f32],
    d_pre: &'a mut [f32],
    d_extra: [&'a mut [f32]; 2],
}

impl RangeMut<'_> {
    fn fill(self, tiles: &[Entries], extras: usize) {
        let RangeMut { latents, next, begin, rows, acts, d_pre, mut d_extra } = self;
        for_each_of(tiles, extras, latents.clone(), |row, tile, at| {
            let next = &mut next[tile.found.latents[at] as usize - latents.start];
            let to = (*next - begin) as usize;
            *next += 1;
            rows[to] = row;
            (acts[to], d_pre[to]) = (tile.acts[at], tile.d_pre[at]);
            for (to_values, values) in d_extra.iter_mut().zip(&tile.d_extra).take(extras) {
                to_values[to] = values[at];
            }
        });
    }
}

impl Firings {
    /// Rebuilds the index from the entries of all tiles, with so many further gradients each.
    pub fn rebuild(&mut self, d_sae: usize, tiles: &[Entries], extras: usize) {
        let Firings { starts, rows, acts, d_pre, d_extra } = self;
        // Where a latent's entries begin, one place further on than in the end: filling moves every start to its end.
        starts.clear();
        starts.resize(d_sae + 1, 0);
        starts[1..].par_chunks_mut(RANGE).enumerate().for_each(|(range, counts)| {
            let latents = range * RANGE..range * RANGE + counts.len();
            for_each_of(tiles, extras, latents.clone(), |_, tile, at| {
                counts[tile.found.latents[at] as usize - latents.start] += 1;
            });
        });
        let mut n = 0;
        for start in &mut starts[1..] {
            (*start, n) = (n, n + *start);
        }
        rows.resize(n as usize, 0);
        acts.resize(n as usize, 0.0);
        d_pre.resize(n as usize, 0.0);
        d_extra.iter_mut().take(extras).for_each(|values| values.resize(n as usize, 0.0));
        let begins: Vec<u32> = starts[1..].chunks(RANGE).map(|starts| starts[0]).chain([n]).collect();
        let [first, second] = d_extra;
        let (mut rows, mut acts, mut d_pre) = (&mut rows[..], &mut acts[..], &mut d_pre[..]);
        let (mut first, mut second) = (&mut first[..], &mut second[..]);
        let ranges: Vec<RangeMut<'_>> = (starts[1..].chunks_mut(RANGE).enumerate())
            .map(|(range, next)| {
                let entries = (begins[range + 1] - begins[range]) as usize;
                RangeMut {
                    latents: range * RANGE..range * RANGE + next.len(),
                    next,
                    begin: begins[range],
                    rows: take(&mut rows, entries),
                    acts: take(&mut acts, entries),
                    d_pre: take(&mut d_pre, entries),
                    d_extra: [take(&mut first, entries), take(&mut second, entries)],
                }
            })
            .collect();
        ranges.into_par_iter().for_each(|range| range.fill(tiles, extras));
    }

    fn of(&self, latent: usize) -> std::ops::Range<usize> {
        self.starts[latent] as usize..self.starts[latent + 1] as usize
    }

    /// Rows on which an entry of `latent` matters.
    pub fn rows(&self, latent: usize) -> &[u32] {
        &self.rows[self.of(latent)]
    }

    /// Whether `latent` fired.
    pub fn fired(&self, latent: usize) -> bool {
        self.acts[self.of(latent)].iter().any(|&act| act != 0.0)
    }

    /// Sum of the `extra`-th further gradient of `latent`.
    pub fn sum_of_extra(&self, extra: usize, latent: usize) -> f32 {
        self.d_extra[extra][self.of(latent)].iter().sum()
    }
}

/// What the backward pass reads.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// The gradients, where they were computed densely; nothing else is read then but `d_out`.
    pub dense: Option<&'a DenseGradients>,
    /// Firings by latent.
    pub firings: &'a Firings,
    /// `z`, `[rows, d_in]`
    pub centred: &'a [f32],
    /// `G` of every group, `[rows, d_out]` each
    pub d_out: &'a [Buffer<f32>],
    /// End of every group of latents.
    pub groups: &'a [usize],
}

impl Backward<'_> {
    /// Replaces `d_w`, `[d_in]`, by dL/dw_i and `d_d`, `[d_out]`, by dL/dd_i.
    #[inline(always)]
    pub fn gather(&self, latent: usize, d_w: &mut [f32], d_d: &mut [f32]) {
        let (d, e) = (d_w.len(), d_d.len());
        if let Some(dense) = self.dense {
            d_w.copy_from_slice(&dense.d_w[latent * d..(latent + 1) * d]);
            d_d.copy_from_slice(&dense.d_d[latent * e..(latent + 1) * e]);
            return;
        }
        d_w.fill(0.0);
        d_d.fill(0.0);
        let d_out = &self.d_out[self.groups.partition_point(|&end| end <= latent)];
        let slots = self.firings.of(latent);
        for slot in slots.clone() {
            let row = self.firings.rows[slot] as usize;
            if slot + 1 < slots.end {
                let next = self.firings.rows[slot + 1] as usize;
                prefetch(&d_out[next * e..(next + 1) * e]);
                prefetch(&self.centred[next * d..(next + 1) * d]);
            }
            let (act, d_pre) = (self.firings.acts[slot], self.firings.d_pre[slot]);
            if act != 0.0 {
                axpy(d_d, act, &d_out[row * e..(row + 1) * e]);
            }
            if d_pre != 0.0 {
                axpy(d_w, d_pre, &self.centred[row * d..(row + 1) * d]);
            }
        }
    }

    /// Sum over rows of dL/d(w_i · z).
    pub fn bias(&self, latent: usize) -> f32 {
        match self.dense {
            Some(dense) => dense.d_b[latent],
            None => self.firings.d_pre[self.firings.of(latent)].iter().sum(),
        }
    }

    /// The gradient of the `extra`-th further parameter.
    pub fn extra(&self, extra: usize, latent: usize) -> f32 {
        match self.dense {
            Some(dense) => dense.d_extra[extra][latent],
            None => self.firings.sum_of_extra(extra, latent),
        }
    }

    /// Sum of the activations of `latent`.
    pub fn sum_of_acts(&self, latent: usize) -> f32 {
        match self.dense {
            Some(dense) => dense.acts[latent],
            None => self.firings.acts[self.firings.of(latent)].iter().sum(),
        }
    }

    /// Whether `latent` fired.
    pub fn fired(&self, latent: usize) -> bool {
        self.dense.map_or_else(|| self.firings.fired(latent), |dense| dense.fired[latent])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_sae::kernels::above::Found;

    #[test]
    fn firings_are_grouped_by_latent_in_row_order_and_silent_choices_are_left_out() {
        let entries = Entries {
            found: Found { starts: vec![0, 3, 6], latents: vec![0, 1, 2, 0, 2, 3], pre_acts: vec![0.0; 6] },
            acts: vec![0.0, 0.0, 2.0, 5.0, 1.0, 0.0],
            d_pre: vec![0.0, 0.0, 0.5, 0.25, 0.125, 0.0],
            d_extra: [vec![0.0, 0.0, 0.0, 0.0, 0.0, 3.0], Vec::new()],
            of_dead: Vec::new(),
        };
        let mut firings = Firings::default();
        firings.rebuild(4, std::slice::from_ref(&entries), 1);
        assert_eq!(
            [firings.rows(0), firings.rows(1), firings.rows(2), firings.rows(3)],
            [&[1u32][..], &[], &[0, 1], &[1]]
        );
        assert_eq!([0, 1, 2, 3].map(|latent| firings.fired(latent)), [true, false, true, false]);
        assert_eq!(firings.sum_of_extra(0, 3), 3.0);
        firings.rebuild(4, &[entries], 0);
        assert!(firings.rows(3).is_empty());
    }

    #[test]
    fn ranges_that_are_sorted_in_parallel_are_one_list() {
        const D_SAE: usize = 2 * RANGE + 7;
        let mut mixed = 1u64;
        let mut chance = |of: u64| {
            mixed = mixed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (mixed >> 33) % of
        };
        let (mut tiles, mut expected) = (Vec::new(), vec![Vec::new(); D_SAE]);
        for tile in 0..3 {
            let mut entries = Entries::default();
            entries.found.starts.push(0);
            for row in 0..5 {
                for (latent, expected) in expected.iter_mut().enumerate() {
                    if chance(3) > 0 {
                        continue;
                    }
                    let act = chance(4) as f32;
                    entries.found.latents.push(latent as u32);
                    entries.acts.push(act);
                    entries.d_pre.push(0.5 * act);
                    if act > 0.0 {
                        expected.push(((tile * TILE_ROWS + row) as u32, act, 0.5 * act));
                    }
                }
                entries.found.starts.push(entries.found.latents.len() as _);
            }
            tiles.push(entries);
        }
        let mut firings = Firings::default();
        firings.rebuild(D_SAE, &tiles, 0);
        for (latent, expected) in expected.iter().enumerate() {
            let of = firings.of(latent);
            let found: Vec<_> = of.map(|at| (firings.rows[at], firings.acts[at], firings.d_pre[at])).collect();
            assert_eq!(&found, expected, "latent {latent}");
        }
    }
}
