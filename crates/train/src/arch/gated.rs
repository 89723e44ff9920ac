//! Gated: one path decides whether a latent fires, another how strongly (Rajamanoharan et al. 2024a, equations 6 to 8).
//!
//! ```text
//! u = w_i · z        pi = u + b_gate        m = exp(r) u + b_mag        f = 1[pi > 0] relu(m)
//! L = 1/n sum_r ( |W_dec^T f - z|^2 + lambda sum_i relu(pi) |d_i| + |sg(W_dec)^T relu(pi) - sg(z_hat)|^2 )
//! with g = 2/n e of the first reconstruction, g' = 2/n e' of the one from the gate, where pi > 0:
//! dL/dm = g · d_i where m > 0        dL/dpi = lambda/n + g' · d_i
//! dL/du = exp(r) dL/dm + dL/dpi      dL/dr = exp(r) u dL/dm        dL/db_mag = dL/dm        dL/db_gate = dL/dpi
//! ```
//!
//! `sg` stops gradients: the reconstruction from the gate moves neither decoder nor `b_dec` where they decode. `pi` is the
//! pre-activation of the other architectures and `b_gate` stands where they have `b_enc`. The sum over a latent's entries of
//! `dL/du` is what `b_dec` and the encoder see; `dL/db_gate` follows from it by `gate_bias`.

use super::rule::{At, Local, Rule};

/// Place of `r_mag` among the further parameters.
pub const R_MAG: usize = 0;
/// Place of `b_mag`.
pub const B_MAG: usize = 1;

/// The rule of one step.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// `b_gate`, `[d_sae]`
    pub b_gate: &'a [f32],
    /// `exp(r)`, `[d_sae]`
    pub scale: &'a [f32],
    /// `b_mag`, `[d_sae]`
    pub b_mag: &'a [f32],
    /// `lambda / n`
    pub weight: f32,
}

impl Rule for Gate<'_> {
    const EXTRAS: usize = 2;
    const GATED: bool = true;

    #[inline(always)]
    fn latents(&self) -> usize {
        self.b_gate.len().min(self.scale.len()).min(self.b_mag.len())
    }

    #[inline(always)]
    fn act(&self, latent: usize, p: f32) -> f32 {
        let magnitude = self.scale[latent].mul_add(p - self.b_gate[latent], self.b_mag[latent]);
        if p > 0.0 { magnitude.max(0.0) } else { 0.0 }
    }

    #[inline(always)]
    fn gate(&self, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        if at.p <= 0.0 {
            return Local::default();
        }
        let d_mag = if at.f > 0.0 { at.h } else { 0.0 };
        let of_u = self.scale[at.latent] * d_mag;
        Local {
            d_pre: of_u + at.h_gate + self.weight,
            d_extra: [of_u * (at.p - self.b_gate[at.latent]), d_mag],
            penalty: self.weight * at.p,
        }
    }
}

/// Turns the sums of `dL/du` into the gradient of `b_gate`, given that of `b_mag`.
pub(crate) fn gate_bias(d_b: &mut [f32], r_mag: &[f32], d_b_mag: &[f32]) {
    for ((d_b, r), d_b_mag) in d_b.iter_mut().zip(r_mag).zip(d_b_mag) {
        *d_b -= r.exp() * d_b_mag;
    }
}
