//! The products of a dense step, in the arithmetic in which the encoder product proposes.
//!
//! ```text
//! P = Z W_encᵀ        X = F W_dec        H = G W_decᵀ        dL/dW_enc = Dᵀ Z        dL/dW_dec = Fᵀ G
//! ```
//!
//! In f32 and bf16 libtorch multiplies. In bytes every operand is rounded to 127 steps of the largest value that it sums with
//! (see [`untangle_sae::kernels::int8_matrix`]), and everything between the products is f32.

use crate::state::TrainState;
use half::bf16;
use std::ops::Range;
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::{Buffer, Element, matmul_nn, matmul_nt, matmul_tn};
use untangle_sae::kernels::int8::{GROUP, Int8Rows, Int8Weights};
use untangle_sae::kernels::int8_matrix::{matmul, multiply};
use untangle_sae::kernels::vector::{axpy, dispatch};

/// The products with a state's matrices.
pub(crate) trait Products: Sync {
    /// What matrices are held in between products.
    type T: Element;
    /// A matrix `[rows, d]` that is multiplied from the right and summed over its rows.
    type Right: Send + Sync;

    /// `Z W_encᵀ + b` of some rows: `z: [n, d]`, `bias: [d_sae]`, `p: [n, d_sae]`.
    fn encode(&self, z: &[Self::T], bias: &[f32], p: &mut [Self::T]) -> Result<(), SaeError>;
    /// `F W_dec`: `acts: [n, d_sae]`, `out: [n, d]`.
    fn decode(&self, acts: &[Self::T], out: &mut [Self::T]) -> Result<(), SaeError>;
    /// `G W_decᵀ`: `g: [n, d]`, `h: [n, d_sae]`.
    fn send_back(&self, g: &[Self::T], h: &mut [Self::T]) -> Result<(), SaeError>;
    /// Makes a right operand ready.
    fn right(&self, matrix: &[Self::T]) -> Self::Right;
    /// Adds `leftᵀ right` to `out`, `[columns, d]`, where `left` are these columns of a matrix `[rows, d_sae]`.
    fn add(
        &self,
        matrix: &[Self::T],
        columns: Range<usize>,
        right: &Self::Right,
        out: &mut [f32],
    ) -> Result<(), SaeError>;
}

/// By libtorch.
pub(crate) struct Native<'a, T: Element> {
    w_enc: &'a [T],
    w_dec: std::borrow::Cow<'a, [T]>,
    d: usize,
    d_sae: usize,
}

impl<'a> Native<'a, f32> {
    pub(crate) fn of(state: &'a TrainState) -> Self {
        let (w_enc, w_dec) = (&state.w_enc.value[..], std::borrow::Cow::Borrowed(&state.w_dec.value[..]));
        Native { w_enc, w_dec, d: state.d_in, d_sae: state.d_sae }
    }
}

impl<'a> Native<'a, bf16> {
    pub(crate) fn of(state: &'a TrainState, w_enc: &'a [bf16]) -> Self {
        let w_dec = state.w_dec.value.iter().map(|&w| bf16::narrow(w)).collect();
        Native { w_enc, w_dec: std::borrow::Cow::Owned(w_dec), d: state.d_in, d_sae: state.d_sae }
    }
}

impl<T: Element> Products for Native<'_, T> {
    type T = T;
    type Right = Buffer<T>;

    fn encode(&self, z: &[T], bias: &[f32], p: &mut [T]) -> Result<(), SaeError> {
        matmul_nt(z, self.w_enc, p, self.d)?;
        dispatch(
            #[inline(always)]
            || {
                for row in p.chunks_exact_mut(bias.len()) {
                    row.iter_mut().zip(bias).for_each(|(p, b)| *p = T::narrow(p.widen() + b));
                }
            },
        );
        Ok(())
    }

    fn decode(&self, acts: &[T], out: &mut [T]) -> Result<(), SaeError> {
        matmul_nn(acts, &self.w_dec, out, self.d_sae, self.d)
    }

    fn send_back(&self, g: &[T], h: &mut [T]) -> Result<(), SaeError> {
        matmul_nt(g, &self.w_dec, h, self.d)
    }

    fn right(&self, matrix: &[T]) -> Buffer<T> {
        Buffer::copy_of(matrix)
    }

    fn add(&self, matrix: &[T], columns: Range<usize>, right: &Buffer<T>, out: &mut [f32]) -> Result<(), SaeError> {
        add_product(&columns_of(matrix, self.d_sae, columns), right, out, self.d)
    }
}

