//! How is a matrix in a safetensors file read?
//!
//! Format: length of the header (u64), a JSON object `{key: {dtype, shape, data_offsets}}`, then the data, to whose
//! start offsets are relative.

use super::shape::{as_matrix, matrix_bytes};
use crate::error::StoreError;
use crate::foreign::{Foreign, Order};
use crate::matrix::{Matrix, Storage};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::StoreDtype;
use untangle_schema::numpy::Float;

const DOUBLE: Float = Float { bytes: 8, big_endian: false };
/// The safetensors library's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Opens the tensor `key`, or the only tensor where no key is given.
pub(super) fn open(path: &Path, key: Option<&str>) -> Result<Matrix, StoreError> {
    let bad = |problem: String| StoreError::Header { path: path.to_owned(), format: "safetensors", problem };
    let file = File::open(path).map_err(StoreError::io(path))?;
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    let (mut header, start) = header(&file, path, size)?;
    header.remove("__metadata__");
    let key = chosen(&header, path, key)?;
    let entry = header.remove(&key).unwrap_or_default();
    let info: TensorInfo = serde_json::from_value(entry).map_err(|e| bad(format!("entry `{key}`: {e}")))?;
    let (dtype, rounded) = match info.dtype {
        Dtype::F32 => (StoreDtype::F32, false),
        Dtype::F16 => (StoreDtype::F16, false),
        Dtype::BF16 => (StoreDtype::Bf16, false),
        Dtype::F64 => (StoreDtype::F32, true),
        other => return Err(other_type(path, key, other)),
    };
    let element = if rounded { DOUBLE.bytes } else { dtype.size() };
    let shape: Vec<u64> = info.shape.iter().map(|size| *size as u64).collect();
    let (n, d) = as_matrix(&shape, path, &key)?;
    let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    if matrix_bytes(n, d, element).is_none_or(|bytes| from.checked_add(bytes) != Some(to)) {
        return Err(bad(format!("entry `{key}`: bytes {from}..{to} are not {n} rows of {d} {:?}", info.dtype)));
    }
    let end = start.saturating_add(to);
    if end > size {
        return Err(StoreError::Truncated { path: path.to_owned(), object: key, end, size });
    }
    let (file, offset) = (Arc::new(file), start + from);
    let storage = match rounded {
        true => Storage::Foreign(Foreign { file, offset, float: DOUBLE, order: Order::Rows }),
        false => Storage::Contiguous { file, offset },
    };
    Ok(Matrix { path: path.to_owned(), name: key, n, d: d as usize, dtype, rounded, storage })
}

/// The error for elements that are not read. Some of their types are none of NumPy's, but all are PyTorch's.
fn other_type(path: &Path, key: String, found: Dtype) -> StoreError {
    let file = path.display();
    let remedy = format!(
        "in Python, with safetensors.torch: save_file({{'{key}': load_file('{file}')['{key}'].float()}}, 'float32.safetensors')"
    );
    StoreError::ElementType { path: path.to_owned(), object: key, found: format!("{found:?}"), remedy }
}

/// The header's entries, and where the data begin.
fn header(file: &File, path: &Path, size: u64) -> Result<(Map<String, Value>, u64), StoreError> {
    let bad = |problem: String| StoreError::Header { path: path.to_owned(), format: "safetensors", problem };
    let mut length = [0u8; 8];
    if size < length.len() as u64 {
        return Err(bad("the file is shorter than a header's length".into()));
    }
    file.read_exact_at(&mut length, 0).map_err(StoreError::io(path))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER || length > size - 8 {
        return Err(bad(format!("it claims {length} bytes, which is beyond the file or beyond reason")));
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, 8).map_err(StoreError::io(path))?;
    let entries = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    Ok((entries, 8 + length))
}

fn chosen(header: &Map<String, Value>, path: &Path, key: Option<&str>) -> Result<String, StoreError> {
    let holds = || header.keys().cloned().collect::<Vec<_>>();
    match key {
        Some(key) if header.contains_key(key) => Ok(key.to_owned()),
        Some(key) => Err(StoreError::NoSuchObject { path: path.to_owned(), object: key.to_owned(), holds: holds() }),
        None if header.len() == 1 => Ok(holds().remove(0)),
        None => Err(StoreError::KeyNeeded { path: path.to_owned(), holds: holds() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, data: usize, key: Option<&str>) -> Result<(u64, usize, StoreDtype), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        std::fs::write(&path, bytes).expect("written");
        let matrix = open(&path, key).map_err(|error| error.to_string())?;
        Ok((matrix.n, matrix.d, matrix.dtype))
    }

    #[test]
    fn tensors_are_found_or_refused_with_the_reason() {
        let two = r#"{"a": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [24, 32]}, "__metadata__": {"x": "y"}}"#;
        assert_eq!(check(two, 32, Some("a")), Ok((3, 2, StoreDtype::F32)));
        assert_eq!(check(two, 32, Some("b")), Ok((2, 2, StoreDtype::Bf16)));
        let refused = |header: &str, key: Option<&str>, why: &str| {
            let error = check(header, 31, key).expect_err("refused");
            assert!(error.contains(why), "{error} lacks {why}");
        };
        refused(two, Some("b"), "cut short");
        refused(two, Some("c"), "no `c` (it holds a, b)");
        refused(two, None, "name one of its matrices");
        refused(
            r#"{"a": {"dtype": "F64", "shape": [1, 2], "data_offsets": [0, 12]}}"#,
            None,
            "are not 1 rows of 2 F64",
        );
        refused(r#"{"a": {"dtype": "I64", "shape": [1, 2], "data_offsets": [0, 16]}}"#, None, "holds I64; in Python");
        refused(r#"{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}"#, None, "shape [4]");
        refused(r#"{"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}}"#, None, "are not 2 rows of 2");
        refused(
            r#"{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 4]}}"#,
            None,
            "are not",
        );
        refused(r#"{"a": 3}"#, None, "entry `a`");
        refused("[", None, "bad safetensors header");
    }

    #[test]
    fn absurd_header_lengths_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.safetensors");
        for bytes in [&b"1234"[..], &u64::MAX.to_le_bytes(), &99_999_999u64.to_le_bytes()] {
            std::fs::write(&path, bytes).expect("written");
            assert!(matches!(open(&path, None), Err(StoreError::Header { .. })), "{bytes:?}");
        }
    }
}
