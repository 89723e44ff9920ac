//! The architectures, one file each: the equation, the hand-derived gradients of every term of the loss, and what else the
//! rest of training asks of one ([`method`]). [`table`] lists them.
//!
//! | name | chosen | loss beside the reconstruction |
//! |---|---|---|
//! | [`top_k`] | the k largest of a row | |
//! | [`abs_top_k`] | the k of a row with the largest magnitudes | |
//! | [`batch_top_k`] | the `k n` largest of a batch | |
//! | [`matryoshka`] | as batch-topk | the reconstructions from prefixes |
//! | [`jump_relu`] | what exceeds its own threshold, and what is near it | L0: step, quadratic or tanh |
//! | [`relu`] | what is positive | L1 |
//! | [`gated`] | what the gate opens for | L1 of the gate, the reconstruction from the gate |
//! | [`p_anneal`] | what is positive | Lp with p falling |
//! | [`crosscoder`] | as batch-topk, by what an entry costs in all activations together, or what is positive | none, or L1 |
//! | [`transcoder`] | as batch-topk, of another activation than the one that is read | |
//!
//! Decoder rows are unit throughout, so what papers weight by `|d_i|` is weighted. Those with a penalty begin with half of all
//! latents active; [`crate::dense`] carries them until few enough are.

mod above;
pub mod abs_top_k;
pub mod asked;
pub mod batch_top_k;
pub mod controller;
pub mod crosscoder;
pub mod decode;
pub mod gated;
pub mod jump_relu;
pub mod matryoshka;
pub mod method;
pub mod p_anneal;
pub mod relu;
pub mod rule;
pub mod table;
pub mod tensors;
pub mod top_k;
pub mod transcoder;

pub use table::{Architecture, Kind};

use crate::activity::Entries;
use crate::state::TrainState;
use method::SumOverActive;
use rayon::prelude::*;
use untangle_sae::kernels::buffer::Element;

impl Architecture {
    /// Mean L0 of rows from all their pre-activations, where latents have thresholds; zero elsewhere.
    pub(crate) fn l0_of<T: Element>(&self, state: &TrainState, pre: &[T]) -> f64 {
        let Some(theta) = self.thresholds(state) else { return 0.0 };
        let count = |row: &[T]| row.iter().zip(theta).filter(|(p, theta)| p.widen() > **theta).count();
        let total: usize = pre.par_chunks(state.d_sae).map(count).sum();
        total as f64 / (pre.len() / state.d_sae).max(1) as f64
    }

    /// The same from chosen entries.
    pub(crate) fn l0_of_entries(&self, state: &TrainState, tiles: &[Entries], n: usize) -> f64 {
        let Some(theta) = self.thresholds(state) else { return 0.0 };
        let fires = |(p, latent): (&f32, &u32)| *p > theta[*latent as usize];
        let count = |tile: &Entries| tile.found.pre_acts.iter().zip(&tile.found.latents).filter(|e| fires(*e)).count();
        tiles.iter().map(count).sum::<usize>() as f64 / n as f64
    }

    /// What remains after the parameters have moved, where a row had `l0` active latents and `entries` that mattered:
    /// thresholds stay in their range, the coefficient is steered.
    pub(crate) fn finish_step(&self, state: &mut TrainState, active: &SumOverActive<'_>, l0: f64, entries: f64) {
        state.carried.entries = entries;
        self.after_step(state, active);
        if let (Some(aim), Some(sparsity)) = (self.aim(state.d_sae), self.sparsity()) {
            let (carried, step, coefficient) = (&mut state.carried, state.step, sparsity.coefficient);
            let steering = controller::Steering { coefficient: carried.coefficient, mean_l0: carried.mean_l0 };
            let steering = steering.after(l0, step, aim, coefficient);
            (carried.coefficient, carried.mean_l0) = (steering.coefficient, steering.mean_l0);
        }
    }
}