/// In bytes.
pub(crate) struct Bytes<'a> {
    w_enc: &'a Int8Weights,
    /// Latents are the latents.
    w_dec: Int8Weights,
    /// Latents are the dimensions, summed over the latents.
    w_dec_columns: Int8Weights,
    d: usize,
    d_sae: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) fn of(state: &TrainState, w_enc: &'a Int8Weights) -> Self {
        let (d, d_sae, matrix) = (state.d_in, state.d_sae, &state.w_dec.value);
        let (w_dec, w_dec_columns) =
            rayon::join(|| Int8Weights::of_rows(matrix, d), || Int8Weights::of_columns(matrix, d));
        Bytes { w_enc, w_dec, w_dec_columns, d, d_sae }
    }
}

impl Products for Bytes<'_> {
    type T = f32;
    type Right = Int8Weights;

    fn encode(&self, z: &[f32], bias: &[f32], p: &mut [f32]) -> Result<(), SaeError> {
        let (n, f) = (z.len() / self.d, self.d_sae);
        let mut rows = Int8Rows::new(n, self.d);
        rows.fill(z, self.w_enc);
        multiply(&rows, 0..n.div_ceil(GROUP), self.w_enc, |row, first, values| {
            if row < n && first < f {
                let sums = values.iter().zip(&bias[first..]);
                p[row * f + first..(row + 1) * f].iter_mut().zip(sums).for_each(|(p, (v, b))| *p = v + b);
            }
        });
        Ok(())
    }

    fn decode(&self, acts: &[f32], out: &mut [f32]) -> Result<(), SaeError> {
        matmul(&Int8Rows::of_rows(acts, self.d_sae), &self.w_dec_columns, out, self.d);
        Ok(())
    }

    fn send_back(&self, g: &[f32], h: &mut [f32]) -> Result<(), SaeError> {
        matmul(&Int8Rows::of_rows(g, self.d), &self.w_dec, h, self.d_sae);
        Ok(())
    }

    fn right(&self, matrix: &[f32]) -> Int8Weights {
        Int8Weights::of_columns(matrix, self.d)
    }

    fn add(&self, matrix: &[f32], columns: Range<usize>, right: &Int8Weights, out: &mut [f32]) -> Result<(), SaeError> {
        let m = columns.len();
        add_bytes(&Int8Rows::of_some_columns(matrix, self.d_sae, columns), 0..m, right, out, self.d);
        Ok(())
    }
}

/// The columns of a row-major matrix of this width, contiguous.
pub(crate) fn columns_of<T: Element>(matrix: &[T], width: usize, columns: Range<usize>) -> Buffer<T> {
    let mut out = Buffer::zeros(matrix.len() / width * columns.len());
    for (to, from) in out.chunks_exact_mut(columns.len()).zip(matrix.chunks_exact(width)) {
        to.copy_from_slice(&from[columns.clone()]);
    }
    out
}

/// `out += aᵀ b` in f32, from operands in `T`.
pub(crate) fn add_product<T: Element>(a: &[T], b: &[T], out: &mut [f32], d: usize) -> Result<(), SaeError> {
    let m = out.len() / d;
    let mut product = Buffer::<T>::zeros(m * d);
    matmul_tn(a, b, &mut product, m, d)?;
    out.iter_mut().zip(product.iter()).for_each(|(out, p)| *out += p.widen());
    Ok(())
}

/// `out += a bᵀ` for these rows of `a`, of which the first begins a group; `out: [rows, d]`.
pub(crate) fn add_bytes(a: &Int8Rows, rows: Range<usize>, b: &Int8Weights, out: &mut [f32], d: usize) {
    multiply(a, rows.start / GROUP..rows.end.div_ceil(GROUP), b, |row, first, values| {
        if rows.contains(&row) && first < d {
            let place = row - rows.start;
            let out = &mut out[place * d + first..(place + 1) * d];
            axpy(out, 1.0, &values[..values.len().min(out.len())]);
        }
    });
}
