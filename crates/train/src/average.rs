//! An average of the weights over the last steps, which is calibrated and saved in place of the weights where it is asked
//! for (Polyak & Juditsky 1992; for dictionaries, Gao et al. 2024, appendix A.3).
//!
//! ```text
//! a_t = beta a_{t-1} + (1 - beta) p_t,  a_0 = 0        p^_t = a_t / (1 - beta^t)
//! ```
//!
//! The division takes out that `a_0` is zero, as in Adam: `p^_t` is a weighted mean of `p_1 ... p_t` and of nothing else. An
//! average of unit rows is a little shorter than a unit, so the decoder's are normalised again. Training itself goes on
//! with `p_t`.

use crate::constraint::normalise;
use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::vector::dispatch;

/// Numbers that one worker takes at a time.
const CHUNK: usize = 1 << 14;

/// Makes room for averages of all parameters, in the order of [`TrainState::parameters`].
pub(crate) fn begin(state: &mut TrainState) {
    state.averages = state.parameters().iter().map(|(_, parameter)| Buffer::zeros(parameter.value.len())).collect();
}

/// Adds the weights as they are after a step; `beta` is the weight of what was there.
pub(crate) fn follow(state: &mut TrainState, beta: f64) {
    let mut averages = std::mem::take(&mut state.averages);
    let (old, new) = (beta as f32, (1.0 - beta) as f32);
    for (average, (_, parameter)) in averages.iter_mut().zip(state.parameters()) {
        average.par_chunks_mut(CHUNK).zip(parameter.value.par_chunks(CHUNK)).for_each(|(average, value)| {
            dispatch(
                #[inline(always)]
                || average.iter_mut().zip(value).for_each(|(a, p)| *a = old.mul_add(*a, new * p)),
            );
        });
    }
    state.averages = averages;
}

/// Puts the averages after all steps in the place of the weights.
pub(crate) fn take(state: &mut TrainState, beta: f64, spread: &[f32]) {
    let steps = state.step.min(i32::MAX as u64) as i32;
    let correction = (1.0 / (1.0 - f64::from(beta as f32).powi(steps))) as f32;
    let averages = std::mem::take(&mut state.averages);
    for ((_, parameter), average) in state.parameters_mut().into_iter().zip(averages) {
        parameter.value = average;
        parameter.value.iter_mut().for_each(|p| *p *= correction);
    }
    let d = state.d_out;
    state.w_dec.value.par_chunks_mut(d).for_each(normalise);
    state.sum_norms();
    state.narrow_encoder(spread);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adam::Optimiser;
    use crate::arch::top_k::TopK;
    use crate::init::initial;
    use untangle_sae::Precision;

    fn state() -> TrainState {
        let mut state = initial(2, 2, &TopK { k: 1 }.into(), Optimiser::Adam, 3, &[0.0; 2], Precision::F32);
        begin(&mut state);
        state
    }

    #[test]
    fn three_steps_by_hand() {
        let mut state = state();
        for (step, (bias, row)) in [(1.0, [1.0, 0.0]), (2.0, [0.0, 1.0]), (4.0, [1.0, 0.0])].into_iter().enumerate() {
            state.b_enc.value[0] = bias;
            state.w_dec.value[..2].copy_from_slice(&row);
            state.step = step as u64 + 1;
            follow(&mut state, 0.5);
        }
        take(&mut state, 0.5, &[1.0; 2]);
        // (1/8 1 + 1/4 2 + 1/2 4) / (7/8) = 3; the row is (5/8, 1/4) / (7/8), made a unit: (5, 2) / sqrt(29).
        assert!((state.b_enc.value[0] - 3.0).abs() < 1e-6, "{}", state.b_enc.value[0]);
        assert!((state.w_dec.value[0] - 5.0 / 29f32.sqrt()).abs() < 1e-6, "{}", state.w_dec.value[0]);
        assert!((state.w_dec.value[1] - 2.0 / 29f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_change_is_its_own_average() {
        let mut state = state();
        let before = state.clone();
        for step in 1..=7 {
            state.step = step;
            follow(&mut state, 0.9);
        }
        take(&mut state, 0.9, &[1.0; 2]);
        for ((_, a), (_, b)) in state.parameters().into_iter().zip(before.parameters()) {
            assert!(a.value.iter().zip(&b.value[..]).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
