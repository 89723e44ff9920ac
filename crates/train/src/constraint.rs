//! What holds of a latent's rows throughout training: decoder rows have length 1, and what is frozen stays.
//!
//! ```text
//! dL/dd_i loses its part along d_i        after every update d_i <- d_i / |d_i|
//! decoder         dL/dd_i = 0             d_i stays as it was drawn
//! encoder         dL/dw_i = 0             w_i stays as it was drawn
//! soft-decoder    cos(d_i, d_i^0) >= 0.8 with the row d_i^0 that was drawn: where less, d_i <- 0.8 d_i^0 + 0.6 u, u the
//!                 direction of what of d_i is orthogonal to d_i^0
//! ```
//!
//! Frozen dictionaries are baselines that a trained one is to beat, of every architecture: what random directions reach when only
//! the rest is learned (arXiv 2602.14111). Biases and thresholds are learned in all of them, so that L0 comes to what was asked
//! for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tch::{Kind, TchError, Tensor};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::vector::{axpy, dot};

/// What of a dictionary stays as it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freeze {
    /// `W_dec`
    Decoder,
    /// `W_enc`
    Encoder,
    /// `W_dec`, about: every row keeps a cosine of [`LEAST_COSINE`] with what was drawn.
    SoftDecoder,
}

/// The table of them, by name.
const NAMES: [(&str, Freeze); 3] =
    [("decoder", Freeze::Decoder), ("encoder", Freeze::Encoder), ("soft-decoder", Freeze::SoftDecoder)];

impl FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, freeze)| freeze);
        found.ok_or_else(|| format!("`{text}` is none of {}", NAMES.map(|(name, _)| name).join(", ")))
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.into_iter().find(|(_, freeze)| freeze == self).map_or("", |(name, _)| name))
    }
}

/// The cosine that soft-frozen rows keep with what was drawn (arXiv 2602.14111), and the sine that belongs to it.
pub const LEAST_COSINE: f32 = 0.8;
const ITS_SINE: f32 = 0.6;

/// What holds of the rows of all latents.
#[derive(Clone, Debug, Default)]
pub struct Held {
    freeze: Option<Freeze>,
    /// The decoder as it was drawn, `[d_sae, d_out]`; of soft-frozen ones alone.
    drawn: Buffer<f32>,
}

impl Held {
    /// What is frozen of a dictionary whose decoder was drawn as `drawn` says, `[d_sae, d_out]`.
    pub fn frozen(freeze: Freeze, drawn: impl FnOnce() -> Buffer<f32>) -> Self {
        Held { freeze: Some(freeze), drawn: if freeze == Freeze::SoftDecoder { drawn() } else { Buffer::zeros(0) } }
    }

    /// Leaves of a latent's gradients what may move its rows; `unit_row` is the decoder row that the batch was decoded with.
    #[inline(always)]
    pub(crate) fn gradients(&self, unit_row: &[f32], d_w: &mut [f32], d_d: &mut [f32]) {
        match self.freeze {
            Some(Freeze::Decoder) => return d_d.fill(0.0),
            Some(Freeze::Encoder) => d_w.fill(0.0),
            Some(Freeze::SoftDecoder) | None => {}
        }
        let along = dot(d_d, unit_row);
        axpy(d_d, -along, unit_row);
    }

    /// The same of all latents, as matrices.
    pub(crate) fn gradients_in_tensors(
        &self,
        unit_rows: &Tensor,
        d_w: &mut Tensor,
        d_d: &mut Tensor,
    ) -> Result<(), TchError> {
        match self.freeze {
            Some(Freeze::Decoder) => {
                *d_d = d_d.f_zeros_like()?;
                return Ok(());
            }
            Some(Freeze::Encoder) => *d_w = d_w.f_zeros_like()?,
            Some(Freeze::SoftDecoder) | None => {}
        }
        let along = d_d.f_mul(unit_rows)?.f_sum_dim_intlist(1, true, Kind::Float)?;
        *d_d = d_d.f_sub(&along.f_mul(unit_rows)?)?;
        Ok(())
    }

    /// Brings a decoder row that was moved back to where it has to lie.
    #[inline(always)]
    pub(crate) fn decoder_row(&self, latent: usize, row: &mut [f32]) {
        match self.freeze {
            Some(Freeze::Decoder) => {}
            Some(Freeze::SoftDecoder) => {
                normalise(row);
                bring_near(row, &self.drawn[latent * row.len()..(latent + 1) * row.len()]);
            }
            Some(Freeze::Encoder) | None => normalise(row),
        }
    }

    /// A decoder that was moved, `[d_sae, d_out]`, with every row where it has to lie.
    pub(crate) fn decoder_in_tensors(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        if self.freeze == Some(Freeze::Decoder) {
            return Ok(rows.shallow_clone());
        }
        let unit = |rows: &Tensor| {
            let norms = rows.f_square()?.f_sum_dim_intlist(1, true, Kind::Float)?.f_sqrt()?;
            rows.f_div(&norms.f_clamp_min(f64::from(f32::MIN_POSITIVE))?)
        };
        let rows = unit(rows)?;
        if self.freeze != Some(Freeze::SoftDecoder) {
            return Ok(rows);
        }
        let drawn = Tensor::f_from_slice(&self.drawn)?.f_reshape(rows.size())?.f_to_device(rows.device())?;
        let cosines = rows.f_mul(&drawn)?.f_sum_dim_intlist(1, true, Kind::Float)?;
        let aside = unit(&rows.f_sub(&cosines.f_mul(&drawn)?)?)?;
        let near = drawn.f_mul_scalar(f64::from(LEAST_COSINE))?.f_add(&aside.f_mul_scalar(f64::from(ITS_SINE))?)?;
        rows.f_where_self(&cosines.f_ge(f64::from(LEAST_COSINE))?, &near)
    }
}

/// Turns a unit row towards the one that was drawn, as far as it has to.
#[inline(always)]
fn bring_near(row: &mut [f32], drawn: &[f32]) {
    let cosine = dot(row, drawn);
    if cosine < LEAST_COSINE {
        axpy(row, -cosine, drawn);
        normalise(row);
        row.iter_mut().for_each(|w| *w *= ITS_SINE);
        axpy(row, LEAST_COSINE, drawn);
    }
}

/// Makes a row's length 1.
#[inline(always)]
pub(crate) fn normalise(row: &mut [f32]) {
    let inverse = 1.0 / dot(row, row).sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|w| *w *= inverse);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_strays_is_turned_back_to_the_edge_of_the_cone() {
        let held = Held::frozen(Freeze::SoftDecoder, || Buffer::copy_of(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]));
        let moved = |latent: usize, row: [f32; 3]| {
            let mut row = row;
            held.decoder_row(latent, &mut row);
            row
        };
        let close = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        // Of length 5 and a cosine of 0.6 with the first drawn row: 0.8 of that, and 0.6 the other way.
        assert!(close(moved(0, [3.0, 0.0, -4.0]), [0.8, 0.0, -0.6]));
        assert!(close(moved(1, [0.0, 8.0, 6.0]), [0.0, 0.8, 0.6]));
        assert!(close(moved(1, [0.0, 2.0, 0.0]), [0.0, 1.0, 0.0]));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, freeze) in NAMES {
            assert_eq!((name.parse(), freeze.to_string().as_str()), (Ok(freeze), name));
            assert_eq!(serde_json::to_value(freeze).expect("json"), name);
        }
        assert!("both".parse::<Freeze>().is_err());
    }
}
