//! Matrix products in bytes, with operands taken from the rows or from the columns of f32 matrices.
//!
//! What is summed over shares a scale, so an operand's scale is per row of `a` and per row of `b` in `a bᵀ`. Products that sum
//! over the rows of both, such as `aᵀ b`, take their operands from the columns.

use super::int8::{GROUP, Int8Rows, Int8Weights, LEVELS, OFFSET, PANEL, padded, product, round};
use super::int8_layout::{QUAD, STRIDE};
use super::vector::dispatch;
use std::ops::Range;

/// Panels of one call of the product at most: its results stay in the first cache.
const PANELS: usize = 16;
/// Bytes of the panels of one call, if there is more than one: they stay in the second cache while all groups pass.
const PANEL_BYTES: usize = 512 << 10;

/// Calls `take(row, first, values)` with the results of `a bᵀ`, in pieces: entries `first..` of row `row`, for the rows of the
/// groups `groups` of `a`. Rows and entries that only pad come too.
pub fn multiply(a: &Int8Rows, groups: Range<usize>, b: &Int8Weights, mut take: impl FnMut(usize, usize, &[f32])) {
    let panels = b.latents() / PANEL;
    let at_once = (PANEL_BYTES / (PANEL * b.row_bytes()).max(1)).clamp(1, PANELS);
    let mut out = [0f32; GROUP * PANELS * PANEL];
    for first in (0..panels).step_by(at_once) {
        let range = first..(first + at_once).min(panels);
        let width = range.len() * PANEL;
        for group in groups.clone() {
            let out = &mut out[..GROUP * width];
            product(a, group, b, range.clone(), out);
            for (row, values) in out.chunks_exact(width).enumerate() {
                take(group * GROUP + row, first * PANEL, values);
            }
        }
    }
}

/// Replaces `out`, `[n, width]`, by the first `n` rows and `width` columns of `a bᵀ`.
pub fn matmul(a: &Int8Rows, b: &Int8Weights, out: &mut [f32], width: usize) {
    let n = out.len() / width;
    multiply(a, 0..n.div_ceil(GROUP), b, |row, first, values| {
        if row < n && first < width {
            let len = values.len().min(width - first);
            out[row * width + first..][..len].copy_from_slice(&values[..len]);
        }
    });
}

/// Largest magnitude of every column, and what it is multiplied by to be rounded.
#[inline(always)]
fn column_scales<'a>(rows: impl Iterator<Item = &'a [f32]>, scales: &mut [f32], inverses: &mut [f32]) {
    scales.fill(0.0);
    for row in rows {
        for (largest, v) in scales.iter_mut().zip(row) {
            *largest = if v.abs() > *largest { v.abs() } else { *largest };
        }
    }
    for (scale, inverse) in scales.iter_mut().zip(inverses) {
        *inverse = LEVELS / *scale;
        *inverse = if inverse.is_finite() { *inverse } else { 0.0 };
        *scale /= LEVELS;
    }
}

impl Int8Weights {
    /// The rows of `matrix`, `[latents, d]`.
    pub fn of_rows(matrix: &[f32], d: usize) -> Self {
        let latents = matrix.len() / d;
        let mut weights = Int8Weights::zeros(latents, &vec![1.0; d]);
        let mut blocks = weights.blocks_mut(latents.next_multiple_of(PANEL));
        if let Some(block) = &mut blocks.next() {
            dispatch(
                #[inline(always)]
                || matrix.chunks_exact(d).enumerate().for_each(|(place, row)| block.set(place, row)),
            );
        }
        drop(blocks);
        weights
    }

