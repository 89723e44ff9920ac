//! The forward half of a step: centre, let the architecture choose and decode, tile by tile of rows.
//!
//! ```text
//! z_r = s x_r - b_dec        e_r = x_hat_r - s x_r = W_dec^T f_r - z_r
//! L   = 1/n sum_r |e_r|^2    g_r = dL/dx_hat_r = 2/n e_r                      dL/df_ri = g_r · d_i
//! ```
//!
//! (Gao et al. 2024, section 2.3, with the sum over the width that SAELens' loss has; `s` is the data's scale.) Which `f` a
//! row has, and what the loss has beside `L`, is the architecture's: see [`crate::arch`].

use crate::arch::{self, rule::Totals};
use crate::dense::{DenseGradients, dense_gradients};
use crate::gather::{Backward, Firings};
use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::above::{AboveScratch, Found};
use untangle_sae::kernels::encode::{Looks, Scratch, TILE_ROWS};
use untangle_sae::kernels::vector::dispatch;

/// A batch's intermediate results; the memory is reused from step to step.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// `z`, `[n, d_in]`
    pub centred: Vec<f32>,
    /// `g` for every group of latents, `[n, d_in]` each; one group but for matryoshka. The last is that of the whole
    /// reconstruction, the first the sum of all, which is what `b_dec` receives.
    pub d_out: Vec<Vec<f32>>,
    /// End of every group of latents; the last is `d_sae`.
    pub groups: Vec<usize>,
    /// What was chosen, a tile of rows at a time.
    pub tiles: Vec<Entries>,
    /// Mean squared error of the whole reconstruction, `L`
    pub loss: f64,
    /// All that the loss has besides: penalties, and the errors of partial reconstructions.
    pub penalty: f64,
    /// What it took to be sure of the chosen, where a number of every row is chosen.
    pub looks: Looks,
}

/// The chosen latents of a tile of rows, and what the loss sends back to them.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Rows, latents and pre-activations `p`
    pub found: Found,
    /// `f`
    pub acts: Vec<f32>,
    /// dL/d(w_i · z)
    pub d_pre: Vec<f32>,
    /// Gradients of the latent's further parameters; empty where the architecture has none.
    pub d_extra: [Vec<f32>; 2],
}

/// A tile of rows in work.
pub(crate) struct TileMut<'a> {
    /// `[rows, d_in]`
    pub(crate) centred: &'a [f32],
    /// `[rows, d_in]` of every group
    pub(crate) d_out: Vec<&'a mut [f32]>,
    /// What was chosen
    pub(crate) entries: &'a mut Entries,
}

/// Memory of tiles in work.
#[derive(Debug, Default)]
pub struct Scratches {
    pub(crate) per_row: Scratch,
    pub(crate) above: AboveScratch,
}

/// Fills `activity` for a batch of rows, `[n, d_in]`. Where so much fires that the step is better done densely, the
/// gradients come back as well and there are no entries.
///
/// # Errors
/// When libtorch refuses a product.
pub fn forward(
    state: &mut TrainState,
    rows: &[f32],
    factor: f32,
    scratch: &Scratches,
    activity: &mut Activity,
) -> Result<Option<DenseGradients>, SaeError> {
    activity.looks = Looks::default();
    activity.centre(rows, factor, &state.b_dec.value);
    activity.groups = arch::groups(state);
    if arch::is_dense(state) {
        return dense_gradients(state, activity).map(Some);
    }
    arch::choose(state, scratch, activity)?;
    let n = rows.len() / state.d_in;
    let l0 = arch::l0_of_entries(state, &activity.tiles, n);
    let state = &*state;
    let decode = |(tile, groups): (TileMut<'_>, &[usize])| {
        dispatch(
            #[inline(always)]
            || arch::decode(state, n, l0, groups, tile),
        )
    };
    let totals: Vec<Totals> = activity.tiles_mut(state.d_in).into_par_iter().map(decode).collect();
    // Tile after tile, so that the sum does not depend on which worker was first.
    activity.loss = totals.iter().map(|t| t.squared_error).sum::<f64>() / n as f64;
    activity.penalty = totals.iter().map(|t| t.penalty).sum::<f64>() + arch::batch_penalty(state, l0);
    Ok(None)
}

impl Activity {
    /// Number of active entries.
    pub fn active(&self) -> usize {
        self.tiles.iter().map(|tile| tile.acts.iter().filter(|&&act| act > 0.0).count()).sum()
    }

    /// `g` of the whole reconstruction, `[n, d_in]`.
    pub(crate) fn whole(&self) -> &[f32] {
        self.d_out.last().map_or(&[], |group| &group[..])
    }

    /// Number of entries, active or not.
    pub fn entries(&self) -> usize {
        self.tiles.iter().map(|tile| tile.found.latents.len()).sum()
    }

    /// Forgets the entries of the last batch.
    pub(crate) fn clear_entries(&mut self) {
        self.tiles.iter_mut().for_each(|tile| *tile = Entries::default());
    }

    /// What the backward half reads, with the entries by latent or the dense gradients.
    pub fn backward<'a>(&'a self, firings: &'a Firings, dense: Option<&'a DenseGradients>) -> Backward<'a> {
        Backward { dense, firings, centred: &self.centred, d_out: &self.d_out, groups: &self.groups }
    }

    fn centre(&mut self, rows: &[f32], factor: f32, b_dec: &[f32]) {
        let d = b_dec.len();
        self.centred.resize(rows.len(), 0.0);
        self.tiles.resize_with((rows.len() / d).div_ceil(TILE_ROWS), Entries::default);
        self.centred.par_chunks_mut(TILE_ROWS * d).zip(rows.par_chunks(TILE_ROWS * d)).for_each(|(centred, rows)| {
            dispatch(
                #[inline(always)]
                || centre(rows, factor, b_dec, centred),
            );
        });
    }

    /// The tiles with the groups' ends.
    pub(crate) fn tiles_mut(&mut self, d: usize) -> Vec<(TileMut<'_>, &[usize])> {
        let Activity { centred, d_out, groups, tiles, .. } = self;
        d_out.resize_with(groups.len(), Vec::new);
        d_out.iter_mut().for_each(|group| group.resize(centred.len(), 0.0));
        let mut of_groups: Vec<_> = d_out.iter_mut().map(|group| group.chunks_mut(TILE_ROWS * d)).collect();
        let tile = |(centred, entries)| {
            let d_out = of_groups.iter_mut().filter_map(Iterator::next).collect();
            (TileMut { centred, d_out, entries }, &groups[..])
        };
        centred.chunks(TILE_ROWS * d).zip(tiles).map(tile).collect()
    }
}

#[inline(always)]
fn centre(rows: &[f32], factor: f32, b_dec: &[f32], centred: &mut [f32]) {
    let d = b_dec.len();
    for (z, x) in centred.chunks_exact_mut(d).zip(rows.chunks_exact(d)) {
        for ((z, x), b) in z.iter_mut().zip(x).zip(b_dec) {
            *z = factor * x - b;
        }
    }
}
