//! The norms, over the residual stream or over heads.
//!
//! LayerNorm (Ba et al., arXiv 1607.06450): `(x - mean(x)) / sqrt(var(x) + eps) * w + b`.
//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467): `x / sqrt(mean(x^2) + eps) * (w + offset)`, in f32 whatever the kind
//! of `x`; families differ in whether the weight multiplies before the result is rounded to that kind.

use crate::config::{NormConfig, NormKind};
use crate::tap::{Flow, Tap};
use std::ops::ControlFlow;
use tch::{Kind, Tensor};
use untangle_schema::HookPoint;

/// The two points of a norm that can be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormPoints {
    /// What it divides by.
    pub(crate) scale: HookPoint,
    /// What it yields before its weight.
    pub(crate) normalized: HookPoint,
}

/// One norm with its weights.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) config: NormConfig,
    pub(crate) weight: Tensor,       // [d]
    pub(crate) bias: Option<Tensor>, // [d]
}

impl Norm {
    /// `x` `[.., d]`, normalised and scaled, same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match self.config.kind {
            NormKind::LayerNorm => {
                x.layer_norm(self.weight.size(), Some(&self.weight), self.bias.as_ref(), self.config.eps, true)
            }
            NormKind::RmsNorm if self.config.scale_in_f32 => self.affine(&self.unit(x)).to_kind(x.kind()),
            NormKind::RmsNorm => self.affine(&self.normalize(x)),
        }
    }

    /// As [`Norm::forward`], past its two points. Where somebody wants one, the two halves are computed apart, which can
    /// differ in the last bit.
    pub(crate) fn forward_past(&self, x: &Tensor, points: NormPoints, tap: &mut Tap<'_>) -> Flow<Tensor> {
        if !tap.wants(points.scale) && !tap.wants(points.normalized) {
            return ControlFlow::Continue(self.forward(x));
        }
        ControlFlow::Continue(self.affine(&self.normalize_past(x, points, tap)?))
    }

    /// As [`Norm::normalize`], past its two points.
    pub(crate) fn normalize_past(&self, x: &Tensor, points: NormPoints, tap: &mut Tap<'_>) -> Flow<Tensor> {
        let normalized = if tap.wants(points.scale) {
            let centred = self.centred(x);
            let variance = centred.square().mean_dim(-1, true, None::<Kind>); // [.., 1]
            let scale = tap.at(points.scale, (variance + self.config.eps).sqrt())?;
            (centred / scale).to_kind(x.kind())
        } else {
            self.normalize(x)
        };
        tap.at(points.normalized, normalized)
    }

    /// What is divided, in f32: LayerNorm takes the mean away first.
    fn centred(&self, x: &Tensor) -> Tensor {
        let x = x.to_kind(Kind::Float);
        match self.config.kind {
            NormKind::LayerNorm => &x - x.mean_dim(-1, true, None::<Kind>),
            NormKind::RmsNorm => x,
        }
    }

    /// `x` `[.., d]`, normalised but not yet scaled, same shape.
    pub(crate) fn normalize(&self, x: &Tensor) -> Tensor {
        match self.config.kind {
            NormKind::LayerNorm => {
                x.layer_norm(self.weight.size(), None::<&Tensor>, None::<&Tensor>, self.config.eps, true)
            }
            NormKind::RmsNorm => self.unit(x).to_kind(x.kind()),
        }
    }

    /// x / sqrt(mean(x^2) + eps) in f32.
    fn unit(&self, x: &Tensor) -> Tensor {
        let x = x.to_kind(Kind::Float);
        let mean_square = x.square().mean_dim(-1, true, None::<Kind>); // [.., 1]
        x * (mean_square + self.config.eps).rsqrt()
    }

    /// `normalized * w + b`, the second half of [`Norm::forward`], of the same kind as `normalized`.
    pub(crate) fn affine(&self, normalized: &Tensor) -> Tensor {
        let scaled = (normalized * self.scale()).to_kind(normalized.kind());
        match &self.bias {
            Some(bias) => scaled + bias,
            None => scaled,
        }
    }

    /// What multiplies: `w + offset`, `[d]`, in f32 where it multiplies in f32.
    pub(crate) fn scale(&self) -> Tensor {
        let weight =
            if self.config.scale_in_f32 { self.weight.to_kind(Kind::Float) } else { self.weight.shallow_clone() };
        if self.config.offset == 0.0 { weight } else { weight + self.config.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(kind: NormKind, bias: Option<&[f32]>) -> Norm {
        Norm {
            config: NormConfig::plain(kind, 0.5),
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
        // Weights 2 and -1 as distances from 1: 3 and 0.
        let config = NormConfig { offset: 1.0, scale_in_f32: true, ..rms.config };
        let offset = Norm { config, ..rms };
        close(&offset.forward(&x), [1.0, 0.0]);
        close(&offset.affine(&offset.normalize(&x)), [1.0, 0.0]);
    }

    #[test]
    fn a_weight_that_multiplies_in_f32_is_rounded_once() {
        let x = Tensor::from_slice(&[1.0f32, 1.0]).to_kind(Kind::BFloat16);
        let weight = Tensor::from_slice(&[143.0f32 / 128.0, 1.0]).to_kind(Kind::BFloat16);
        // 143 / 128 / sqrt(1 + 0.5) is 233.51 / 256; 1 / sqrt(1.5) rounded first to 209 / 256 makes it 233.49 / 256.
        let once = NormConfig { scale_in_f32: true, ..NormConfig::plain(NormKind::RmsNorm, 0.5) };
        for (config, expected) in [(once, 234.0), (NormConfig { scale_in_f32: false, ..once }, 233.0)] {
            let norm = Norm { config, weight: weight.shallow_clone(), bias: None };
            assert_eq!(norm.forward(&x).kind(), Kind::BFloat16);
            assert_eq!(norm.forward(&x).double_value(&[0]) * 256.0, expected);
        }
    }
}
