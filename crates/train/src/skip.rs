//! The skip connection of a transcoder (see [`crate::arch::transcoder`]): what it takes off the target, and its gradient.

use crate::activity::Activity;
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
