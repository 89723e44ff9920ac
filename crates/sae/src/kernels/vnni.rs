//! The int8 product by the AVX-512 instructions made for it, where the CPU has them.
//!
//! One of the modules with `unsafe`: the instructions exist only where they were asked for, and loads take pointers.
#![allow(unsafe_code)]

use super::int8_layout::{GROUP, PANEL, QUAD, STRIDE, Task};
use std::arch::x86_64::*;

/// Sums of a register.
const LANES: usize = 16;
/// Registers of a panel.
const REGISTERS: usize = PANEL / LANES;

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn product(task: &Task<'_>, out: &mut [f32]) {
    let width = task.scales.len();
    let panels = task.packed.chunks_exact(PANEL * task.bytes).zip(task.scales.as_chunks::<PANEL>().0);
    for (at, (panel, scales)) in panels.enumerate() {
        let sums = sums_of_panel(task.rows, task.bytes, task.starts, panel);
        for (row, sums) in sums.iter().enumerate() {
            let row_scale = _mm512_set1_ps(task.row_scales[row]);
            let out = &mut out[row * width + at * PANEL..][..PANEL];
            for (c, &sum) in sums.iter().enumerate() {
                let scale = _mm512_mul_ps(row_scale, load(&scales.as_chunks::<LANES>().0[c]));
                store(&mut out.as_chunks_mut::<LANES>().0[c], _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
            }
        }
    }
}

/// The integer sums of a group of rows with a panel, in registers from first to last.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn sums_of_panel(rows: &[i8], bytes: usize, starts: &[i32; GROUP], panel: &[u8]) -> [[__m512i; REGISTERS]; GROUP] {
    let quads = bytes / QUAD;
    assert!(rows.len() >= GROUP * bytes && panel.len() >= quads * STRIDE);
    let mut sums = starts.map(|start| [_mm512_set1_epi32(start); REGISTERS]);
    for quad in 0..quads {
        let mut weights = [_mm512_setzero_si512(); REGISTERS];
        for (c, weights) in weights.iter_mut().enumerate() {
            // SAFETY: quad < quads and c < REGISTERS, so these 64 bytes end within quads * STRIDE, which the panel has.
            *weights = unsafe { _mm512_loadu_si512(panel.as_ptr().add(quad * STRIDE + c * 64).cast()) };
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: row < GROUP and quad < quads, so these four bytes end within GROUP * bytes, which the rows have.
            let x = unsafe { rows.as_ptr().add(row * bytes + quad * QUAD).cast::<i32>().read_unaligned() };
            let x = _mm512_set1_epi32(x);
            for (sum, &weights) in sums.iter_mut().zip(&weights) {
                *sum = _mm512_dpbusd_epi32(*sum, weights, x);
            }
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has the 16 floats that are read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(out: &mut [f32; LANES], values: __m512) {
    // SAFETY: the array has room for the 16 floats that are written.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) }
}
