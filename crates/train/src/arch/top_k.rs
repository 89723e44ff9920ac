//! TopK: the k largest pre-activations of every row (Gao et al. 2024, section 2.3).
//!
//! ```text
//! p_r = W_enc z_r + b_enc        f_r = top-k(p_r), rectified        L = 1/n sum_r |W_dec^T f_r - z_r|^2
//! dL/dp_ri = g_r · d_i where i is chosen and p_ri > 0, else 0
//! ```

use super::asked::{About, Asked, Setting};
use super::method::{Method, Ruled, Units};
use super::tensors::{Pass, Passed, largest_of_rows};
use crate::activity::{Activity, Entries, Scratches};
use crate::error::{TrainError, refuse};
use crate::state::TrainState;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::kernels::encode::{Chosen, Proposals, Recomputation, TILE_ROWS};
use untangle_sae::kernels::narrow::NarrowWeights;
use untangle_sae::{Activation, SaeError};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// Active latents per row.
    pub k: usize,
}

impl Ruled for TopK {
    const ABOUT: About = About { settings: &[Setting::K], ..About::AUTOENCODER };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        match asked.l0 {
            Some(_) => refuse("--l0", "topk has exactly k active features; give --k".to_owned()),
            None => Ok(TopK { k: asked.k }),
        }
    }
}

impl Method for TopK {
    fn target_l0(&self) -> Option<f64> {
        Some(self.k as f64)
    }

    fn aims_at(&self) -> String {
        format!(", k {}", self.k)
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        choose(state, self.k, scratch, activity)
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        let entries = largest_of_rows(pass.pre, self.k)?;
        let passed = pass.passed(pass.pre.f_relu()?.f_mul(&entries)?)?;
        Ok(Passed { entries, ..passed })
    }

    fn saved_as(&self, _: &TrainState, _: Units) -> Activation {
        Activation::TopK { k: self.k }
    }

    fn keeps_proposals(&self) -> bool {
        true
    }
}

/// Chooses `k` latents of every row.
pub(crate) fn choose(
    state: &TrainState,
    k: usize,
    scratch: &Scratches,
    activity: &mut Activity,
) -> Result<(), SaeError> {
    let weights = state.encoder();
    let Activity { centred, dead, tiles, has_proposals, .. } = activity;
    *has_proposals = keeps_proposals(state, dead.len(), centred.len() / state.d_in);
    let dead = if *has_proposals { &dead[..] } else { &[] };
    let tile = |(centred, entries): (&[f32], &mut Entries)| {
        let found = &mut entries.found;
        let rows = centred.len() / state.d_in;
        found.latents.resize(rows * k, 0);
        found.pre_acts.resize(rows * k, 0.0);
        found.starts.clear();
        found.starts.extend((0..=rows).map(|row| (row * k) as u32));
        let wanted = rows * dead.len();
        entries.of_dead.reserve_exact(wanted.saturating_sub(entries.of_dead.len()));
        entries.of_dead.resize(wanted, 0.0);
        let proposals = Proposals { latents: dead, pre_acts: &mut entries.of_dead };
        let chosen = Chosen { indices: &mut found.latents, pre_acts: &mut found.pre_acts, proposals };
        weights.choose(centred, k, &scratch.per_row, chosen)
    };
    let tiles = centred.par_chunks(TILE_ROWS * state.d_in).zip(tiles);
    let all: Vec<Recomputation> = tiles.map(tile).collect::<Result<_, _>>()?;
    all.into_iter().for_each(|of_tile| activity.recomputation += of_tile);
    Ok(())
}

/// Proposals that are kept at most.
pub(crate) const MOST_KEPT: usize = 1 << 23;

/// Whether a step keeps what its product in bytes proposes for the dead, so that AuxK need not ask again. Where the dead are
/// many, the memory is not worth it.
fn keeps_proposals(state: &TrainState, n_dead: usize, rows: usize) -> bool {
    matches!(state.narrow, Some(NarrowWeights::Int8(_))) && n_dead * rows <= MOST_KEPT
}
