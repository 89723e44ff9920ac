//! How do stored elements become `f32`, and back?

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::ops::Range;
use untangle_schema::StoreDtype;
use zerocopy::IntoBytes;

#[cfg(target_endian = "big")]
compile_error!("activation files are little-endian and are read without conversion");

/// A buffer of elements in their stored type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Elements {
    /// `len` zeros.
    pub(crate) fn zeros(dtype: StoreDtype, len: usize) -> Self {
        match dtype {
            StoreDtype::F32 => Elements::F32(vec![0.0; len]),
            StoreDtype::F16 => Elements::F16(vec![f16::ZERO; len]),
            StoreDtype::Bf16 => Elements::Bf16(vec![bf16::ZERO; len]),
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Elements::F32(v) => v.len(),
            Elements::F16(v) => v.len(),
            Elements::Bf16(v) => v.len(),
        }
    }

    /// Sets the number of elements; new ones are zero, and the allocation is kept.
    pub(crate) fn resize(&mut self, len: usize) {
        match self {
            Elements::F32(v) => v.resize(len, 0.0),
            Elements::F16(v) => v.resize(len, f16::ZERO),
            Elements::Bf16(v) => v.resize(len, bf16::ZERO),
        }
    }

    /// The bytes of a range of elements, as they lie on disk.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self {
            Elements::F32(v) => v[range].as_bytes(),
            Elements::F16(v) => v[range].as_bytes(),
            Elements::Bf16(v) => v[range].as_bytes(),
        }
    }

    /// The bytes of a range of elements, to be read into.
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        match self {
            Elements::F32(v) => v[range].as_mut_bytes(),
            Elements::F16(v) => v[range].as_mut_bytes(),
            Elements::Bf16(v) => v[range].as_mut_bytes(),
        }
    }

    /// Copies `len` elements from `source` at `from` to `to`; both hold the same type.
    pub(crate) fn copy_from(&mut self, to: usize, source: &Elements, from: usize, len: usize) {
        self.bytes_mut(to..to + len).copy_from_slice(source.bytes(from..from + len));
    }

    /// Appends a range of elements to `out` as `f32`, exactly.
    pub(crate) fn append_f32(&self, range: Range<usize>, out: &mut Vec<f32>) {
        let start = out.len();
        match self {
            Elements::F32(v) => out.extend_from_slice(&v[range]),
            Elements::F16(v) => {
                out.resize(start + range.len(), 0.0);
                v[range].convert_to_f32_slice(&mut out[start..]);
            }
            Elements::Bf16(v) => {
                out.resize(start + range.len(), 0.0);
                v[range].convert_to_f32_slice(&mut out[start..]);
            }
        }
    }

    /// Becomes `values`, rounded to nearest even.
    pub(crate) fn assign(&mut self, values: &[f32]) {
        self.resize(values.len());
        match self {
            Elements::F32(v) => v.copy_from_slice(values),
            Elements::F16(v) => v.convert_from_f32_slice(values),
            Elements::Bf16(v) => v.convert_from_f32_slice(values),
        }
    }
}

/// Index of the first value that is NaN or infinite.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<usize> {
    // Infinities and NaNs alone have every bit of the exponent set. Integers are compared piece by piece without branches,
    // which compilers turn into vectors; only a piece with a find is searched.
    const EXPONENT: u32 = 0x7f80_0000;
    const PIECE: usize = 256;
    let bad = |x: &f32| x.to_bits() & EXPONENT == EXPONENT;
    let any_bad = |piece: &[f32]| piece.iter().fold(0, |any, x| any | u32::from(bad(x))) != 0;
    let piece = values.chunks(PIECE).position(any_bad)?;
    values[piece * PIECE..].iter().position(bad).map(|at| piece * PIECE + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values_have_known_bits() {
        let mut half = Elements::zeros(StoreDtype::F16, 0);
        half.assign(&[1.0, -2.0, 65504.0, 65520.0]);
        assert_eq!(half.bytes(0..4), [0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b, 0x00, 0x7c]);
        let mut brain = Elements::zeros(StoreDtype::Bf16, 0);
        brain.assign(&[1.0, -2.0]);
        assert_eq!(brain.bytes(0..2), [0x80, 0x3f, 0x00, 0xc0]);
    }

    proptest! {
        #[test]
        fn stored_types_are_idempotent(values in prop::collection::vec(-6e4f32..6e4, 0..70)) {
            for dtype in [StoreDtype::F32, StoreDtype::F16, StoreDtype::Bf16] {
                let mut stored = Elements::zeros(dtype, 0);
                stored.assign(&values);
                let mut back = Vec::new();
                stored.append_f32(0..values.len(), &mut back);
                let mut again = Elements::zeros(dtype, 0);
                again.assign(&back);
                prop_assert_eq!(&stored, &again);
                let steps = match dtype {
                    StoreDtype::F32 => 0.0,
                    StoreDtype::F16 => 2f32.powi(-11),
                    StoreDtype::Bf16 => 2f32.powi(-8),
                };
                for (x, y) in values.iter().zip(&back) {
                    prop_assert!((x - y).abs() <= x.abs() * steps + 6e-8, "{} became {} in {}", x, y, dtype);
                }
            }
        }

        #[test]
        fn the_first_value_that_is_not_finite_is_found(len in 1usize..1000, at in 0usize..1000, kind in 0usize..3) {
            let mut values = vec![f32::MAX; len];
            prop_assert_eq!(first_not_finite(&values), None);
            let at = at % len;
            values[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][kind];
            prop_assert_eq!(first_not_finite(&values), Some(at));
        }
    }
}
