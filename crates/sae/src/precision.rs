//! Which arithmetic the encoder product runs in.

use crate::kernels::buffer::{Buffer, Element, matmul_nt, prepare_worker};
use crate::kernels::int8::{self, GROUP, Int8Rows, Int8Weights, PANEL};
use half::bf16;
use std::sync::OnceLock;
use std::time::Instant;

/// Arithmetic of the encoder product. The result does not depend on it (see [`crate::kernels::encode`]); the time does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// bf16 operands, f32 sums.
    Bf16,
    /// Bytes, integer sums.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

    /// The fastest one on this machine. Only those are considered that the CPU has instructions for: without them bf16 is a
    /// hundred times slower than f32, because libtorch emulates it. A timing of a few milliseconds at the first call, on one
    /// thread, then decides. On AVX-512 with VNNI bytes take a sixth of the time of f32, on AVX2 alone six
    /// tenths: far enough apart that a busy machine seldom decides otherwise than an idle one.
    pub fn fastest() -> Self {
        static FASTEST: OnceLock<Precision> = OnceLock::new();
        *FASTEST.get_or_init(|| {
            let timed = || {
                prepare_worker();
                let mut fastest = (Precision::F32, product_time::<f32>());
                let narrow = [
                    (Precision::Bf16, Self::has_bf16_instructions(), product_time::<bf16> as fn() -> f64),
                    (Precision::Int8, int8::is_fast(), int8_product_time),
                ];
                for (precision, _, time) in narrow.into_iter().filter(|&(_, has_instructions, _)| has_instructions) {
                    let time = time();
                    if time < fastest.1 {
                        fastest = (precision, time);
                    }
                }
                fastest.0
            };
            // A thread of its own, because the setting to one libtorch thread is per thread and stays.
            std::thread::spawn(timed).join().unwrap_or(Precision::F32)
        })
    }

    /// Whether this CPU multiplies bf16; where it does not, libtorch does it a hundred times slower than f32.
    pub fn has_bf16_instructions() -> bool {
        #[cfg(target_arch = "x86_64")]
        return is_x86_feature_detected!("avx512bf16");
        #[cfg(target_arch = "aarch64")]
        return std::arch::is_aarch64_feature_detected!("bf16");
        #[allow(unreachable_code)]
        false
    }

    /// `f32`, `bf16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }
}

/// Rows, width and latents of the products that are timed.
const TIMED: (usize, usize, usize) = (256, 256, 1024);

/// Seconds of the best of ten small products; the first also sets libtorch's kernels up.
fn product_time<T: Element>() -> f64 {
    let (n, d, f) = TIMED;
    let (a, b, mut out) = (Buffer::<T>::zeros(n * d), Buffer::<T>::zeros(f * d), Buffer::<T>::zeros(n * f));
    best_of_ten(|| matmul_nt(&a, &b, &mut out, d).is_ok())
}

/// The same in bytes.
fn int8_product_time() -> f64 {
    let (n, d, f) = TIMED;
    let (rows, weights) = (Int8Rows::new(n, d), Int8Weights::zeros(f, &vec![1.0; d]));
    let mut out = vec![0f32; GROUP * f];
    best_of_ten(|| {
        (0..n / GROUP).for_each(|group| int8::product(&rows, group, &weights, 0..f / PANEL, &mut out));
        true
    })
}

/// Seconds of the best of ten calls; infinite when one fails.
fn best_of_ten(mut work: impl FnMut() -> bool) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        if !work() {
            return f64::INFINITY;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
