//! Rotary position embedding.
//!
//! A head's coordinates i and i + d_head/2 form a pair that turns with the position p:
//! `x_i' = x_i cos(p w_i) - x_{i+d/2} sin(p w_i)`, `x_{i+d/2}' = x_{i+d/2} cos(p w_i) + x_i sin(p w_i)`,
//! with `w_i = theta^(-2i/d_head)` (Su et al., RoFormer, arXiv 2104.09864 section 3.2.2, in the half-split order of
//! Hugging Face checkpoints). Angles are computed in f32, as the reference does.

use crate::config::{Rotary, RotaryScaling};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// Cosines and sines of a pass's positions.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Tensor, // [batch or 1, seq, 1, d_head]
    sin: Tensor, // [batch or 1, seq, 1, d_head]
}

impl Rotation {
    /// The rotation at `positions`, int64 `[batch or 1, seq]`.
    pub(crate) fn at(rotary: &Rotary, d_head: usize, positions: &Tensor, kind: Kind) -> Self {
        let frequencies = frequencies(rotary, d_head, positions.device()); // [d_head / 2]
        let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * frequencies; // [batch, seq, d_head / 2]
        let angles = Tensor::cat(&[&angles, &angles], -1).unsqueeze(2); // [batch, seq, 1, d_head]
        Self { cos: angles.cos().to_kind(kind), sin: angles.sin().to_kind(kind) }
    }

    /// Rotates queries or keys `[batch, seq, heads, d_head]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1); // [batch, seq, heads, d_head]
        x * &self.cos + turned * &self.sin
    }
}

/// Angle per position of every pair, f32 `[d_head / 2]`.
fn frequencies(rotary: &Rotary, d_head: usize, device: Device) -> Tensor {
    let exponents = Tensor::arange_start_step(0, d_head as i64, 2, (Kind::Float, device)) / d_head as f64;
    let frequencies = Tensor::pow_scalar(rotary.theta, &exponents).reciprocal();
    match rotary.scaling {
        RotaryScaling::Unscaled => frequencies,
        RotaryScaling::Linear { factor } => frequencies / factor,
        RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            // `share` of the unscaled frequency: 0 for long wavelengths, 1 for short, linear in the frequency between.
            let turns = &frequencies * (original_context / TAU);
            let share = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
            (1.0f64 - &share) * &frequencies / factor + share * frequencies
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama3() -> RotaryScaling {
        RotaryScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192.0 }
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).expect("one dimension of doubles")
    }

    #[test]
    fn position_zero_turns_nothing_and_a_quarter_turn_swaps_the_pair() {
        let rotary = Rotary { theta: 1e4, scaling: RotaryScaling::Unscaled };
        let x = Tensor::from_slice(&[3.0f32, 4.0]).view([1, 1, 1, 2]);
        let still = Rotation::at(&rotary, 2, &Tensor::from_slice(&[0i64]).view([1, 1]), Kind::Float).apply(&x);
        assert_eq!(values(&still), [3.0, 4.0]);
        // At position 1 the only pair turns by one radian.
        let turned = Rotation::at(&rotary, 2, &Tensor::from_slice(&[1i64]).view([1, 1]), Kind::Float).apply(&x);
        let (sin, cos) = 1f64.sin_cos();
        let expected = [3.0 * cos - 4.0 * sin, 4.0 * cos + 3.0 * sin];
        assert!(values(&turned).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn llama3_scaling_keeps_short_waves_and_stretches_long_ones() {
        let plain = values(&frequencies(&Rotary { theta: 5e5, scaling: RotaryScaling::Unscaled }, 64, Device::Cpu));
        let scaled = values(&frequencies(&Rotary { theta: 5e5, scaling: llama3() }, 64, Device::Cpu));
        assert_eq!(scaled[0], plain[0]);
        assert!((scaled[31] / plain[31] - 0.125).abs() < 1e-6);
        // Between: wavelength 8192 / 2 lies at share (2 - 1) / (4 - 1) of the way to unscaled.
        for (s, p) in scaled.iter().zip(&plain) {
            let share = ((8192.0 * p / TAU - 1.0) / 3.0).clamp(0.0, 1.0);
            assert!((s / p - ((1.0 - share) / 8.0 + share)).abs() < 1e-5);
        }
    }
}