    /// The columns of `matrix`, `[d, latents]`.
    pub fn of_columns(matrix: &[f32], latents: usize) -> Self {
        let d = matrix.len() / latents;
        let mut weights = Int8Weights::zeros(latents, &vec![1.0; d]);
        let (bytes, mut inverses) = (padded(d), vec![0f32; latents]);
        dispatch(
            #[inline(always)]
            || {
                column_scales(matrix.chunks_exact(latents), &mut weights.scales[..latents], &mut inverses);
                for (panel, packed) in weights.packed.chunks_exact_mut(PANEL * bytes).enumerate() {
                    let columns = panel * PANEL..latents.min((panel + 1) * PANEL);
                    for (quad, rows) in packed.chunks_exact_mut(STRIDE).zip(matrix.chunks(QUAD * latents)) {
                        for (within, row) in rows.chunks_exact(latents).enumerate() {
                            let values = row[columns.clone()].iter().zip(&inverses[columns.clone()]);
                            for (lane, (v, inverse)) in values.enumerate() {
                                quad[lane * QUAD + within] = round(v * inverse) as u8 ^ OFFSET;
                            }
                        }
                    }
                }
            },
        );
        weights
    }
}

impl Int8Rows {
    /// The rows of `matrix`, `[n, d]`.
    pub fn of_rows(matrix: &[f32], d: usize) -> Self {
        let mut rows = Int8Rows::new(matrix.len() / d, d);
        rows.fill_plain(matrix, d);
        rows
    }

    /// The columns of `matrix`, `[d, n]`.
    pub fn of_columns(matrix: &[f32], n: usize) -> Self {
        Self::of_some_columns(matrix, n, 0..n)
    }

    /// These columns of `matrix`, `[d, width]`.
    pub fn of_some_columns(matrix: &[f32], width: usize, columns: Range<usize>) -> Self {
        /// Columns that are turned together: a cache line of floats.
        const TURNED: usize = 16;
        let (d, n) = (matrix.len() / width, columns.len());
        let (mut rows, bytes, mut inverses) = (Int8Rows::new(n, d), padded(d), vec![0f32; n]);
        let parts = || matrix.chunks_exact(width).map(|row| &row[columns.clone()]);
        dispatch(
            #[inline(always)]
            || {
                column_scales(parts(), &mut rows.scales[..n], &mut inverses);
                for (at, turned) in rows.values.chunks_mut(TURNED * bytes).enumerate() {
                    let columns = (at * TURNED).min(n)..n.min((at + 1) * TURNED);
                    for (place, row) in parts().enumerate() {
                        let values = row[columns.clone()].iter().zip(&inverses[columns.clone()]);
                        for (column, (v, inverse)) in values.enumerate() {
                            turned[column * bytes + place] = round(v * inverse);
                        }
                    }
                }
            },
        );
        rows.sum();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transposed(matrix: &[f32], width: usize) -> Vec<f32> {
        (0..width).flat_map(|column| matrix.iter().skip(column).step_by(width).copied()).collect()
    }

    proptest! {
        #[test]
        fn operands_from_columns_are_those_from_rows_of_the_transpose(
            n in 1usize..40, m in 1usize..70, d in 1usize..30,
            seed in proptest::collection::vec(-3.0f32..3.0, 101),
        ) {
            let value = |i: usize| seed[i % 101] * seed[i / 101 % 101];
            let a: Vec<f32> = (0..n * d).map(value).collect();
            let b: Vec<f32> = (0..m * d).map(|i| value(3 * i + 1)).collect();
            let (mut by_rows, mut by_columns) = (vec![0.0; n * m], vec![1.0; n * m]);
            matmul(&Int8Rows::of_rows(&a, d), &Int8Weights::of_rows(&b, d), &mut by_rows, m);
            let (a_t, b_t) = (transposed(&a, d), transposed(&b, d));
            matmul(&Int8Rows::of_columns(&a_t, n), &Int8Weights::of_columns(&b_t, m), &mut by_columns, m);
            prop_assert_eq!(&by_rows, &by_columns);
            for (at, &found) in by_rows.iter().enumerate() {
                let (x, w) = (&a[at / m * d..][..d], &b[at % m * d..][..d]);
                let exact: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                let largest = |v: &[f32]| v.iter().fold(0f32, |l, v| l.max(v.abs()));
                prop_assert!((found - exact).abs() <= d as f32 * largest(x) * largest(w) / 100.0, "{found} for {exact}");
            }
        }
    }
}
