//! The architectures, one file each: the equation, and the hand-derived gradients of every term of the loss.
//!
//! | name | chosen | loss beside the reconstruction |
//! |---|---|---|
//! | [`top_k`] | the k largest of a row | |
//! | [`batch_top_k`] | the `k n` largest of a batch | |
//! | [`matryoshka`] | as batch-topk | the reconstructions from prefixes |
//! | [`jump_relu`] | what exceeds its own threshold, and what is near it | L0: step, quadratic or tanh |
//! | [`relu`] | what is positive | L1 |
//! | [`gated`] | what the gate opens for | L1 of the gate, the reconstruction from the gate |
//! | [`p_anneal`] | what is positive | Lp with p falling |
//! | [`crosscoder`] | as batch-topk, by what an entry costs in all activations together, or what is positive | none, or L1 |
//! | [`transcoder`] | as batch-topk, of another activation than the one that is read | |
//!
//! Decoder rows are unit throughout, so what papers weight by `|d_i|` is weighted. The last four begin with half of all
//! latents active; [`crate::dense`] carries them until few enough are.

pub mod batch_top_k;
pub mod controller;
pub mod crosscoder;
pub mod gated;
pub mod jump_relu;
pub mod matryoshka;
pub mod p_anneal;
pub mod relu;
pub mod rule;
pub mod top_k;
pub mod transcoder;

use crate::architecture::Architecture;
use crate::forward::{Activity, Entries, Scratches, TileMut};
use crate::penalty::{Penalty, Sparsity};
use crate::state::TrainState;
use rayon::prelude::*;
use rule::{Decode, Local, Totals, WithRule};
use untangle_sae::kernels::bounds::Bounds;
use untangle_sae::kernels::buffer::Element;
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::narrow::NarrowWeights;
use untangle_sae::{Precision, SaeError};

/// With more entries per row than this part of all latents, dense products are faster.
///
/// A step over `n` rows of width `d` costs about `c_p d F + c_s (d + d_0) e` where it is sparse, with `e` entries a row and
/// `F` latents, and `5 c_p d F + c_e F` where it is dense: five products, and what is done to every element between them.
/// They are equal at `e / F = (4 c_p d + c_e) / (c_s (d + d_0))`. Measured on two cores with AVX-512 at d 768, F 16384,
/// n 4096: a product in bytes takes 0.13 s, in f32 0.39 s, the rest of a dense step 0.32 s. An entry is put at 1.3 ms, what
/// it costs row by row; latent by latent it is 0.6 ms, and time alone would allow twice as many, but every entry takes memory
/// that dense steps, which go chunk by chunk, do not need. bf16 is taken to lie between.
pub(crate) fn dense_above(precision: Precision, d_in: usize) -> f64 {
    let of_products = match precision {
        Precision::F32 => 0.073,
        Precision::Bf16 => 0.05,
        Precision::Int8 => 0.0244,
    };
    (of_products + 12.0 / (d_in as f64 + 32.0)).min(MOST_ENTRIES)
}

/// Of narrow rows sparse algebra might be worth its time for longer, but entries take memory that dense chunks do not.
const MOST_ENTRIES: f64 = 0.08;

/// Narrower rows are multiplied in f32 by dense steps: sums of few bytes are less exact (at a width of 48, a crosscoder with
/// L1 finds 32 of 36 planted features on average, 34 in f32), and little is gained.
const BYTES_FROM: usize = 128;

/// The arithmetic of a dense step's products. Bytes serve the beginning, when half of all latents fire at random; what is
/// dense in the second half of a run is so for good, and then finer gradients are worth their time.
pub(crate) fn dense_precision(state: &TrainState) -> Precision {
    let begins = state.architecture.sparsity().is_some_and(|sparsity| 2 * state.step < sparsity.steps);
    match state.narrow.as_ref().map(NarrowWeights::precision) {
        Some(Precision::Int8) if !begins || state.d_in < BYTES_FROM => Precision::F32,
        precision => precision.unwrap_or(Precision::F32),
    }
}

/// Whether the next step is done densely: where the last batch had many entries.
pub(crate) fn is_dense(state: &TrainState) -> bool {
    let above = dense_above(dense_precision(state), state.d_in) * state.d_sae as f64;
    state.architecture.sparsity().is_some() && state.carried.entries > above
}

/// The ends of the groups of latents that receive different gradients at this step.
pub(crate) fn groups(state: &TrainState) -> Vec<usize> {
    match &state.architecture {
        Architecture::Matryoshka { prefixes, .. } => matryoshka::lengths(prefixes, state.d_sae, state.step),
        _ => vec![state.d_sae],
    }
}

