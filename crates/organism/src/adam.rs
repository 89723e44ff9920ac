//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) on the tensors of a model.
//!
//! m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
//! p = p (1 - lr w) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//!
//! | symbol | here |
//! |---|---|
//! | g | gradient, scaled so that the norm over all parameters is at most [`MAX_NORM`] |
//! | m, v | `first`, `second` |
//! | b1, b2, eps | [`BETA_1`], [`BETA_2`], [`EPSILON`] |
//! | w | [`WEIGHT_DECAY`] for matrices, 0 for norms |

use tch::{Kind, Tensor};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.95;
const EPSILON: f64 = 1e-8;
pub(crate) const WEIGHT_DECAY: f64 = 0.05;
const MAX_NORM: f64 = 1.0;

/// The moments of every parameter.
pub(crate) struct Adam {
    pub(crate) first: Vec<Tensor>,
    pub(crate) second: Vec<Tensor>,
}

impl Adam {
    pub(crate) fn new(parameters: &[Tensor]) -> Self {
        let zeros = || parameters.iter().map(Tensor::zeros_like).collect();
        tch::no_grad(|| Self { first: zeros(), second: zeros() })
    }

    /// Moves the parameters by their gradients; `step` counts from 0. Returns the gradients' norm.
    pub(crate) fn step(&mut self, parameters: &mut [Tensor], gradients: &[Tensor], step: u64, lr: f64) -> f64 {
        tch::no_grad(|| {
            let (norm, scale) = Self::shortening(gradients);
            for (i, (parameter, gradient)) in parameters.iter_mut().zip(gradients).enumerate() {
                self.move_one(i, parameter, &(gradient * scale), step, lr);
            }
            norm
        })
    }

    /// The gradients' norm, and the factor that shortens them to [`MAX_NORM`].
    pub(crate) fn shortening(gradients: &[Tensor]) -> (f64, f64) {
        let squares: Vec<Tensor> = gradients.iter().map(|g| g.square().sum(Kind::Double)).collect();
        let norm = Tensor::stack(&squares, 0).sum(Kind::Double).sqrt().double_value(&[]);
        (norm, (MAX_NORM / norm.max(MAX_NORM)).min(1.0))
    }

    /// Moves the parameter at this place by its gradient.
    pub(crate) fn move_one(&mut self, i: usize, parameter: &mut Tensor, g: &Tensor, step: u64, lr: f64) {
        let t = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let (unbias_1, unbias_2) = (1.0 - BETA_1.powi(t), 1.0 - BETA_2.powi(t));
        let (first, second) = (&mut self.first[i], &mut self.second[i]);
        let _ = first.g_mul_scalar_(BETA_1).g_add_(&(g * (1.0 - BETA_1)));
        let _ = second.g_mul_scalar_(BETA_2).g_add_(&(g.square() * (1.0 - BETA_2)));
        let update = (&*first / unbias_1) / ((&*second / unbias_2).sqrt() + EPSILON);
        if parameter.dim() > 1 {
            let _ = parameter.g_mul_scalar_(1.0 - lr * WEIGHT_DECAY);
        }
        let _ = parameter.g_sub_(&(update * lr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        // One norm weight at 1, gradient 0.5 twice: both unbiased moments are 0.5 and 0.25, so each step is lr.
        let mut parameters = [Tensor::from_slice(&[1.0f64])];
        let mut adam = Adam::new(&parameters);
        for step in 0..2 {
            let norm = adam.step(&mut parameters, &[Tensor::from_slice(&[0.5f64])], step, 0.1);
            assert_eq!(norm, 0.5);
        }
        assert!((parameters[0].double_value(&[0]) - 0.8).abs() < 1e-7);
    }

    #[test]
    fn long_gradients_are_shortened_and_matrices_decay() {
        let mut parameters = [Tensor::from_slice(&[2.0f64]).view([1, 1])];
        let mut adam = Adam::new(&parameters);
        adam.step(&mut parameters, &[Tensor::from_slice(&[10.0f64]).view([1, 1])], 0, 0.1);
        assert!((adam.first[0].double_value(&[0, 0]) - 0.1).abs() < 1e-12); // (1 - 0.9) * 1
        assert!((parameters[0].double_value(&[0, 0]) - (2.0 * 0.995 - 0.1)).abs() < 1e-7);
    }
}
