//! Memory that Rust owns and libtorch may view: aligned buffers, and matrix products on slices.
//!
//! The `unsafe` here: [`Buffer`] keeps its allocation aligned to a cache line (vector loads of 64 bytes never straddle two)
//! and asks for huge pages (rows of a large matrix are read in random order), and [`matmul_nt`] lends slices to libtorch for
//! the length of one product.
#![allow(unsafe_code)]

use crate::error::SaeError;
use half::bf16;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
}

/// What a [`Buffer`] may hold. All-zero bytes are a valid value of each.
pub trait Plain: Copy + Send + Sync + Default + 'static + sealed::Sealed {}

impl Plain for f32 {}
impl Plain for bf16 {}
impl Plain for i8 {}
impl Plain for u8 {}

/// Numbers that libtorch multiplies for us: `f32` and `bf16`.
pub trait Element: Plain {
    /// libtorch's name of the type.
    const KIND: Kind;
    /// The value as `f32`, exactly.
    fn widen(self) -> f32;
    /// The nearest value, ties to even.
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const KIND: Kind = Kind::BFloat16;
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    /// Written without a branch for NaN, so that it vectorises; what is narrowed here is finite.
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        bf16::from_bits((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }
}

/// A fixed-length, zero-initialised array whose first element lies on a cache line.
pub struct Buffer<T: Plain> {
    data: NonNull<T>,
    len: usize,
}

// SAFETY: a Buffer owns its allocation exclusively, as a Vec<T> does, and T is Send and Sync.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above; shared access hands out only `&[T]`.
unsafe impl<T: Plain> Sync for Buffer<T> {}

const ALIGN: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

impl<T: Plain> Buffer<T> {
    /// An array of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        if len == 0 {
            return Buffer { data: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout's size is not zero, because len is not and no Plain type is zero-sized.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(data) = NonNull::new(raw.cast::<T>()) else { handle_alloc_error(layout) };
        advise_huge_pages(raw, layout.size());
        Buffer { data, len }
    }

    /// A copy of `values`.
    pub fn copy_of(values: &[T]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Makes it `len` long: zeros where that is another length, else what it held.
    pub fn set_len(&mut self, len: usize) {
        if self.len != len {
            *self = Self::zeros(len);
        }
    }

    fn layout(len: usize) -> Layout {
        let size = len.checked_mul(size_of::<T>()).filter(|&s| s <= isize::MAX as usize - ALIGN);
        let size = size.expect("a buffer's size fits the address space: lengths are products of checked dimensions");
        let align = if size >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
        Layout::from_size_align(size, align).expect("the alignment is a power of two and the size was bounded")
    }
}

impl<T: Element> Buffer<T> {
    /// `values`, each rounded to this type.
    pub fn narrowed(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.narrow_from(values);
        buffer
    }

