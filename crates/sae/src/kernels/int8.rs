//! Rows and weights in bytes, and their product: the cheapest proposal of pre-activations.
//!
//! ```text
//! p_ri ~ s_r t_i sum_j q_rj v_ij        q_rj = round(x_rj / (c_j s_r))      s_r = max_j |x_rj / c_j| / 127
//!                                       v_ij = round(w_ij c_j / t_i)        t_i = max_j |w_ij c_j| / 127
//! ```
//!
//! A scale per row and per latent, as in `LLM.int8()` (Dettmers et al. 2022, section 2), and an equaliser `c_j` per dimension
//! that moves a part of the dimensions' unequal spread from the rows, which would spend their bytes on it, to the weights
//! (SmoothQuant: Xiao et al. 2023, section 4, with exponent 1/2). The sums are exact integers, so the result is the same on
//! every machine, in every order and for every number of rows.
//!
//! The instruction multiplies unsigned with signed bytes. Weights are therefore kept as `v + 128`, and the surplus
//! `128 sum_j q_rj`, one number per row, is where a row's sums begin.

use super::buffer::Buffer;
use super::instructions::{KERNELS, Kernel};
use super::int8_layout::{QUAD, STRIDE, Task};
use super::vector::dispatch;
use std::ops::Range;

pub use super::int8_layout::{GROUP, PANEL};

/// Largest magnitude of a quantised value.
pub(super) const LEVELS: f32 = 127.0;
/// `v` is kept as `v + 128`, whose bits are those of `v` with the first one flipped.
pub(super) const OFFSET: u8 = 0x80;
/// Widest rows whose sums cannot overflow: `2^17 * 127^2 < 2^31`.
pub const MAX_WIDTH: usize = 1 << 17;

/// Encoder weights in bytes, `[d_sae, d_in]`, panel after panel; in a panel, four dimensions of all its latents after the
/// other.
#[derive(Clone, Debug)]
pub struct Int8Weights {
    pub(super) packed: Buffer<u8>,
    pub(super) scales: Vec<f32>,
    into_w: Vec<f32>,
    into_x: Vec<f32>,
}

/// A tile of rows in bytes.
#[derive(Clone, Debug)]
pub struct Int8Rows {
    pub(super) values: Buffer<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) starts: Vec<i32>,
}

/// A block of whole panels, to be written.
#[derive(Debug)]
pub struct Int8Block<'a> {
    packed: &'a mut [u8],
    scales: &'a mut [f32],
    into_w: &'a [f32],
    row: Vec<i8>,
}

/// Whether this CPU has instructions that multiply bytes faster than floats.
pub fn is_fast() -> bool {
    KERNELS.iter().any(Kernel::is_available)
}

/// Quantised rows have this many bytes: `d_in` rounded up to whole quads.
pub(super) fn padded(d_in: usize) -> usize {
    d_in.next_multiple_of(QUAD)
}

/// How unequal `spread` is, dimension by dimension: the equaliser `c`, 1 for dimensions of average spread. It is bounded,
/// so that a dimension that never moved in a sample may still do so.
fn equaliser(spread: &[f32]) -> Vec<f32> {
    const BOUND: f32 = 64.0;
    let mean = spread.iter().sum::<f32>() / spread.len().max(1) as f32;
    let relative = |s: f32| (s / mean).sqrt().clamp(1.0 / BOUND, BOUND);
    spread.iter().map(|&s| if mean > 0.0 && s.is_finite() { relative(s) } else { 1.0 }).collect()
}

