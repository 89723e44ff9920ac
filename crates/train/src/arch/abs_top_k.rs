//! AbsTopK: the k largest magnitudes of every row, which keep their signs, so that a latent means one thing and its opposite
//! (arXiv 2510.00404).
//!
//! ```text
//! p_r = W_enc z_r + b_enc        f_ri = p_ri where |p_ri| is one of the k largest of the row, else 0
//! L   = 1/n sum_r |W_dec^T f_r - z_r|^2        dL/dp_ri = g_r · d_i where i is chosen, else 0
//! ```
//!
//! Nothing is rectified. The dead are revived by the largest magnitudes, too.

use super::asked::{About, Asked, Setting};
use super::method::{Method, Ruled, Units};
use super::rule::{At, Local, Rule, WithRule};
use super::tensors::{Pass, Passed, largest_of_rows};
use crate::activity::{Activity, Entries, Scratches};
use crate::error::{TrainError, refuse};
use crate::state::TrainState;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::TchError;
use untangle_sae::kernels::encode::{Recomputation, TILE_ROWS};
use untangle_sae::{Activation, SaeError};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbsTopK {
    /// Active latents per row.
    pub k: usize,
}

/// What is chosen fires, whatever its sign.
#[derive(Clone, Copy, Debug)]
pub struct Signed;

impl Rule for Signed {
    #[inline(always)]
    fn act(&self, _: usize, p: f32) -> f32 {
        p
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        Local { d_pre: at.h, ..Local::default() }
    }
}

impl Ruled for AbsTopK {
    const ABOUT: About = About { settings: &[Setting::K], ..About::AUTOENCODER };

    fn resolve(asked: &Asked<'_>) -> Result<Self, TrainError> {
        match asked.l0 {
            Some(_) => refuse("--l0", "abs-topk has exactly k active features; give --k".to_owned()),
            None => Ok(AbsTopK { k: asked.k }),
        }
    }

    #[inline(always)]
    fn with_rule<W: WithRule>(&self, _: &TrainState, _: usize, _: f64, work: W) -> W::Out {
        work.with(&Signed)
    }
}

impl Method for AbsTopK {
    fn target_l0(&self) -> Option<f64> {
        Some(self.k as f64)
    }

    fn aims_at(&self) -> String {
        format!(", k {}", self.k)
    }

    fn ranks_by_magnitude(&self) -> bool {
        true
    }

    fn choose(&self, state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
        let (weights, k) = (state.encoder(), self.k);
        let tile = |(centred, entries): (&[f32], &mut Entries)| {
            let (found, rows) = (&mut entries.found, centred.len() / state.d_in);
            found.latents.resize(rows * k, 0);
            found.pre_acts.resize(rows * k, 0.0);
            found.starts.clear();
            found.starts.extend((0..=rows).map(|row| (row * k) as u32));
            weights.choose_by_magnitude(centred, k, &scratch.per_row, &mut found.latents, &mut found.pre_acts)
        };
        let Activity { centred, tiles, recomputation, .. } = activity;
        let tiles = centred.par_chunks(TILE_ROWS * state.d_in).zip(tiles);
        let all: Vec<Recomputation> = tiles.map(tile).collect::<Result<_, _>>()?;
        all.into_iter().for_each(|of_tile| *recomputation += of_tile);
        Ok(())
    }

    fn in_tensors(&self, pass: &Pass<'_>) -> Result<Passed, TchError> {
        pass.passed(pass.pre.f_mul(&largest_of_rows(&pass.pre.f_abs()?, self.k)?)?)
    }

    fn saved_as(&self, _: &TrainState, _: Units) -> Activation {
        Activation::AbsTopK { k: self.k }
    }
}
