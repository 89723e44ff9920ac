//! What holds of a latent's rows throughout training: decoder rows have length 1.
//!
//! ```text
//! dL/dd_i loses its part along d_i        after every update d_i <- d_i / |d_i|
//! ```

use tch::{Kind, TchError, Tensor};
use untangle_sae::kernels::vector::{axpy, dot};

/// What holds of the rows of all latents.
#[derive(Clone, Debug, Default)]
pub struct Held {}

impl Held {
    /// Leaves of a latent's gradients what may move its rows; `unit_row` is the decoder row that the batch was decoded with.
    #[inline(always)]
    pub(crate) fn gradients(&self, unit_row: &[f32], _d_w: &mut [f32], d_d: &mut [f32]) {
        let along = dot(d_d, unit_row);
        axpy(d_d, -along, unit_row);
    }

    /// The same of all latents, as matrices.
    pub(crate) fn gradients_in_tensors(
        &self,
        unit_rows: &Tensor,
        _d_w: &mut Tensor,
        d_d: &mut Tensor,
    ) -> Result<(), TchError> {
        let along = d_d.f_mul(unit_rows)?.f_sum_dim_intlist(1, true, Kind::Float)?;
        *d_d = d_d.f_sub(&along.f_mul(unit_rows)?)?;
        Ok(())
    }

    /// A decoder that was moved, `[d_sae, d_out]`, with every row where it has to lie.
    pub(crate) fn decoder_in_tensors(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let norms = rows.f_square()?.f_sum_dim_intlist(1, true, Kind::Float)?.f_sqrt()?;
        rows.f_div(&norms.f_clamp_min(f64::from(f32::MIN_POSITIVE))?)
    }

    /// Brings a decoder row that was moved back to where it has to lie.
    #[inline(always)]
    pub(crate) fn decoder_row(&self, _latent: usize, row: &mut [f32]) {
        normalise(row);
    }
}

/// Makes a row's length 1.
#[inline(always)]
pub(crate) fn normalise(row: &mut [f32]) {
    let inverse = 1.0 / dot(row, row).sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|w| *w *= inverse);
}
