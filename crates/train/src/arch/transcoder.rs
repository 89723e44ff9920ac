//! Transcoders: what a place of the model will say, from what another says: latents of a computation and not of a state
//! (Dunefsky et al. 2024, section 3). A skip connection takes the linear part of it (Paulo et al. 2025).
//!
//! ```text
//! z_r = s x_r - c        f = the k n largest of relu(W_enc z + b_enc), as in batch-topk
//! y_hat_r = sum_i f_ri d_i + b_dec + W_skip z_r        e_r = y_hat_r - t y_r        L = 1/n sum_r |e_r|^2        g_r = 2/n e_r
//! dL/df_ri = g_r · d_i      dL/db_dec = sum_r g_r      dL/dW_skip = sum_r g_r z_r^T
//! ```
//!
//! `s` and `t` are the scales of the two activations; `c`, the mean of `s x`, stays, and is folded into `b_enc` and `b_dec`
//! when the dictionary is saved. `b_dec` starts at the mean of `t y`, `W_skip` at zero. Without a skip connection, the terms
//! with `W_skip` are absent.
//!
//! Latents are left to explain `t y - b_dec - W_skip z`, which is computed first; all that follows is as in an autoencoder,
//! AuxK as well, whose residual is the target's and whose `k_aux` is half of the target's width.

use crate::forward::Activity;
use crate::products::{add_product, columns_of};
use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::matmul_nt;
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::vector::{axpy, dispatch};

/// Rows of `W_skip` whose gradient one worker takes at a time.
const OUTPUTS: usize = 64;

/// Takes `W_skip z` off the targets of `activity`, where the state has a skip connection.
pub(crate) fn subtract_skip(state: &TrainState, activity: &mut Activity) -> Result<(), SaeError> {
    let Some(w_skip) = &state.w_skip else { return Ok(()) };
    let (d, d_out) = (state.d_in, state.d_out);
    let tiles = activity.centred.par_chunks(TILE_ROWS * d).zip(activity.target.par_chunks_mut(TILE_ROWS * d_out));
    tiles.try_for_each(|(centred, target)| {
        let mut skipped = vec![0f32; target.len()];
        matmul_nt(centred, &w_skip.value, &mut skipped, d)?;
        dispatch(
            #[inline(always)]
            || axpy(target, -1.0, &skipped),
        );
        Ok(())
    })
}

/// Replaces `d_skip` by the gradient of `W_skip`, `[d_out, d_in]`; by nothing where there is no skip connection. `d_out` is
/// `g`, `[n, d_out]`.
pub(crate) fn skip_gradient(
    state: &TrainState,
    centred: &[f32],
    d_out: &[f32],
    d_skip: &mut Vec<f32>,
) -> Result<(), SaeError> {
    d_skip.clear();
    let Some(w_skip) = &state.w_skip else { return Ok(()) };
    d_skip.resize(w_skip.value.len(), 0.0);
    d_skip.par_chunks_mut(OUTPUTS * state.d_in).enumerate().try_for_each(|(block, gradient)| {
        let columns = block * OUTPUTS..block * OUTPUTS + gradient.len() / state.d_in;
        add_product(&columns_of(d_out, state.d_out, columns), centred, gradient, state.d_in)
    })
}
