//! Is a step better done sparsely or densely, and densely in which arithmetic?

use crate::arch::Architecture;
use crate::state::TrainState;
use untangle_sae::Precision;
use untangle_sae::kernels::narrow::NarrowWeights;

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
pub(crate) fn dense_precision(state: &TrainState, architecture: &Architecture) -> Precision {
    let begins = architecture.sparsity().is_some_and(|sparsity| 2 * state.step < sparsity.steps);
    match state.narrow.as_ref().map(NarrowWeights::precision) {
        Some(Precision::Int8) if !begins || state.d_in < BYTES_FROM => Precision::F32,
        precision => precision.unwrap_or(Precision::F32),
    }
}

/// Whether the next step is done densely: where the last batch had many entries.
pub(crate) fn is_dense(state: &TrainState, architecture: &Architecture) -> bool {
    let above = dense_above(dense_precision(state, architecture), state.d_in) * state.d_sae as f64;
    architecture.sparsity().is_some() && state.carried.entries > above
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adam::Optimiser;
    use crate::arch::relu::Relu;
    use crate::init::initial;
    use crate::penalty::Sparsity;

    #[test]
    fn bytes_are_for_the_first_half_of_a_run_and_for_wide_rows() {
        let sparsity = Sparsity { coefficient: 1.0, l0: None, warm_up: 0, steps: 100 };
        let at = |d: usize, step: u64, proposing: Precision| {
            let architecture = Relu { sparsity }.into();
            let mut state = initial(d, 64, &architecture, Optimiser::Adam, 0, &vec![0.0; d], proposing);
            state.step = step;
            dense_precision(&state, &architecture)
        };
        assert_eq!([0, 49, 50].map(|step| at(128, step, Precision::Int8).name()), ["int8", "int8", "f32"]);
        assert_eq!(at(127, 0, Precision::Int8), Precision::F32);
        assert_eq!([0, 99].map(|step| at(8, step, Precision::Bf16).name()), ["bf16", "bf16"]);
        assert_eq!(at(128, 0, Precision::F32), Precision::F32);
    }
}
