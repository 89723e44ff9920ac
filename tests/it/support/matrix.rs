//! A matrix of numbers that look random, as numpy writes it.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes `[rows, width]` numbers in f32 to `path`; another seed gives others.
pub(crate) fn matrix(path: &Path, rows: usize, width: usize, seed: u64) -> PathBuf {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 11;
    header = format!("{header:<padded$}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    let mut state = seed.wrapping_mul(2) | 1;
    for _ in 0..rows * width {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
        bytes.extend(value.to_le_bytes());
    }
    fs::write(path, bytes).expect("the scratch folder is writable");
    path.to_owned()
}