/// Replaces `out` by `values * factors`, rounded to multiples of the returned step.
#[inline(always)]
pub(super) fn quantise(values: &[f32], factors: &[f32], out: &mut [i8]) -> f32 {
    // Positive floats are ordered as their bits are; a maximum of integers is vector code, one of floats is not.
    let magnitude = |v: f32, f: f32| (v * f).to_bits() & !(1 << 31);
    let largest = values.iter().zip(factors).fold(0, |largest: u32, (&v, &f)| largest.max(magnitude(v, f)));
    let largest = f32::from_bits(largest);
    let inverse = LEVELS / largest;
    // All zeros, or so small that nothing can be told from zero.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    for ((q, &v), &f) in out.iter_mut().zip(values).zip(factors) {
        *q = round(v * f * inverse);
    }
    largest / LEVELS
}

/// The nearest whole number, ties to even, of one within -128 and 127. Above 1.5 * 2^23 a float's last place is one, and its
/// lowest byte the number in two's complement; this is vector code where a conversion with its checks is not.
#[inline(always)]
pub(super) fn round(value: f32) -> i8 {
    (value + 12_582_912.0).to_bits() as i8
}

impl Int8Weights {
    /// Zeros, of `d_sae` latents that read `d_in` dimensions, unequal as `spread`, `[d_in]`, says.
    pub fn zeros(d_sae: usize, spread: &[f32]) -> Self {
        let latents = d_sae.next_multiple_of(PANEL);
        let mut packed = Buffer::zeros(latents * padded(spread.len()));
        packed.fill(OFFSET);
        let into_w = equaliser(spread);
        let into_x = into_w.iter().map(|c| 1.0 / c).collect();
        Int8Weights { packed, scales: vec![0.0; latents], into_w, into_x }
    }

    /// Bytes of a quantised row.
    pub(super) fn row_bytes(&self) -> usize {
        padded(self.into_w.len())
    }

    /// What weights are multiplied by, `[d_in]`.
    pub(super) fn factors_of_w(&self) -> &[f32] {
        &self.into_w
    }

    /// What rows are multiplied by, `[d_in]`.
    pub(super) fn factors_of_x(&self) -> &[f32] {
        &self.into_x
    }

    /// Blocks of `latents` each (a multiple of [`PANEL`]), to be written at the same time.
    pub fn blocks_mut(&mut self, latents: usize) -> impl Iterator<Item = Int8Block<'_>> {
        debug_assert!(latents.is_multiple_of(PANEL));
        let (bytes, into_w) = (padded(self.into_w.len()), &self.into_w);
        let blocks = self.packed.chunks_mut(latents * bytes).zip(self.scales.chunks_mut(latents));
        blocks.map(move |(packed, scales)| Int8Block { packed, scales, into_w, row: vec![0; bytes] })
    }

    /// Number of latents, rounded up to whole panels.
    pub(super) fn latents(&self) -> usize {
        self.scales.len()
    }

    /// Bytes of these panels.
    pub(super) fn panels(&self, panels: Range<usize>) -> &[u8] {
        let bytes = PANEL * self.row_bytes();
        &self.packed[panels.start * bytes..panels.end * bytes]
    }
}

impl Int8Block<'_> {
    /// Replaces the weights of the block's latent number `place` by `row`, `[d_in]`.
    #[inline(always)]
    pub fn set(&mut self, place: usize, row: &[f32]) {
        self.scales[place] = quantise(row, self.into_w, &mut self.row);
        let (panel, lane) = (place / PANEL, place % PANEL);
        let quads = self.packed[panel * PANEL * self.row.len()..].chunks_exact_mut(STRIDE);
        for (to, from) in quads.zip(self.row.as_chunks::<QUAD>().0) {
            let quad = from.map(|v| v as u8 ^ OFFSET);
            to[lane * QUAD..(lane + 1) * QUAD].copy_from_slice(&quad);
        }
    }
}

impl Int8Rows {
    /// Room for `n` rows of `d_in`.
    pub fn new(n: usize, d_in: usize) -> Self {
        let n = n.next_multiple_of(GROUP);
        Int8Rows { values: Buffer::zeros(n * padded(d_in)), scales: vec![0.0; n], starts: vec![0; n] }
    }