/// Fills the tiles with the chosen latents and their pre-activations.
pub(crate) fn choose(state: &mut TrainState, scratch: &Scratches, activity: &mut Activity) -> Result<(), SaeError> {
    let bounds = match state.architecture {
        Architecture::TopK { k } => return top_k::choose(state, k, scratch, activity),
        Architecture::BatchTopK { k, .. }
        | Architecture::Matryoshka { k, .. }
        | Architecture::Transcoder { k, .. }
        | Architecture::SkipTranscoder { k, .. }
        | Architecture::Crosscoder { k, .. } => {
            state.carried.threshold = batch_top_k::choose(state, k, scratch, activity)?;
            return Ok(());
        }
        Architecture::JumpRelu { bandwidth, .. } => {
            let bounds = jump_relu::bounds(&state.extras[0].value, bandwidth as f32);
            Bounds::new(&state.encoder(), bounds)
        }
        Architecture::Relu { .. }
        | Architecture::Gated { .. }
        | Architecture::PAnneal { .. }
        | Architecture::CrosscoderL1 { .. } => Bounds::same(&state.encoder(), 0.0),
    };
    let weights = state.encoder();
    activity
        .centred
        .par_chunks(TILE_ROWS * state.d_in)
        .zip(&mut activity.tiles)
        .try_for_each(|(rows, tile)| weights.choose_above(rows, &bounds, &scratch.above, &mut tile.found))
}

/// Mean L0 of rows from all their pre-activations, where the loss depends on it; zero elsewhere.
pub(crate) fn l0_of<T: Element>(state: &TrainState, pre: &[T]) -> f64 {
    let Architecture::JumpRelu { .. } = state.architecture else { return 0.0 };
    let theta: &[f32] = &state.extras[0].value;
    let count = |row: &[T]| row.iter().zip(theta).filter(|(p, theta)| p.widen() > **theta).count();
    let total: usize = pre.par_chunks(state.d_sae).map(count).sum();
    total as f64 / (pre.len() / state.d_sae).max(1) as f64
}

/// The same from chosen entries.
pub(crate) fn l0_of_entries(state: &TrainState, tiles: &[Entries], n: usize) -> f64 {
    let Architecture::JumpRelu { .. } = state.architecture else { return 0.0 };
    let theta: &[f32] = &state.extras[0].value;
    let fires = |(p, latent): (&f32, &u32)| *p > theta[*latent as usize];
    let count = |tile: &Entries| tile.found.pre_acts.iter().zip(&tile.found.latents).filter(|e| fires(*e)).count();
    tiles.iter().map(count).sum::<usize>() as f64 / n as f64
}

/// Does `work` under the rule of this step, for a batch of `n` rows of which `l0` latents are active.
#[inline(always)]
pub(crate) fn with_rule<W: WithRule>(state: &TrainState, n: usize, l0: f64, work: W) -> W::Out {
    let lambda = lambda(state);
    let weight = (lambda / n as f64) as f32;
    match state.architecture {
        Architecture::Relu { .. } => work.with(&relu::L1 { weight }),
        Architecture::CrosscoderL1 { .. } => work.with(&crosscoder::WeightedL1 { weight, norm_sums: &state.norm_sums }),
        Architecture::PAnneal { .. } => work.with(&p_anneal::Lp { weight, q: state.carried.exponent as f32 }),
        Architecture::Gated { .. } => {
            let scale: Vec<f32> = state.extras[gated::R_MAG].value.iter().map(|r| r.exp()).collect();
            let b_mag = &state.extras[gated::B_MAG].value;
            work.with(&gated::Gate { b_gate: &state.b_enc.value, scale: &scale, b_mag, weight })
        }
        Architecture::JumpRelu { penalty, bandwidth, .. } => {
            let (per_entry, counts, tanh) = match penalty {
                Penalty::Step => (weight, true, 0.0),
                Penalty::Tanh => (0.0, false, weight),
                Penalty::Quadratic { target } => {
                    ((lambda * 2.0 * (l0 / target - 1.0) / target / n as f64) as f32, false, 0.0)
                }
            };
            let theta = &state.extras[0].value;
            let bandwidth = bandwidth as f32;
            match penalty {
                Penalty::Tanh => work.with(&jump_relu::Jump::<true> { theta, bandwidth, per_entry, counts, tanh }),
                _ => work.with(&jump_relu::Jump::<false> { theta, bandwidth, per_entry, counts, tanh }),
            }
        }
        _ => work.with(&top_k::Rectified),
    }
}

/// The part of the loss that belongs to the batch and to none of its entries.
pub(crate) fn batch_penalty(state: &TrainState, l0: f64) -> f64 {
    match state.architecture {
        Architecture::JumpRelu { penalty: Penalty::Quadratic { target }, .. } => {
            lambda(state) * (l0 / target - 1.0).powi(2)
        }
        _ => 0.0,
    }
}

/// The coefficient of the sparsity penalty at this step.
pub fn lambda(state: &TrainState) -> f64 {
    let Some(Sparsity { warm_up, .. }) = state.architecture.sparsity() else { return 0.0 };
    state.carried.coefficient * ((state.step + 1) as f64 / (warm_up + 1) as f64).min(1.0)
}

