//! Where training starts: the first weights.

use crate::adam::Optimiser;
use crate::arch::Architecture;
use crate::constraint::Held;
use crate::plan::TrainPlan;
use crate::state::{Carried, Shape, TrainState};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use untangle_sae::Precision;
use untangle_sae::kernels::buffer::Buffer;

/// Scale of the encoder's rows at the start relative to the decoder's. On stories260k (d_in 64, d_sae 512, k 16, 488 steps of
/// 2048 rows, learning rate 3e-3, 3 seeds) the held-out FVU is .0628 to .0631 at 1, .0605 to .0607 at 1/2 and .0608 to .0613 at 1/4.
const ENCODER_SCALE: f32 = 0.5;

/// Random unit decoder rows, the encoder their multiple (tied: Gao et al. 2024, appendix A.1), `b_dec` the mean of the data,
/// `[d_out]`. A transcoder reads and writes in different spaces, where nothing is to be tied: its encoder rows are random,
/// too, of the same length, and its skip connection begins with zeros. Its input's centre is left to be set.
pub fn initial(
    d_in: usize,
    d_sae: usize,
    architecture: &Architecture,
    optimiser: Optimiser,
    seed: u64,
    mean: &[f32],
    precision: Precision,
) -> TrainState {
    let widths = (d_in, mean.len());
    let mut state = zeros(widths, d_sae, architecture, optimiser, precision);
    draw(seed, architecture.is_transcoder(), widths, &mut state.w_enc.value, &mut state.w_dec.value);
    state.b_dec.value.copy_from_slice(mean);
    architecture.begin(&mut state);
    state.narrow_encoder(&vec![1.0; d_in]);
    state.sum_norms();
    state
}

/// Draws both matrices, rows of these widths; the encoder's are tied to the decoder's, or drawn as well.
fn draw(seed: u64, encoder_as_well: bool, (d_in, d_out): (usize, usize), w_enc: &mut [f32], w_dec: &mut [f32]) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    for (w_dec, w_enc) in w_dec.chunks_exact_mut(d_out).zip(w_enc.chunks_exact_mut(d_in)) {
        unit(w_dec, &mut generator);
        match encoder_as_well {
            true => unit(w_enc, &mut generator),
            false => w_enc.copy_from_slice(w_dec),
        }
        w_enc.iter_mut().for_each(|w| *w *= ENCODER_SCALE);
    }
}

/// What holds of the rows of a plan's dictionary. What was drawn is drawn again, so that nobody has to keep it.
pub(crate) fn held(plan: &TrainPlan) -> Held {
    let drawn = || {
        let (d_in, d_out) = plan.widths();
        let (mut w_enc, mut w_dec) = (Buffer::zeros(plan.d_sae * d_in), Buffer::zeros(plan.d_sae * d_out));
        draw(plan.seed, plan.architecture.is_transcoder(), (d_in, d_out), &mut w_enc, &mut w_dec);
        w_dec
    };
    plan.freeze.map_or_else(Held::default, |freeze| Held::frozen(freeze, drawn))
}

/// The state of an architecture before its weights are known, for activations and reconstructions of these widths.
pub(crate) fn zeros(
    (d_in, d_out): (usize, usize),
    d_sae: usize,
    architecture: &Architecture,
    optimiser: Optimiser,
    precision: Precision,
) -> TrainState {
    let shape = Shape {
        d_in,
        d_out,
        d_sae,
        parts: architecture.parts(),
        extras: architecture.extras(),
        is_transcoder: architecture.is_transcoder(),
        has_skip: architecture.has_skip(),
    };
    let coefficient = architecture.sparsity().map_or(0.0, |sparsity| sparsity.coefficient);
    TrainState::zeros(shape, Carried::first(coefficient, d_sae), optimiser, precision)
}

/// A random row of length 1.
fn unit(row: &mut [f32], generator: &mut impl Rng) {
    row.iter_mut().for_each(|w| *w = normal(generator));
    let norm = row.iter().map(|w| w * w).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|w| *w /= norm);
}

/// A standard normal number (Box & Muller 1958); its direction over several is uniform.
fn normal(generator: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * generator.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::top_k::TopK;

    #[test]
    fn decoder_rows_start_as_unit_and_depend_on_the_seed_alone() {
        let start = |seed| initial(8, 16, &TopK { k: 2 }.into(), Optimiser::Adam, seed, &[0.5; 8], Precision::F32);
        let state = start(7);
        for row in state.w_dec.value.chunks_exact(8) {
            assert!((row.iter().map(|w| w * w).sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(start(7).w_dec.value[..], state.w_dec.value[..]);
        assert_ne!(start(8).w_dec.value[..], state.w_dec.value[..]);
    }
}
