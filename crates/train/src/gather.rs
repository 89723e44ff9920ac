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

use crate::dense::DenseGradients;
use crate::forward::Entries;
use untangle_sae::kernels::buffer::prefetch;
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::vector::axpy;

/// The entries of a batch that matter, by latent: a counting sort of them. Rows of a latent ascend.
#[derive(Clone, Debug, Default)]
pub struct Firings {
    starts: Vec<u32>,
    next: Vec<u32>,
    rows: Vec<u32>,
    acts: Vec<f32>,
    d_pre: Vec<f32>,
    d_extra: [Vec<f32>; 2],
}

/// Entries without activation and without gradient change nothing.
fn matters(entries: &Entries, at: usize, extras: usize) -> bool {
    let learns = entries.d_extra.iter().take(extras).any(|values| values[at] != 0.0);
    entries.acts[at] > 0.0 || entries.d_pre[at] != 0.0 || learns
}

impl Firings {
    /// Rebuilds the index from the entries of all tiles, with so many further gradients each.
    pub fn rebuild(&mut self, d_sae: usize, tiles: &[Entries], extras: usize) {
        self.starts.clear();
        self.starts.resize(d_sae + 1, 0);
        for tile in tiles {
            for (at, &latent) in tile.found.latents.iter().enumerate() {
                self.starts[latent as usize + 1] += u32::from(matters(tile, at, extras));
            }
        }
        for i in 0..d_sae {
            self.starts[i + 1] += self.starts[i];
        }
        self.next.clear();
        self.next.extend_from_slice(&self.starts[..d_sae]);
        let n = self.starts[d_sae] as usize;
        self.rows.resize(n, 0);
        self.acts.resize(n, 0.0);
        self.d_pre.resize(n, 0.0);
        self.d_extra.iter_mut().take(extras).for_each(|values| values.resize(n, 0.0));
        for (number, tile) in tiles.iter().enumerate() {
            for row in 0..tile.found.n_rows() {
                for at in tile.found.row(row).filter(|&at| matters(tile, at, extras)) {
                    let next = &mut self.next[tile.found.latents[at] as usize];
                    let to = *next as usize;
                    *next += 1;
                    self.rows[to] = (number * TILE_ROWS + row) as u32;
                    (self.acts[to], self.d_pre[to]) = (tile.acts[at], tile.d_pre[at]);
                    for (to_values, values) in self.d_extra.iter_mut().zip(&tile.d_extra).take(extras) {
                        to_values[to] = values[at];
                    }
                }
            }
        }
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
        self.acts[self.of(latent)].iter().any(|&act| act > 0.0)
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
    pub d_out: &'a [Vec<f32>],
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
}