    /// Replaces the content by rows `[n, d_in]`, made ready for `weights`; `n` is at most what there is room for.
    pub fn fill(&mut self, rows: &[f32], weights: &Int8Weights) {
        self.fill_scaled(rows, &weights.into_x);
    }

    /// The same for weights whose dimensions are alike; `d_in` is the rows' width.
    pub fn fill_plain(&mut self, rows: &[f32], d_in: usize) {
        self.fill_scaled(rows, &vec![1.0; d_in]);
    }

    fn fill_scaled(&mut self, rows: &[f32], into_x: &[f32]) {
        let quantised = self.values.chunks_exact_mut(padded(into_x.len())).zip(&mut self.scales);
        dispatch(
            #[inline(always)]
            || {
                for (x, (q, scale)) in rows.chunks_exact(into_x.len()).zip(quantised) {
                    *scale = quantise(x, into_x, q);
                }
            },
        );
        self.sum();
    }

    /// Where every row's sums begin, after its values were set.
    pub(super) fn sum(&mut self) {
        let bytes = self.values.len() / self.starts.len().max(1);
        let values = self.values.chunks_exact(bytes.max(1));
        dispatch(
            #[inline(always)]
            || {
                for (start, q) in self.starts.iter_mut().zip(values) {
                    *start = -i32::from(OFFSET) * q.iter().map(|&q| i32::from(q)).sum::<i32>();
                }
            },
        );
    }

    /// The bytes of a row, which may have a few zeros more than values, and their step.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, weights: &Int8Weights) -> (&[i8], f32) {
        let bytes = weights.row_bytes();
        (&self.values[row * bytes..(row + 1) * bytes], self.scales[row])
    }
}

/// Proposed pre-activations, without bias, of group `group` of the rows for the latents of some panels.
///
/// # Shapes
/// `out: [GROUP, panels * PANEL]`
pub fn product(rows: &Int8Rows, group: usize, weights: &Int8Weights, panels: Range<usize>, out: &mut [f32]) {
    let bytes = weights.row_bytes();
    let task = Task {
        rows: &rows.values[group * GROUP * bytes..(group + 1) * GROUP * bytes],
        row_scales: &rows.scales.as_chunks().0[group],
        starts: &rows.starts.as_chunks().0[group],
        packed: weights.panels(panels.clone()),
        scales: &weights.scales[panels.start * PANEL..panels.end * PANEL],
        bytes,
    };
    debug_assert_eq!(out.len(), GROUP * task.scales.len());
    if !KERNELS.iter().any(|kernel| kernel.run(&task, out)) {
        portable_product(&task, out);
    }
}

