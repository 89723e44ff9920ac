//! Which arithmetic the encoder product runs in.

use crate::kernels::buffer::{Buffer, Element, matmul_nt, prepare_worker};
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
}

impl Precision {
    /// The faster one on this machine. bf16 is two to ten times faster on a CPU that has instructions for it, and a hundred
    /// times slower where libtorch falls back to emulation, so the instructions are asked for, and a timing of a few
    /// milliseconds at the first call, on one thread, confirms that they are used. It only has to tell those two cases apart:
    /// a busy machine must not decide otherwise than an idle one.
    pub fn fastest() -> Self {
        static FASTEST: OnceLock<Precision> = OnceLock::new();
        *FASTEST.get_or_init(|| {
            let timed = || {
                prepare_worker();
                product_time::<bf16>() < EMULATED * product_time::<f32>()
            };
            // A thread of its own, because the setting to one libtorch thread is per thread and stays.
            let used = has_bf16_instructions() && std::thread::spawn(timed).join().unwrap_or(false);
            if used { Precision::Bf16 } else { Precision::F32 }
        })
    }

    /// `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

/// A product that takes this many times longer in bf16 than in f32 is emulated.
const EMULATED: f64 = 8.0;

/// Asked before the timing, so that a CPU without the instructions does not spend a second on the slow path.
fn has_bf16_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("bf16");
    #[allow(unreachable_code)]
    false
}

/// Seconds of the best of ten small products; the first also sets libtorch's kernels up.
fn product_time<T: Element>() -> f64 {
    let (n, d, f) = (256, 256, 1024);
    let (a, b, mut out) = (Buffer::<T>::zeros(n * d), Buffer::<T>::zeros(f * d), Buffer::<T>::zeros(n * f));
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        if matmul_nt(&a, &b, &mut out, d).is_err() {
            return f64::INFINITY;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
