//! How is a matrix in a NumPy file read?
//!
//! Format: the magic `\x93NUMPY`, version (2 bytes), header length (u16, from version 2 on u32), and a Python
//! dictionary such as `{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 64), }`; then the elements.

use super::{as_matrix, matrix_bytes};
use crate::error::StoreError;
use crate::matrix::{Matrix, Storage};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::StoreDtype;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own limit for headers that it trusts.
const LONGEST_HEADER: u64 = 10_000;

/// Opens the array of the file.
pub(super) fn open(path: &Path) -> Result<Matrix, StoreError> {
    let file = File::open(path).map_err(StoreError::io(path))?;
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    let bad = |problem: &str| StoreError::Header { path: path.to_owned(), format: "npy", problem: problem.to_owned() };
    let (text, offset) = header(&file, path, size)?;
    let header = parse(&text).ok_or_else(|| bad("it is not a dictionary of descr, fortran_order and shape"))?;
    let dtype = match header.descr.as_str() {
        "<f4" => StoreDtype::F32,
        "<f2" => StoreDtype::F16,
        other => {
            let (object, found) = ("the array".to_owned(), format!("dtype {other}"));
            return Err(StoreError::ElementType { path: path.to_owned(), object, found });
        }
    };
    if header.fortran_order {
        return Err(StoreError::FortranOrder { path: path.to_owned() });
    }
    let (n, d) = as_matrix(&header.shape, path, "the array")?;
    let bytes = matrix_bytes(n, d, dtype.size()).ok_or_else(|| bad("it claims a size that no file has"))?;
    let end = offset.saturating_add(bytes);
    if end > size {
        return Err(StoreError::Truncated { path: path.to_owned(), object: "the array".to_owned(), end, size });
    }
    let name = path.file_stem().map_or("array".into(), |stem| stem.to_string_lossy().into_owned());
    let storage = Storage::Contiguous { file: Arc::new(file), offset };
    Ok(Matrix { path: path.to_owned(), name, n, d: d as usize, dtype, storage })
}

/// The text of the header, and where the elements begin.
fn header(file: &File, path: &Path, size: u64) -> Result<(String, u64), StoreError> {
    let bad = |problem: &str| StoreError::Header { path: path.to_owned(), format: "npy", problem: problem.to_owned() };
    let mut start = [0u8; 12];
    let known = size.min(start.len() as u64) as usize;
    file.read_exact_at(&mut start[..known], 0).map_err(StoreError::io(path))?;
    if known < 10 || !start.starts_with(MAGIC) {
        return Err(bad("the file does not begin as NumPy files do"));
    }
    let (length, at) = match start[6] {
        1 => (u64::from(u16::from_le_bytes([start[8], start[9]])), 10),
        2 | 3 => (u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]])), 12),
        _ => return Err(bad("unknown version of the format")),
    };
    if length > LONGEST_HEADER || at + length > size {
        return Err(bad("its length is beyond the file or beyond reason"));
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, at).map_err(StoreError::io(path))?;
    let text = String::from_utf8(text).map_err(|_| bad("it is not text"))?;
    Ok((text, at + length))
}

struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads the three entries that the format allows.
fn parse(text: &str) -> Option<Header> {
    let value = |key: &str| {
        let after = ['\'', '"'].into_iter().find_map(|q| text.split_once(&format!("{q}{key}{q}")))?.1;
        Some(after.trim_start().strip_prefix(':')?.trim_start())
    };
    let fortran_order = match value("fortran_order")? {
        answer if answer.starts_with("False") => false,
        answer if answer.starts_with("True") => true,
        _ => return None,
    };
    let shape = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    Some(Header {
        descr: descr(value("descr")?)?,
        fortran_order,
        shape: sizes.map(|s| s.parse().ok()).collect::<Option<_>>()?,
    })
}

/// The type: a quoted string, or the beginning of a structured type, which no reader here takes.
fn descr(value: &str) -> Option<String> {
    let quote = value.chars().next()?;
    match quote {
        '\'' | '"' => Some(value[1..].split_once(quote)?.0.to_owned()),
        '[' => Some("of records".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, data: usize) -> Result<(u64, usize), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        std::fs::write(&path, bytes).expect("written");
        let matrix = open(&path).map_err(|error| error.to_string())?;
        Ok((matrix.n, matrix.d))
    }

    #[test]
    fn headers_are_read_or_refused_with_the_reason() {
        assert_eq!(check("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", 24), Ok((3, 2)));
        assert_eq!(check("{\"descr\":\"<f2\",\"fortran_order\":False,\"shape\":(3,2)}", 12), Ok((3, 2)));
        let refused = |header: &str, why: &str| {
            let error = check(header, 24).expect_err("refused");
            assert!(error.contains(why), "{error} lacks {why}");
        };
        refused("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", "Fortran order");
        refused("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }", "dtype <f8");
        refused("{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }", "dtype >f4");
        refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2), }", "records");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", "shape [6]");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 1), }", "shape [3, 2, 1]");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }", "cut short");
        refused(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999, 9999999999999999), }",
            "no file has",
        );
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3, -2), }", "dictionary");
        refused("{}", "dictionary");
    }

    #[test]
    fn files_that_are_not_numpy_and_absurd_header_lengths_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        for bytes in [
            &b""[..],
            b"PK\x03\x04 something else",
            b"\x93NUMPY\x01\x00",
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
            b"\x93NUMPY\x09\x00\x01\x00{",
        ] {
            std::fs::write(&path, bytes).expect("written");
            assert!(matches!(open(&path), Err(StoreError::Header { .. })), "{bytes:?}");
        }
    }
}
