//! The int8 product on CPUs that have AVX2 and not the instructions of `vnni.rs`, such as AMD's up to Zen 3.
//!
//! AVX2 multiplies unsigned with signed bytes too, but in sums of two that saturate at 16 bits, which weights of eight bits
//! exceed. So bytes become numbers of 16 bits here, two of which are multiplied and added to 32 bits by one instruction: twice
//! the work of one of f32. Weights are widened in registers, by a mask and a shift, which makes two of each quad's four
//! dimensions lie together, the even and the odd ones; rows are widened once for all panels, into the same order.
//!
//! One of the modules with `unsafe`: the instructions exist only where they were asked for, and loads take pointers.
#![allow(unsafe_code)]

use super::int8_layout::{GROUP, PANEL, QUAD, STRIDE, Task};
use std::arch::x86_64::*;
use std::cell::RefCell;

/// Sums of a register.
const LANES: usize = 8;
/// Registers of latents whose sums are in flight together.
const REGISTERS: usize = 2;
/// Rows whose sums are: with them, the weights and a mask, the sixteen registers are taken.
const ROWS: usize = 4;
/// Latents that are multiplied together.
const STRIP: usize = LANES * REGISTERS;

/// The even and the odd dimensions of a quad, each two numbers of 16 bits.
type Wide = [i32; 2];

thread_local! {
    /// Rows that were widened, `[GROUP, quads]`.
    static ROWS_WIDE: RefCell<Vec<Wide>> = const { RefCell::new(Vec::new()) };
}

#[target_feature(enable = "avx2")]
pub(super) fn product(task: &Task<'_>, out: &mut [f32]) {
    ROWS_WIDE.with_borrow_mut(|wide| {
        let quads = task.rows.as_chunks::<QUAD>().0;
        wide.resize(quads.len(), Wide::default());
        // A loop and not an iterator's method, because that would be compiled for the oldest CPU and call back.
        for (wide, &quad) in wide.iter_mut().zip(quads) {
            *wide = widened(quad);
        }
        product_wide(task, wide, out);
    });
}

#[inline(always)]
fn widened([a, b, c, d]: [i8; QUAD]) -> Wide {
    let pair = |low: i8, high: i8| i32::from(low) & 0xffff | i32::from(high) << 16;
    [pair(a, c), pair(b, d)]
}

#[target_feature(enable = "avx2")]
fn product_wide(task: &Task<'_>, wide: &[Wide], out: &mut [f32]) {
    let (width, quads) = (task.scales.len(), task.bytes / QUAD);
    let panels = task.packed.chunks_exact(PANEL * task.bytes);
    for (at, panel) in panels.enumerate() {
        for strip in 0..PANEL / STRIP {
            let first = at * PANEL + strip * STRIP;
            let scales = task.scales[first..].first_chunk::<STRIP>().expect("a strip lies in a panel");
            for rows in (0..GROUP).step_by(ROWS) {
                let starts = task.starts[rows..].first_chunk().expect("rows of a group");
                let sums =
                    sums_of_strip(&wide[rows * quads..(rows + ROWS) * quads], starts, &panel[strip * STRIP * QUAD..]);
                for (row, sums) in (rows..).zip(&sums) {
                    let row_scale = _mm256_set1_ps(task.row_scales[row]);
                    let out = out[row * width + first..].first_chunk_mut::<STRIP>().expect("as many as scales");
                    let parts = out.as_chunks_mut::<LANES>().0.iter_mut().zip(scales.as_chunks::<LANES>().0);
                    for ((out, scale), &sum) in parts.zip(sums) {
                        store(out, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(row_scale, load(scale))));
                    }
                }
            }
        }
    }
}

/// The integer sums of some rows, `[ROWS, quads]`, with a strip of a panel that begins where `panel` does, in registers
/// from first to last.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_of_strip(rows: &[Wide], starts: &[i32; ROWS], panel: &[u8]) -> [[__m256i; REGISTERS]; ROWS] {
    let quads = rows.len() / ROWS;
    assert!(quads == 0 || panel.len() >= (quads - 1) * STRIDE + STRIP * QUAD);
    let low = _mm256_set1_epi16(0xff);
    let mut sums = starts.map(|start| [_mm256_set1_epi32(start); REGISTERS]);
    for quad in 0..quads {
        let mut even = [_mm256_setzero_si256(); REGISTERS];
        let mut odd = even;
        for (c, (even, odd)) in even.iter_mut().zip(&mut odd).enumerate() {
            // SAFETY: quad < quads and c < REGISTERS, so these 32 bytes end within (quads - 1) * STRIDE + STRIP * QUAD.
            let weights = unsafe { _mm256_loadu_si256(panel.as_ptr().add(quad * STRIDE + c * LANES * QUAD).cast()) };
            (*even, *odd) = (_mm256_and_si256(weights, low), _mm256_srli_epi16::<8>(weights));
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: row < ROWS and quad < quads, and there are ROWS * quads of them.
            let [x_even, x_odd] = *unsafe { rows.get_unchecked(row * quads + quad) };
            let (x_even, x_odd) = (_mm256_set1_epi32(x_even), _mm256_set1_epi32(x_odd));
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(even[c], x_even));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(odd[c], x_odd));
            }
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32; LANES]) -> __m256 {
    // SAFETY: the array has the eight floats that are read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(out: &mut [f32; LANES], values: __m256) {
    // SAFETY: the array has room for the eight floats that are written.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
}
