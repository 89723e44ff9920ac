//! Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the matrices within blocks: a step of equal length in
//! all directions that the gradients span. Embedding and norms move by Adam.
//!
//! m = mu m + g, O = the orthogonal factor of g + mu m, p = p (1 - lr w) - 0.2 lr sqrt(max(rows, columns)) O
//!
//! The factor 0.2 sqrt(max(rows, columns)) gives a step the root mean square of one of Adam, so that both use one learning
//! rate and one weight decay w (Liu et al., arXiv 2502.16982, section 2.2). O comes from [`ROUNDS`] of Newton and Schulz,
//! X = a X + (b X X' + c (X X')^2) X from X = U / |U|: singular values end between 0.68 and 1.13.

use crate::adam::{Adam, WEIGHT_DECAY};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const MOMENTUM: f64 = 0.95;
const ROUNDS: usize = 5;
/// a, b, c of a round: they raise small singular values quickly and do not settle at 1.
const ROUND: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Root mean square of a step of Adam.
const SIZE: f64 = 0.2;

/// Moves matrices of blocks by Muon and all others by Adam; `step` counts from 0. Returns the gradients' norm.
pub(crate) fn step(
    adam: &mut Adam,
    parameters: &mut [(String, Tensor)],
    gradients: &[Tensor],
    step: u64,
    lr: f64,
) -> f64 {
    tch::no_grad(|| {
        let (norm, scale) = Adam::shortening(gradients);
        let mut of_size: BTreeMap<Vec<i64>, Vec<usize>> = BTreeMap::new();
        for (i, ((name, parameter), gradient)) in parameters.iter_mut().zip(gradients).enumerate() {
            if name.starts_with("blocks.") && parameter.dim() == 2 {
                of_size.entry(parameter.size()).or_default().push(i);
            } else {
                adam.move_one(i, parameter, &(gradient * scale), step, lr);
            }
        }
        for (size, group) in of_size {
            let wanted: Vec<Tensor> = group.iter().map(|&i| gather(&mut adam.first[i], &gradients[i], scale)).collect();
            let turned = orthogonal(&Tensor::stack(&wanted, 0));
            let length = SIZE * lr * (size[0].max(size[1]) as f64).sqrt();
            for (place, i) in group.into_iter().enumerate() {
                let parameter = &mut parameters[i].1;
                let _ = parameter.g_mul_scalar_(1.0 - lr * WEIGHT_DECAY);
                let _ = parameter.g_sub_(&(turned.get(place as i64) * length));
            }
        }
        norm
    })
}

/// Adds a gradient to its momentum; returns the sum that looks one step ahead (Nesterov).
fn gather(momentum: &mut Tensor, gradient: &Tensor, scale: f64) -> Tensor {
    let gradient = gradient * scale;
    let _ = momentum.g_mul_scalar_(MOMENTUM).g_add_(&gradient);
    gradient + &*momentum * MOMENTUM
}

/// Of matrices `[n, rows, columns]`, each with its singular values brought near 1.
fn orthogonal(matrices: &Tensor) -> Tensor {
    let tall = matrices.size()[1] > matrices.size()[2];
    let wide = if tall { matrices.transpose(1, 2) } else { matrices.shallow_clone() };
    let norms = wide.square().sum_dim_intlist([1i64, 2].as_slice(), true, Kind::Float).sqrt();
    let mut x = wide / (norms + 1e-7);
    let [a, b, c] = ROUND;
    for _ in 0..ROUNDS {
        let square = x.bmm(&x.transpose(1, 2));
        let factor = &square * b + square.bmm(&square) * c;
        x = &x * a + factor.bmm(&x);
    }
    if tall { x.transpose(1, 2) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(size: &[i64]) -> Tensor {
        tch::manual_seed(5);
        Tensor::randn(size, (Kind::Float, tch::Device::Cpu))
    }

    #[test]
    fn every_direction_gets_about_the_same_length_and_keeps_its_place() {
        for size in [[2, 16, 40], [2, 40, 16]] {
            let matrices = random(&size);
            let found = orthogonal(&matrices);
            let (_, s, _) = found.svd(true, true);
            assert!(s.min().double_value(&[]) > 0.6 && s.max().double_value(&[]) < 1.3, "{s}");
            let (u, _, v) = matrices.svd(true, true);
            let expected = u.bmm(&v.transpose(1, 2));
            let length = |tensor: &Tensor| tensor.square().sum(Kind::Double).sqrt().double_value(&[]);
            let cosine = (&found * &expected).sum(Kind::Double).double_value(&[]) / length(&found) / length(&expected);
            assert!(cosine > 0.98, "{cosine}");
        }
    }

    #[test]
    fn a_matrix_of_a_block_turns_and_the_embedding_moves_by_adam() {
        let named = |name: &str| (name.to_owned(), Tensor::zeros([4, 8], (Kind::Float, tch::Device::Cpu)));
        let mut parameters = [named("embed.weight"), named("blocks.0.attn.q.weight")];
        let mut adam = Adam::new(&parameters.each_ref().map(|(_, tensor)| tensor.shallow_clone()));
        let gradient = random(&[4, 8]);
        step(&mut adam, &mut parameters, &[gradient.shallow_clone(), gradient.shallow_clone()], 0, 0.1);
        let [embedding, matrix] = parameters.map(|(_, tensor)| tensor);
        // Adam's first step is the learning rate in the gradient's sign.
        assert!((embedding + gradient.sign() * 0.1).abs().max().double_value(&[]) < 1e-4);
        let rms = matrix.square().mean(Kind::Double).sqrt().double_value(&[]);
        assert!((rms / (0.1 * SIZE) - 1.0).abs() < 0.3, "{rms}"); // four equal values over 4 x 8 entries: 1 / sqrt 8
        assert!((matrix * gradient).sum(Kind::Double).double_value(&[]) < 0.0);
    }
}
