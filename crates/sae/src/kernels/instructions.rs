//! Which of the products in bytes can this CPU run?
//!
//! One of the modules with `unsafe`: what is compiled for instructions may run only where the CPU has them.
#![allow(unsafe_code)]

use super::int8_layout::Task;
#[cfg(target_arch = "x86_64")]
use super::{avx2, vnni};

/// A product by instructions that not every CPU has.
pub(super) struct Kernel {
    is_available: fn() -> bool,
    product: unsafe fn(&Task<'_>, &mut [f32]),
}

/// The fastest first.
pub(super) const KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    Kernel {
        is_available: || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
        product: vnni::product,
    },
    #[cfg(target_arch = "x86_64")]
    Kernel { is_available: || is_x86_feature_detected!("avx2"), product: avx2::product },
];

impl Kernel {
    /// Whether this CPU has the instructions.
    pub(super) fn is_available(&self) -> bool {
        (self.is_available)()
    }

    /// Does the task and says so, or leaves `out` as it is where the instructions are missing.
    pub(super) fn run(&self, task: &Task<'_>, out: &mut [f32]) -> bool {
        let available = self.is_available();
        if available {
            // SAFETY: the CPU has the features that the function is compiled for, as was just asked.
            unsafe { (self.product)(task, out) };
        }
        available
    }
}