/// Decodes a tile of a batch of `n` rows and differentiates it.
#[inline(always)]
pub(crate) fn decode(state: &TrainState, n: usize, l0: f64, groups: &[usize], tile: TileMut<'_>) -> Totals {
    match state.architecture {
        Architecture::Matryoshka { .. } => matryoshka::decode(state, n, groups, tile),
        _ => with_rule(state, n, l0, Decode { state, n, tile }),
    }
}

/// Turns the sums over entries into the gradients of `b_enc` and the further parameters.
pub(crate) fn finish_vectors(state: &TrainState, d_b: &mut [f32], d_extras: &[Vec<f32>]) {
    if let Architecture::Gated { .. } = state.architecture {
        gated::gate_bias(d_b, &state.extras[gated::R_MAG].value, &d_extras[gated::B_MAG]);
    }
}

/// What remains after the parameters have moved: thresholds stay in their range, the coefficient is steered.
pub(crate) fn after_step(state: &mut TrainState, activity: &Activity, l0: f64, entries: f64) {
    state.carried.entries = entries;
    if let Architecture::JumpRelu { .. } = state.architecture {
        state.extras[0].value.iter_mut().for_each(|theta| *theta = theta.max(0.0));
    }
    if let Architecture::PAnneal { begin, steps, end, .. } = state.architecture {
        let (now, next) = (state.carried.exponent, p_anneal::exponent(state.step + 1, begin, steps, end));
        if next != now {
            state.carried.coefficient *= ratio_of_penalties(activity, now, next);
            state.carried.exponent = next;
        }
    }
    if let (Some(aim), Some(sparsity)) = (aim(&state.architecture, state.d_sae), state.architecture.sparsity()) {
        let (carried, step, coefficient) = (&mut state.carried, state.step, sparsity.coefficient);
        let steering = controller::Steering { coefficient: carried.coefficient, mean_l0: carried.mean_l0 };
        let steering = steering.after(l0, step, aim, coefficient);
        (carried.coefficient, carried.mean_l0) = (steering.coefficient, steering.mean_l0);
    }
}

/// What L0 is steered to, where it is. Untrained, half of all latents fire. A crosscoder is steered straight to its target: of 36
/// planted features it then finds 35.3, along a fall 30.8 (mean of eight seeds, `tests/crosscoder.rs`).
fn aim(architecture: &Architecture, d_sae: usize) -> Option<controller::Aim> {
    let Sparsity { l0, steps, .. } = architecture.sparsity()?;
    Some(match architecture {
        Architecture::CrosscoderL1 { .. } => controller::Aim::straight(l0?, steps),
        _ => controller::Aim::falling(d_sae as f64 / 2.0, l0?, steps),
    })
}

/// Steps until the L0 that is aimed at is no more than `l0`, where it is steered.
pub(crate) fn steps_above(architecture: &Architecture, d_sae: usize, l0: f64) -> Option<f64> {
    Some(aim(architecture, d_sae)?.steps_above(l0))
}

/// `sum phi_now / sum phi_next` over the batch's active entries; 1 where there are none, as in a dense step.
fn ratio_of_penalties(activity: &Activity, now: f64, next: f64) -> f64 {
    let total = |q: f64| -> f64 {
        let lp = p_anneal::Lp { weight: 1.0, q: q as f32 };
        let active = activity.tiles.iter().flat_map(|tile| &tile.acts).filter(|&&f| f > 0.0);
        active.map(|&f| f64::from(lp.phi(f).0)).sum()
    };
    let (now, next) = (total(now), total(next));
    if now > 0.0 && next > 0.0 { now / next } else { 1.0 }
}

impl Entries {
    /// Makes room for the results of every entry.
    #[inline(always)]
    pub(crate) fn make_room(&mut self, extras: usize) {
        let n = self.found.latents.len();
        self.acts.resize(n, 0.0);
        self.d_pre.resize(n, 0.0);
        self.d_extra.iter_mut().take(extras).for_each(|values| values.resize(n, 0.0));
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, at: usize, extras: usize, local: Local) {
        self.d_pre[at] = local.d_pre;
        for (values, value) in self.d_extra.iter_mut().zip(local.d_extra).take(extras) {
            values[at] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Optimiser;
    use crate::init::initial;

    #[test]
    fn bytes_are_for_the_first_half_of_a_run_and_for_wide_rows() {
        let sparsity = Sparsity { coefficient: 1.0, l0: None, warm_up: 0, steps: 100 };
        let at = |d: usize, step: u64, proposing: Precision| {
            let architecture = Architecture::Relu { sparsity };
            let mut state = initial(d, 64, &architecture, Optimiser::Adam, 0, &vec![0.0; d], proposing);
            state.step = step;
            dense_precision(&state)
        };
        assert_eq!([0, 49, 50].map(|step| at(128, step, Precision::Int8).name()), ["int8", "int8", "f32"]);
        assert_eq!(at(127, 0, Precision::Int8), Precision::F32);
        assert_eq!([0, 99].map(|step| at(8, step, Precision::Bf16).name()), ["bf16", "bf16"]);
        assert_eq!(at(128, 0, Precision::F32), Precision::F32);
    }
}