    /// Replaces the content by `values`, each rounded to this type.
    pub fn narrow_from(&mut self, values: &[f32]) {
        debug_assert_eq!(self.len, values.len());
        self.iter_mut().zip(values).for_each(|(narrow, &wide)| *narrow = T::narrow(wide));
    }
}

/// A hint; where the system has no huge pages, nothing is lost.
fn advise_huge_pages(data: *mut u8, size: usize) {
    #[cfg(target_os = "linux")]
    if size >= HUGE_PAGE {
        // SAFETY: the range is exactly the allocation just made; MADV_HUGEPAGE changes no content.
        unsafe { libc::madvise(data.cast(), size, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (data, size);
}

impl<T: Plain> Default for Buffer<T> {
    fn default() -> Self {
        Self::zeros(0)
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeros` with this very layout, and freed once, here.
            unsafe { dealloc(self.data.as_ptr().cast(), Self::layout(self.len)) };
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `data` points at `len` initialised (zeroed, then only safely written) elements that self owns.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

impl<T: Plain> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl<T: Plain> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer of {} elements", self.len)
    }
}

/// Gives memory that was freed but is kept for reuse back to the system, where the allocator can: after work whose large
/// pieces will not be needed again.
pub fn give_back_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: frees no allocation that is in use; glibc allows it at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Asks for a whole row that will be read a little later.
#[inline(always)]
pub fn prefetch_row(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(ALIGN / size_of::<f32>()) {
        // SAFETY: a prefetch changes nothing and cannot fault; SSE is part of every x86-64 CPU.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// Asks for the beginning of a row that will be read soon; the rest follows by the CPU's own foresight. Rows that are read in
/// random order, as those of chosen latents are, otherwise each begin with a wait.
#[inline(always)]
pub fn prefetch(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(ALIGN / size_of::<f32>()).take(PREFETCHED_LINES) {
        // SAFETY: a prefetch changes nothing and cannot fault; SSE is part of every x86-64 CPU.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// Cache lines asked for: about as many requests as a core keeps open.
const PREFETCHED_LINES: usize = 12;

/// Makes the calling thread fit for products inside a pool: no gradients, and one libtorch thread, because the pool
/// already uses every core. Both settings are per thread, so every worker passes here before its first product.
///
/// Setting the number of threads also changes what threads that have not used libtorch yet will begin with, so that is
/// set back, from a thread of its own: the model's passes keep all cores.
pub fn prepare_worker() {
    thread_local!(static READY: Cell<bool> = const { Cell::new(false) });
    static BEFORE: OnceLock<i32> = OnceLock::new();
    READY.with(|ready| {
        if !ready.replace(true) {
            let before = *BEFORE.get_or_init(tch::get_num_threads);
            tch::set_num_threads(1);
            // A thread that cannot be started leaves the others slower, not wrong.
            let _ = std::thread::Builder::new().spawn(move || tch::set_num_threads(before)).map(|thread| thread.join());
            std::mem::forget(tch::no_grad_guard());
        }
    });
}

/// `out = a · bᵀ`, summed in f32 and rounded to `T`.
///
/// # Shapes
/// `a: [n, d]`, `b: [f, d]`, `out: [n, f]`, all row-major.
///
/// Runs on the calling thread alone when that is a rayon worker. The result for a row does not depend on other rows as
/// long as `n` is the same, which is why callers always pass full tiles.
///
/// # Errors
/// When the slices do not have these shapes, or libtorch refuses.
pub fn matmul_nt<T: Element>(a: &[T], b: &[T], out: &mut [T], d: usize) -> Result<(), SaeError> {
    let (n, f) = (a.len() / d, b.len() / d);
    if a.len() != n * d || b.len() != f * d || out.len() != n * f {
        return Err(SaeError::Shape { what: "matrix product", expected: vec![n, f], found: vec![out.len()] });
    }
    product(a, [n, d], [d, 1], b, [d, f], [1, d], out)
}

/// `out = a · b`, summed in f32 and rounded to `T`.
///
/// # Shapes
/// `a: [n, m]`, `b: [m, d]`, `out: [n, d]`, all row-major.
///
/// # Errors
/// As [`matmul_nt`].
pub fn matmul_nn<T: Element>(a: &[T], b: &[T], out: &mut [T], m: usize, d: usize) -> Result<(), SaeError> {
    let n = a.len() / m;
    if a.len() != n * m || b.len() != m * d || out.len() != n * d {
        return Err(SaeError::Shape { what: "matrix product", expected: vec![n, d], found: vec![out.len()] });
    }
    product(a, [n, m], [m, 1], b, [m, d], [d, 1], out)
}

/// `out = aᵀ · b`, summed in f32 and rounded to `T`.
///
/// # Shapes
/// `a: [n, m]`, `b: [n, d]`, `out: [m, d]`, all row-major.
///
/// # Errors
/// As [`matmul_nt`].
pub fn matmul_tn<T: Element>(a: &[T], b: &[T], out: &mut [T], m: usize, d: usize) -> Result<(), SaeError> {
    let n = a.len() / m;
    if a.len() != n * m || b.len() != n * d || out.len() != m * d {
        return Err(SaeError::Shape { what: "matrix product", expected: vec![m, d], found: vec![out.len()] });
    }
    product(a, [m, n], [1, m], b, [n, d], [d, 1], out)
}

/// `out = a · b` for operands of any strides that stay inside their slices (checked by the callers' shapes).
fn product<T: Element>(
    a: &[T],
    a_size: [usize; 2],
    a_strides: [usize; 2],
    b: &[T],
    b_size: [usize; 2],
    b_strides: [usize; 2],
    out: &mut [T],
) -> Result<(), SaeError> {
    if rayon::current_thread_index().is_some() {
        prepare_worker();
    }
    let _no_grad = tch::no_grad_guard();
    let view = |data: *const T, size: [usize; 2], strides: [usize; 2]| {
        let [size, strides] = [size, strides].map(|s| s.map(|n| n as i64));
        // SAFETY: size and strides address exactly the slice's elements (each caller proved the lengths), the slices
        // outlive the tensors, which are dropped before this function returns, and libtorch keeps no other reference:
        // the product below is synchronous on the CPU.
        unsafe { Tensor::f_from_blob(data.cast(), &size, &strides, T::KIND, Device::Cpu) }
    };
    let a = view(a.as_ptr(), a_size, a_strides)?;
    let b = view(b.as_ptr(), b_size, b_strides)?;
    let result = view(out.as_mut_ptr(), [a_size[0], b_size[1]], [b_size[1], 1])?;
    let _ = a.f_mm_out(&result, &b)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_at_a_cache_line_and_hold_what_is_written() {
        let mut buffer = Buffer::<f32>::zeros(1000);
        assert_eq!(buffer.as_ptr() as usize % ALIGN, 0);
        buffer[999] = 2.0;
        assert_eq!(buffer.clone().iter().sum::<f32>(), 2.0);
        assert!(Buffer::<bf16>::zeros(0).is_empty());
    }

    #[test]
    fn products_are_those_of_the_formulas() {
        // a = [1 2; 3 4; 5 6], b = [1 0; 1 1]
        let (a, b) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0f32, 0.0, 1.0, 1.0]);
        let mut out = [0.0; 6];
        matmul_nt(&a, &b, &mut out, 2).expect("shapes fit");
        assert_eq!(out, [1.0, 3.0, 3.0, 7.0, 5.0, 11.0]);
        matmul_nn(&a, &b, &mut out, 2, 2).expect("shapes fit");
        assert_eq!(out, [3.0, 2.0, 7.0, 4.0, 11.0, 6.0]);
        let mut square = [0.0; 4];
        matmul_tn(&a, &a, &mut square, 2, 2).expect("shapes fit");
        assert_eq!(square, [35.0, 44.0, 44.0, 56.0]);
        assert!(matmul_nt(&a, &b, &mut square, 2).is_err());
    }

    #[test]
    fn narrowing_rounds_to_the_nearest_bf16() {
        for value in [0.0f32, 1.0, -1.0, 1.003_906_3, 3.389e38, 1e-40, -7.123e-3, 65_504.0] {
            assert_eq!(<bf16 as Element>::narrow(value), bf16::from_f32(value), "{value}");
        }
    }
}
