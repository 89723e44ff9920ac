//! Rotary position embedding.
//!
//! Of a head's first d coordinates, i and i + d/2 form a pair that turns with the position p:
//! `x_i' = x_i cos(p w_i) - x_{i+d/2} sin(p w_i)`, `x_{i+d/2}' = x_{i+d/2} cos(p w_i) + x_i sin(p w_i)`,
//! with `w_i = theta^(-2i/d)` (Su et al., RoFormer, arXiv 2104.09864 section 3.2.2, in the half-split order of
//! Hugging Face checkpoints); the other coordinates stay. Angles are computed in f32, as the reference does.
//!
//! LongRoPE (Ding et al., arXiv 2402.13753) has two sets of frequencies, for short texts and for long ones; all tokens
//! of a text turn by the set that its length asks for.

use crate::config::{Rotary, RotaryScaling};
use std::f64::consts::TAU;
use tch::{Kind, Tensor};

/// Cosines and sines of a pass's positions.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Tensor, // [batch or 1, seq, 1, 2 * n_pairs]
    sin: Tensor, // [batch or 1, seq, 1, 2 * n_pairs]
}

impl Rotation {
    /// The rotation at `positions`, int64 `[batch or 1, seq]`, of texts of `lengths` tokens, int64 `[batch or 1]`.
    pub(crate) fn at(rotary: &Rotary, positions: &Tensor, lengths: &Tensor, kind: Kind) -> Self {
        let frequencies = frequencies(rotary, lengths); // [n_pairs] or [batch or 1, 1, n_pairs]
        let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * frequencies; // [batch, seq, n_pairs]
        let angles = Tensor::cat(&[&angles, &angles], -1).unsqueeze(2); // [batch, seq, 1, 2 * n_pairs]
        let (cos, sin) = (angles.cos(), angles.sin());
        let (cos, sin) = match rotary.scaling {
            RotaryScaling::Long { amplitude, .. } => (cos * amplitude, sin * amplitude),
            _ => (cos, sin),
        };
        Self { cos: cos.to_kind(kind), sin: sin.to_kind(kind) }
    }

    /// Rotates queries or keys `[batch, seq, heads, d_head]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        let (d_head, turning) = (x.size()[3], self.cos.size()[3]);
        if turning == d_head {
            return self.turn(x);
        }
        let still = x.narrow(3, turning, d_head - turning);
        Tensor::cat(&[self.turn(&x.narrow(3, 0, turning)), still], 3)
    }

    fn turn(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1); // [batch, seq, heads, 2 * n_pairs]
        x * &self.cos + turned * &self.sin
    }
}

/// Angle per position of every pair, f32 `[n_pairs]`, or where texts of other lengths have others `[batch, 1, n_pairs]`.
fn frequencies(rotary: &Rotary, lengths: &Tensor) -> Tensor {
    let options = (Kind::Float, lengths.device());
    let exponents = Tensor::arange_start_step(0, rotary.d_rotary as i64, 2, options) / rotary.d_rotary as f64;
    let wavelengths = Tensor::pow_scalar(rotary.theta, &exponents); // [n_pairs], over 2 pi
    match &rotary.scaling {
        RotaryScaling::Unscaled => wavelengths.reciprocal(),
        RotaryScaling::Linear { factor } => wavelengths.reciprocal() / *factor,
        RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let frequencies = wavelengths.reciprocal();
            // `share` of the unscaled frequency: 0 for long wavelengths, 1 for short, linear in the frequency between.
            let turns = &frequencies * (original_context / TAU);
            let share = ((turns - *low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
            (1.0f64 - &share) * &frequencies / *factor + share * frequencies
        }
        RotaryScaling::Long { short, long, original_context, .. } => {
            let stretched = |factors: &[f64]| {
                let factors = Tensor::from_slice(factors).to_kind(Kind::Float).to_device(lengths.device());
                (factors * &wavelengths).reciprocal() // [n_pairs]
            };
            let is_long = lengths.gt(*original_context as i64).view([-1, 1, 1]); // [batch or 1, 1, 1]
            stretched(long).where_self(&is_long, &stretched(short))
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

    fn rotary(theta: f64, d_rotary: usize, scaling: RotaryScaling) -> Rotary {
        Rotary { theta, d_rotary, scaling }
    }

    /// One head of `x` at one position, in a text of `length` tokens.
    fn turned(rotary: &Rotary, x: &[f32], position: i64, length: i64) -> Vec<f64> {
        let x = Tensor::from_slice(x).view([1, 1, 1, -1]);
        let (position, length) = (Tensor::from_slice(&[position]).view([1, 1]), Tensor::from_slice(&[length]));
        values(&Rotation::at(rotary, &position, &length, Kind::Float).apply(&x))
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        let near = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near, "{found:?} is not {expected:?}");
    }

    #[test]
    fn position_zero_turns_nothing_and_at_position_one_the_only_pair_turns_by_one_radian() {
        let rotary = rotary(1e4, 2, RotaryScaling::Unscaled);
        assert_eq!(turned(&rotary, &[3.0, 4.0], 0, 1), [3.0, 4.0]);
        let (sin, cos) = 1f64.sin_cos();
        assert_near(&turned(&rotary, &[3.0, 4.0], 1, 2), &[3.0 * cos - 4.0 * sin, 4.0 * cos + 3.0 * sin]);
    }

    #[test]
    fn coordinates_beyond_the_turning_part_stay_and_an_odd_part_is_rounded_up() {
        let (sin, cos) = 1f64.sin_cos();
        let x = [1.0, 0.0, 0.0, 0.0, 7.0];
        assert_near(&turned(&rotary(1e4, 2, RotaryScaling::Unscaled), &x, 1, 2), &[cos, sin, 0.0, 0.0, 7.0]);
        // Pairs (0, 2) and (1, 3); frequencies 1 and 1000^(-2/3).
        let (slow_sin, slow_cos) = 0.01f64.sin_cos();
        let found = turned(&rotary(1e3, 3, RotaryScaling::Unscaled), &[1.0, 1.0, 0.0, 0.0, 7.0], 1, 2);
        assert_near(&found, &[cos, slow_cos, sin, slow_sin, 7.0]);
    }

    #[test]
    fn long_texts_turn_by_their_own_frequencies_all_through() {
        let scaling = RotaryScaling::Long { short: vec![1.0], long: vec![4.0], original_context: 8, amplitude: 2.0 };
        let rotary = rotary(1e4, 2, scaling);
        for (length, angle) in [(8, 1f64), (9, 0.25)] {
            assert_near(&turned(&rotary, &[1.0, 0.0], 1, length), &[2.0 * angle.cos(), 2.0 * angle.sin()]);
        }
    }

    #[test]
    fn llama3_scaling_keeps_short_waves_and_stretches_long_ones() {
        let length = Tensor::from_slice(&[1i64]);
        let plain = values(&frequencies(&rotary(5e5, 64, RotaryScaling::Unscaled), &length));
        let scaled = values(&frequencies(&rotary(5e5, 64, llama3()), &length));
        assert_eq!(scaled[0], plain[0]);
        assert!((scaled[31] / plain[31] - 0.125).abs() < 1e-6);
        // Between: wavelength 8192 / 2 lies at share (2 - 1) / (4 - 1) of the way to unscaled.
        for (s, p) in scaled.iter().zip(&plain) {
            let share = ((8192.0 * p / TAU - 1.0) / 3.0).clamp(0.0, 1.0);
            assert!((s / p - ((1.0 - share) / 8.0 + share)).abs() < 1e-5);
        }
    }
}
