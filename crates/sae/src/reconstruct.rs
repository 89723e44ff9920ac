//! What a dictionary gives for whole rows: its decoded features, what a skip connection adds, and scale and mean of the row,
//! where the encoder was not shown them.

use crate::codes::Codes;
use crate::error::SaeError;
use crate::kernels::buffer::matmul_nt;
use crate::kernels::encode::TILE_ROWS;
use crate::rows::mean;
use crate::sae::Sae;
use rayon::prelude::*;

impl Sae {
    /// Writes the reconstructions of `rows`, `[n, d_in]`, whose features are `codes`, to `out`, `[n, d_out]`.
    ///
    /// # Errors
    /// When a length does not follow from the others.
    pub fn reconstruct(&self, rows: &[f32], codes: &Codes, out: &mut [f32]) -> Result<(), SaeError> {
        self.decode(codes, out)?;
        let (w_skip, d, d_out) = (&self.parts().w_skip, self.d_in(), self.d_out());
        if w_skip.is_none() && self.form().is_plain() {
            return Ok(());
        }
        if rows.len() != codes.n_rows() * d {
            let (expected, found) = (vec![codes.n_rows(), d], vec![rows.len()]);
            return Err(SaeError::Shape { what: "rows of reconstructions", expected, found });
        }
        rows.par_chunks(TILE_ROWS * d).zip(out.par_chunks_mut(TILE_ROWS * d_out)).try_for_each(|(rows, out)| {
            self.leave(rows, out);
            let Some(w_skip) = w_skip else { return Ok(()) };
            let mut skipped = vec![0f32; out.len()];
            matmul_nt(&self.seen_by_skip(rows), w_skip, &mut skipped, d)?;
            out.iter_mut().zip(&skipped).for_each(|(out, skipped)| *out += skipped);
            Ok(())
        })
    }

    /// By how much what a feature writes is multiplied in the reconstruction of this row, `[d_in]`: 1 but where rows are scaled
    /// before they are encoded.
    pub fn scale_of(&self, row: &[f32]) -> f32 {
        self.form().leave(row).0
    }

    /// Whether any row may have another scale than 1; see [`Self::scale_of`].
    pub fn scales_rows(&self) -> bool {
        !self.form().is_plain()
    }

    /// Whether reconstructions are judged without the mean of what they reconstruct: the dictionary's own rows have none.
    pub fn judges_centred(&self) -> bool {
        self.form().judges_centred()
    }

    /// Takes the mean of every row of `target`, `[n, d_out]`, off the row and off its reconstruction; of a transcoder, which never
    /// saw it, off the row alone.
    pub fn centre_judged(&self, target: &mut [f32], x_hat: &mut [f32]) {
        let d = self.d_out();
        for (target, x_hat) in target.chunks_exact_mut(d).zip(x_hat.chunks_exact_mut(d)) {
            let mean = mean(target) as f32;
            target.iter_mut().for_each(|x| *x -= mean);
            if !self.is_transcoder() {
                x_hat.iter_mut().for_each(|x| *x -= mean);
            }
        }
    }

    fn leave(&self, rows: &[f32], out: &mut [f32]) {
        if self.form().is_plain() || self.is_transcoder() {
            return;
        }
        for (row, out) in rows.chunks_exact(self.d_in()).zip(out.chunks_exact_mut(self.d_out())) {
            let (scale, offset) = self.form().leave(row);
            out.iter_mut().for_each(|x| *x = *x * scale + offset);
        }
    }

    /// A skip connection reads the activation itself, which has no mean where the model's writing weights were centred.
    fn seen_by_skip(&self, rows: &[f32]) -> Vec<f32> {
        let mut rows = rows.to_vec();
        if self.form().centres() {
            for row in rows.chunks_exact_mut(self.d_in()) {
                let mean = mean(row) as f32;
                row.iter_mut().for_each(|x| *x -= mean);
            }
        }
        rows
    }
}
