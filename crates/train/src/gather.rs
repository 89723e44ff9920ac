//! The gradient of one latent, gathered from the rows that chose it.
//!
//! With `g_r = dL/dx_hat_r` and `z_r = x_r - b_dec`, and the sum over the rows `r` on which latent `i` fires:
//!
//! ```text
//! dL/dd_i = sum_r f_ri g_r        dL/dw_i = sum_r (g_r · d_i) z_r        dL/db_i = sum_r (g_r · d_i)
//! ```
//!
//! An index of the firings by latent turns the scattered sums into sequential ones, so that a latent's gradient is
//! finished in cache and used at once; no dense gradient is ever stored.

use untangle_sae::kernels::buffer::prefetch;
use untangle_sae::kernels::vector::axpy;

/// The firings of a batch, by latent: a counting sort of the slots (`row * k + place`) that fired.
#[derive(Clone, Debug, Default)]
pub struct Firings {
    starts: Vec<u32>,
    next: Vec<u32>,
    slots: Vec<u32>,
}

impl Firings {
    /// Rebuilds the index from the chosen latents and their activations, both `[rows, k]`. Rows of a latent ascend.
    pub fn rebuild(&mut self, d_sae: usize, chosen: &[u32], acts: &[f32]) {
        self.starts.clear();
        self.starts.resize(d_sae + 1, 0);
        let fired = || (0u32..).zip(chosen).zip(acts).filter(|&(_, &act)| act > 0.0).map(|(pair, _)| pair);
        for (_, &latent) in fired() {
            self.starts[latent as usize + 1] += 1;
        }
        for i in 0..d_sae {
            self.starts[i + 1] += self.starts[i];
        }
        self.next.clear();
        self.next.extend_from_slice(&self.starts[..d_sae]);
        self.slots.clear();
        self.slots.resize(self.starts[d_sae] as usize, 0);
        for (slot, &latent) in fired() {
            let next = &mut self.next[latent as usize];
            self.slots[*next as usize] = slot;
            *next += 1;
        }
    }

    /// Slots at which `latent` fired.
    #[inline(always)]
    pub fn of(&self, latent: usize) -> &[u32] {
        &self.slots[self.starts[latent] as usize..self.starts[latent + 1] as usize]
    }

    /// Number of firings of all latents.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing fired.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// What the backward pass reads.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// Firings by latent.
    pub firings: &'a Firings,
    /// `f`, `[rows, k]`
    pub acts: &'a [f32],
    /// `g_r · d_i` of every firing, zero elsewhere, `[rows, k]`
    pub d_acts: &'a [f32],
    /// `z`, `[rows, d_in]`
    pub centred: &'a [f32],
    /// `g`, `[rows, d_in]`
    pub d_out: &'a [f32],
    /// Latents per row.
    pub k: usize,
}

impl Backward<'_> {
    /// Replaces `d_w` by dL/dw_i and `d_d` by dL/dd_i, both `[d_in]`.
    #[inline(always)]
    pub fn gather(&self, latent: usize, d_w: &mut [f32], d_d: &mut [f32]) {
        let d = d_w.len();
        d_w.fill(0.0);
        d_d.fill(0.0);
        let slots = self.firings.of(latent);
        for (place, &slot) in slots.iter().enumerate() {
            let (slot, at) = (slot as usize, slot as usize / self.k * d);
            if let Some(&next) = slots.get(place + 1) {
                let at = next as usize / self.k * d;
                prefetch(&self.d_out[at..at + d]);
                prefetch(&self.centred[at..at + d]);
            }
            axpy(d_d, self.acts[slot], &self.d_out[at..at + d]);
            axpy(d_w, self.d_acts[slot], &self.centred[at..at + d]);
        }
    }

    /// dL/db_i.
    pub fn bias(&self, latent: usize) -> f32 {
        self.firings.of(latent).iter().map(|&slot| self.d_acts[slot as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firings_are_grouped_by_latent_in_row_order_and_silent_choices_are_left_out() {
        let mut firings = Firings::default();
        firings.rebuild(4, &[2, 0, 2, 3, 0, 2], &[1.0, 0.0, 2.0, 1.0, 5.0, 1.0]);
        assert_eq!([firings.of(0), firings.of(1), firings.of(2), firings.of(3)], [&[4u32][..], &[], &[0, 2, 5], &[3]]);
        assert_eq!(firings.len(), 5);
    }
}
