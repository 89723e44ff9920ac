//! AuxK in bytes: the same formulas as [`crate::aux_k`], every product quantised, sums and everything between in f32.
//!
//! A product's operands are rounded to 127 steps of the largest value of a row (of a column, where the sum runs over rows),
//! which leaves the gradients within four hundredths of their length (.027 at width 24). They point dead latents at what is
//! missing; nothing that is alive receives them.

use crate::aux_k::{AuxGradients, AuxTask, CHUNK_ELEMENTS, LATENT_BLOCK};
use crate::products::add_bytes;
use rayon::prelude::*;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_sae::kernels::int8::{Int8Rows, Int8Weights};
use untangle_sae::kernels::int8_matrix::matmul;
use untangle_sae::kernels::vector::{axpy, dispatch};

/// The dead latents' matrices as right operands.
struct Dead {
    /// Latents are the dead, summed over `d_in`; needed where the main pass has left no proposals.
    w_enc: Option<Int8Weights>,
    /// The same of the decoder.
    w_dec: Int8Weights,
    /// Latents are the dimensions, summed over the dead.
    w_dec_columns: Int8Weights,
}

/// What a tile of rows leaves for the gradients: operands of products that sum over its rows.
struct Passed {
    /// `p` of the chosen, rows are the dead.
    p: Int8Rows,
    /// What they receive, rows are the dead.
    d_p: Int8Rows,
    /// Latents are the dimensions of the rows.
    centred: Int8Weights,
    /// Latents are the dimensions of the gradient at the reconstruction.
    d_out: Int8Weights,
    /// `[n_dead]`
    d_b: Vec<f32>,
    squared_error: f64,
}

/// Matrices of a tile, used again for the next one.
struct Work {
    p: Buffer<f32>,
    d_p: Buffer<f32>,
    d_out: Buffer<f32>,
    keys: Vec<i32>,
}

impl AuxTask<'_> {
    /// All gradients, by products in bytes.
    pub(crate) fn solve_int8(self) -> AuxGradients {
        let (m, d, e) = (self.dead.len(), self.d, self.d_out);
        let dead = Dead {
            w_enc: (!self.activity.has_proposals).then(|| Int8Weights::of_rows(&self.w_enc, d)),
            w_dec: Int8Weights::of_rows(&self.w_dec, e),
            w_dec_columns: Int8Weights::of_columns(&self.w_dec, e),
        };
        let (mut d_w, mut d_d, mut d_b) = (Buffer::zeros(m * d), Buffer::zeros(m * e), vec![0f32; m]);
        let mut squared_error = 0.0;
        let rows = (CHUNK_ELEMENTS / m / TILE_ROWS).max(1) * TILE_ROWS;
        let chunks = self.activity.centred.chunks(rows * d).zip(self.activity.whole().chunks(rows * e));
        for ((centred, main_d_out), entries) in chunks.zip(self.activity.tiles.chunks(rows / TILE_ROWS)) {
            let tiles: Vec<Passed> = centred
                .par_chunks(TILE_ROWS * d)
                .zip(main_d_out.par_chunks(TILE_ROWS * e))
                .zip(entries)
                .map_init(
                    || Work::new(m, e),
                    |work, ((centred, main_d_out), entries)| {
                        self.pass_tile(&dead, centred, main_d_out, &entries.of_dead, work)
                    },
                )
                .collect();
            d_w.par_chunks_mut(LATENT_BLOCK * d).zip(d_d.par_chunks_mut(LATENT_BLOCK * e)).enumerate().for_each(
                |(block, (d_w, d_d))| {
                    let latents = block * LATENT_BLOCK..block * LATENT_BLOCK + d_w.len() / d;
                    for tile in &tiles {
                        add_bytes(&tile.d_p, latents.clone(), &tile.centred, d_w, d);
                        add_bytes(&tile.p, latents.clone(), &tile.d_out, d_d, e);
                    }
                },
            );
            for tile in &tiles {
                axpy(&mut d_b, 1.0, &tile.d_b);
                squared_error += tile.squared_error;
            }
        }
        let loss = squared_error * f64::from(self.scale) / self.n_rows() as f64;
        self.gradients(d_w, d_d, d_b, loss)
    }

    /// Forward and backward of a tile as far as rows go.
    fn pass_tile(
        &self,
        dead: &Dead,
        centred: &[f32],
        main_d_out: &[f32],
        proposals: &[f32],
        work: &mut Work,
    ) -> Passed {
        let (m, d, e) = (self.dead.len(), self.d, self.d_out);
        let n = centred.len() / d;
        let (p, d_p, d_out) = (&mut work.p[..n * m], &mut work.d_p[..n * m], &mut work.d_out[..n * e]);
        match &dead.w_enc {
            Some(w_enc) => matmul(&Int8Rows::of_rows(centred, d), w_enc, p, m),
            None => p.copy_from_slice(proposals),
        }
        self.keep_largest(p, &mut work.keys);
        matmul(&Int8Rows::of_rows(p, m), &dead.w_dec_columns, d_out, e);
        let squared_error = dispatch(
            #[inline(always)]
            || self.differentiate(main_d_out, d_out),
        );
        matmul(&Int8Rows::of_rows(d_out, e), &dead.w_dec, d_p, m);
        let mut d_b = vec![0f32; m];
        dispatch(
            #[inline(always)]
            || mask_and_sum(p, d_p, &mut d_b),
        );
        Passed {
            p: Int8Rows::of_columns(p, m),
            d_p: Int8Rows::of_columns(d_p, m),
            centred: Int8Weights::of_columns(centred, d),
            d_out: Int8Weights::of_columns(d_out, e),
            d_b,
            squared_error,
        }
    }
}

impl Work {
    fn new(m: usize, d_out: usize) -> Self {
        let zeros = |width: usize| Buffer::zeros(TILE_ROWS * width);
        Work { p: zeros(m), d_p: zeros(m), d_out: zeros(d_out), keys: Vec::new() }
    }
}

/// A latent that was not chosen is exactly zero in `p`, and receives nothing; `d_b` is the sum of the rest over the rows.
#[inline(always)]
fn mask_and_sum(p: &[f32], d_p: &mut [f32], d_b: &mut [f32]) {
    for (p, d_p) in p.chunks_exact(d_b.len()).zip(d_p.chunks_exact_mut(d_b.len())) {
        for ((sum, g), p) in d_b.iter_mut().zip(d_p).zip(p) {
            *g = if *p == 0.0 { 0.0 } else { *g };
            *sum += *g;
        }
    }
}
