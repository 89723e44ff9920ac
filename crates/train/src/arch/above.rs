//! What everything above a bound of its own is chosen by.

use crate::activity::{Activity, Scratches};
use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::bounds::Bounds;
use untangle_sae::kernels::encode::TILE_ROWS;

/// Fills the tiles with every latent whose pre-activation exceeds its bound.
pub(super) fn choose_above(
    state: &TrainState,
    bounds: &Bounds,
    scratch: &Scratches,
    activity: &mut Activity,
) -> Result<(), SaeError> {
    let weights = state.encoder();
    activity
        .centred
        .par_chunks(TILE_ROWS * state.d_in)
        .zip(&mut activity.tiles)
        .try_for_each(|(rows, tile)| weights.choose_above(rows, bounds, &scratch.above, &mut tile.found))
}

/// The same with zero for all: what is positive.
pub(super) fn choose_positive(
    state: &TrainState,
    scratch: &Scratches,
    activity: &mut Activity,
) -> Result<(), SaeError> {
    choose_above(state, &Bounds::same(&state.encoder(), 0.0), scratch, activity)
}
