//! The forward half of a step, and the backward half as far as entries go: centre, let the architecture choose, reconstruct,
//! send back, tile by tile of rows.
//!
//! ```text
//! z_r = s x_r - b_dec        e_r = x_hat_r - s x_r = W_dec^T f_r - z_r
//! L   = 1/n sum_r |e_r|^2    g_r = dL/dx_hat_r = 2/n e_r                      dL/df_ri = g_r · d_i
//! ```
//!
//! An autoencoder's; what a transcoder predicts is not `s x` but its target (see [`crate::arch::transcoder`]).
//! (Gao et al. 2024, section 2.3, with the sum over the width that SAELens' loss has; `s` is the data's scale.) Which `f` a
//! row has, and what the loss has beside `L`, is the architecture's: see [`crate::arch`].

use crate::activity::{Activity, Batch, Scratches, TileMut};
use crate::arch::Architecture;
use crate::arch::decode::Totals;
use crate::dense::{DenseGradients, dense_gradients};
use crate::density;
use crate::gather::{Backward, Firings};
use crate::skip::subtract_skip;
use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::give_back_freed;
use untangle_sae::kernels::encode::Recomputation;
use untangle_sae::kernels::vector::dispatch;

/// Fills `activity` for a batch. Where so much fires that the step is better done densely, the
/// gradients come back as well and there are no entries.
///
/// # Errors
/// When libtorch refuses a product.
pub fn forward(
    state: &mut TrainState,
    architecture: &Architecture,
    batch: &Batch<'_>,
    scratch: &Scratches,
    activity: &mut Activity,
) -> Result<Option<DenseGradients>, SaeError> {
    (activity.recomputation, activity.has_proposals) = (Recomputation::default(), false);
    activity.centre(batch, state);
    subtract_skip(state, activity)?;
    activity.groups = architecture.groups(state.d_sae, state.step);
    if density::is_dense(state, architecture) {
        activity.was_dense = true;
        return dense_gradients(state, architecture, activity, density::dense_precision(state, architecture)).map(Some);
    }
    if std::mem::take(&mut activity.was_dense) {
        give_back_freed();
    }
    architecture.choose(state, scratch, activity)?;
    reconstruct_and_send_back(state, architecture, activity);
    Ok(None)
}

/// Reconstructs every tile from its entries and gives these what the loss sends back, while the tile is in cache.
fn reconstruct_and_send_back(state: &TrainState, architecture: &Architecture, activity: &mut Activity) {
    let n = activity.centred.len() / state.d_in;
    let l0 = architecture.l0_of_entries(state, &activity.tiles, n);
    let decode = |(tile, groups): (TileMut<'_>, &[usize])| {
        dispatch(
            #[inline(always)]
            || architecture.decode(state, n, l0, groups, tile),
        )
    };
    let totals: Vec<Totals> = activity.tiles_mut(state.d_out).into_par_iter().map(decode).collect();
    // Tile after tile, so that the sum does not depend on which worker was first.
    activity.loss = totals.iter().map(|t| t.squared_error).sum::<f64>() / n as f64;
    activity.penalty = totals.iter().map(|t| t.penalty).sum::<f64>() + architecture.batch_penalty(state, l0);
}

impl Activity {
    /// What the backward half reads, with the entries by latent or the dense gradients.
    pub fn backward<'a>(&'a self, firings: &'a Firings, dense: Option<&'a DenseGradients>) -> Backward<'a> {
        Backward { dense, firings, centred: &self.centred, d_out: &self.d_out, groups: &self.groups }
    }
}