/// The same sums by plain loops: the reference of the instructions, and what machines without them use.
pub(super) fn portable_product(task: &Task<'_>, out: &mut [f32]) {
    let width = task.scales.len();
    let panels = || task.packed.chunks_exact(PANEL * task.bytes).zip(task.scales.as_chunks::<PANEL>().0);
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let x = &task.rows[row * task.bytes..(row + 1) * task.bytes];
        for ((panel, scales), out) in panels().zip(out.as_chunks_mut::<PANEL>().0) {
            let mut sums = [task.starts[row]; PANEL];
            for (w, x) in panel.chunks_exact(STRIDE).zip(x.as_chunks::<QUAD>().0) {
                for (sum, w) in sums.iter_mut().zip(w.as_chunks::<QUAD>().0) {
                    *sum += w.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum::<i32>();
                }
            }
            for ((out, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                *out = sum as f32 * (task.row_scales[row] * scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights_of(w: &[f32], spread: &[f32]) -> Int8Weights {
        let d_sae = w.len() / spread.len();
        let mut weights = Int8Weights::zeros(d_sae, spread);
        let mut block = weights.blocks_mut(d_sae.next_multiple_of(PANEL)).next().expect("one block");
        w.chunks_exact(spread.len()).enumerate().for_each(|(place, row)| block.set(place, row));
        weights
    }

    #[test]
    fn rounding_is_to_the_nearest_of_127_steps_on_either_side() {
        let mut q = [0i8; 6];
        let step = quantise(&[127.0, -127.0, 0.4, -0.6, 63.5, 0.0], &[1.0; 6], &mut q);
        assert_eq!((step, q), (1.0, [127, -127, 0, -1, 64, 0]));
        assert_eq!(quantise(&[0.0, 1e-45], &[1.0; 2], &mut q), 1e-45 / 127.0);
        assert_eq!(q[..2], [0, 0]);
    }

    #[test]
    fn a_product_by_hand() {
        // Steps 1 and 2: x = [127, 1, -2], w_0 = 2 * [127, 3, 5], w_1 = 0.
        let weights = weights_of(&[254.0, 6.0, 10.0, 0.0, 0.0, 0.0], &[1.0; 3]);
        let mut rows = Int8Rows::new(1, 3);
        rows.fill(&[127.0, 1.0, -2.0], &weights);
        let mut out = vec![f32::NAN; GROUP * PANEL];
        product(&rows, 0, &weights, 0..1, &mut out);
        assert_eq!(out[0], 2.0 * (127.0 * 127.0 + 3.0 - 10.0));
        assert!(out[1..].iter().all(|&p| p == 0.0));
    }

    #[test]
    fn an_outlying_dimension_is_shared_between_rows_and_weights() {
        // A dimension of four hundred times the spread is halved in the logarithm: twenty remain on either side.
        let mut spread = [1.0; 64];
        spread[5] = 400.0;
        let c = equaliser(&spread);
        assert!((c[5] / c[0] - 20.0).abs() < 1e-4);
        assert_eq!(equaliser(&[0.0; 3]), [1.0; 3]);
        assert!(equaliser(&[f32::NAN, 1.0, 0.0]).iter().all(|c| c.is_finite() && *c > 0.0));
    }

    proptest! {
        #[test]
        fn the_instructions_sum_what_the_loops_sum(
            d in 1usize..90, panels in 1usize..4, seed in proptest::collection::vec(-9.0f32..9.0, 97),
        ) {
            let value = |i: usize| seed[i % 97] * seed[i / 97 % 97];
            let w: Vec<f32> = (0..panels * PANEL * d).map(value).collect();
            let x: Vec<f32> = (0..GROUP * d).map(|i| value(7 * i + 3)).collect();
            let weights = weights_of(&w, &vec![1.0; d]);
            let mut rows = Int8Rows::new(GROUP, d);
            rows.fill(&x, &weights);
            let (mut fast, mut slow) = (vec![0.0; GROUP * panels * PANEL], vec![1.0; GROUP * panels * PANEL]);
            let task = Task {
                rows: &rows.values, row_scales: &rows.scales.as_chunks().0[0], starts: &rows.starts.as_chunks().0[0],
                packed: &weights.packed, scales: &weights.scales, bytes: padded(d),
            };
            portable_product(&task, &mut slow);
            for kernel in KERNELS {
                fast.fill(f32::NAN);
                if kernel.run(&task, &mut fast) {
                    prop_assert_eq!(&fast, &slow);
                }
            }
            // Half a step of either factor in every dimension is the most that rounding can do.
            for (at, &found) in slow.iter().enumerate() {
                let (r, i) = (at / (panels * PANEL), at % (panels * PANEL));
                let (x, w) = (&x[r * d..][..d], &w[i * d..][..d]);
                let exact: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                let of = |v: &[f32]| v.iter().map(|v| v.abs()).sum::<f32>();
                let (s, t) = (rows.scales[r], weights.scales[i]);
                let bound = 0.5 * (s * of(w) + t * of(x)) + 0.25 * d as f32 * s * t;
                prop_assert!((found - exact).abs() <= bound * 1.001 + 1e-3, "{found} for {exact}, bound {bound}");
            }
        }
    }
}
