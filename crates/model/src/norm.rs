//! The norms over the residual stream.
//!
//! LayerNorm (Ba et al., arXiv 1607.06450): `(x - mean(x)) / sqrt(var(x) + eps) * w + b`.
//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467): `x / sqrt(mean(x^2) + eps) * w`, in f32 whatever the kind of `x`.

use crate::config::{NormConfig, NormKind};
use tch::{Kind, Tensor};

/// One norm with its weights.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) config: NormConfig,
    pub(crate) weight: Tensor,       // [d_model]
    pub(crate) bias: Option<Tensor>, // [d_model]
}

impl Norm {
    /// `x` `[batch, seq, d_model]`, normalised and scaled, same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match self.config.kind {
            NormKind::LayerNorm => {
                x.layer_norm(self.weight.size(), Some(&self.weight), self.bias.as_ref(), self.config.eps, true)
            }
            NormKind::RmsNorm => self.affine(&self.normalize(x)),
        }
    }

    /// `x` `[batch, seq, d_model]`, normalised but not yet scaled, same shape.
    pub(crate) fn normalize(&self, x: &Tensor) -> Tensor {
        match self.config.kind {
            NormKind::LayerNorm => {
                x.layer_norm(self.weight.size(), None::<&Tensor>, None::<&Tensor>, self.config.eps, true)
            }
            NormKind::RmsNorm => {
                let x32 = x.to_kind(Kind::Float);
                let mean_square = x32.square().mean_dim(-1, true, None::<Kind>); // [batch, seq, 1]
                (x32 * (mean_square + self.config.eps).rsqrt()).to_kind(x.kind())
            }
        }
    }

    /// `normalized * w + b`, the second half of [`Norm::forward`].
    pub(crate) fn affine(&self, normalized: &Tensor) -> Tensor {
        let scaled = normalized * &self.weight;
        match &self.bias {
            Some(bias) => scaled + bias,
            None => scaled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(kind: NormKind, bias: Option<&[f32]>) -> Norm {
        Norm {
            config: NormConfig { kind, eps: 0.5 },
            weight: Tensor::from_slice(&[2.0f32, -1.0]),
            bias: bias.map(Tensor::from_slice),
        }
    }

    fn close(tensor: &Tensor, expected: [f64; 2]) {
        let found = Vec::<f64>::try_from(tensor.to_kind(Kind::Double).view(-1)).expect("doubles");
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {expected:?}");
    }

    #[test]
    fn norms_match_hand_computed_numbers() {
        let x = Tensor::from_slice(&[1.0f32, 4.0]).view([1, 1, 2]);
        // mean 2.5, variance 2.25: (x - 2.5) / sqrt(2.75)
        let layer = norm(NormKind::LayerNorm, Some(&[10.0, 20.0]));
        let scale = 2.75f64.sqrt();
        close(&layer.normalize(&x), [-1.5 / scale, 1.5 / scale]);
        close(&layer.forward(&x), [10.0 - 3.0 / scale, 20.0 - 1.5 / scale]);
        close(&layer.affine(&layer.normalize(&x)), [10.0 - 3.0 / scale, 20.0 - 1.5 / scale]);
        // mean square 8.5: x / 3
        let rms = norm(NormKind::RmsNorm, None);
        close(&rms.normalize(&x), [1.0 / 3.0, 4.0 / 3.0]);
        close(&rms.forward(&x), [2.0 / 3.0, -4.0 / 3.0]);
    }
}
