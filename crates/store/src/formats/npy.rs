//! How is a matrix in a NumPy file read, `.npy` or `.npz`?
//!
//! An array of an archive that is stored and not deflated, as `numpy.savez` writes it, lies there as in a file of its own.

use super::shape::{as_matrix, matrix_bytes};
use crate::error::StoreError;
use crate::foreign::{Foreign, Order};
use crate::matrix::{Matrix, Storage};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use untangle_schema::StoreDtype;
use untangle_schema::npz::{self, Packing};
use untangle_schema::numpy::{ArrayHeader, Float};

/// Arrays of an archive that are looked at.
const MOST_ARRAYS: usize = 1 << 16;

/// Where an array lies.
struct ArrayAt<'a> {
    file: File,
    path: &'a Path,
    /// Its name in an archive.
    key: Option<&'a str>,
    start: u64,
    end: u64,
}

/// Opens the array of the file.
pub(super) fn open(path: &Path) -> Result<Matrix, StoreError> {
    let file = File::open(path).map_err(StoreError::io(path))?;
    let end = file.metadata().map_err(StoreError::io(path))?.len();
    let name = path.file_stem().map_or("array".into(), |stem| stem.to_string_lossy().into_owned());
    ArrayAt { file, path, key: None, start: 0, end }.matrix(name)
}

/// Opens the array `key` of an archive, or its only array where no key is given.
pub(super) fn open_archive(path: &Path, key: Option<&str>) -> Result<Matrix, StoreError> {
    let bad = |problem: &str| StoreError::Header { path: path.to_owned(), format: "npz", problem: problem.to_owned() };
    let mut file = File::open(path).map_err(StoreError::io(path))?;
    let entries = npz::entries(&mut file, MOST_ARRAYS)
        .ok_or_else(|| bad("it has no directory of what it holds; copy it again"))?;
    let holds = || entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
    let entry = match key {
        Some(key) => entries.iter().find(|entry| entry.name == key || Some(&*entry.name) == key.strip_suffix(".npy")),
        None if entries.len() == 1 => entries.first(),
        None => return Err(StoreError::KeyNeeded { path: path.to_owned(), holds: holds() }),
    };
    let entry = entry.ok_or_else(|| StoreError::NoSuchObject {
        path: path.to_owned(),
        object: key.unwrap_or_default().to_owned(),
        holds: holds(),
    })?;
    if entry.packing != Packing::Stored || entry.packed != entry.size {
        let (name, problem) =
            (&entry.name, "is compressed, so that its rows cannot be read from any place on".to_owned());
        let remedy = format!("in Python: numpy.save('{name}.npy', numpy.load('{}')['{name}'])", path.display());
        return Err(crate::layout::stored(path, name, problem, &remedy));
    }
    let start = entry.start(&mut file).ok_or_else(|| bad("it is cut short or contradicts itself; copy it again"))?;
    ArrayAt { file, path, key: Some(&entry.name), start, end: start + entry.size }.matrix(entry.name.clone())
}

impl ArrayAt<'_> {
    fn bad(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Header { path: self.path.to_owned(), format: "npy", problem: problem.into() }
    }

    fn matrix(mut self, name: String) -> Result<Matrix, StoreError> {
        let object = self.key.map_or_else(|| "the array".to_owned(), |key| format!("`{key}`"));
        self.file.seek(SeekFrom::Start(self.start)).map_err(StoreError::io(self.path))?;
        let size = self.end - self.start;
        let header = ArrayHeader::read(&mut BufReader::new(&self.file).take(size), size);
        let header = header.map_err(|problem| self.bad(problem))?;
        let float = header.float().ok_or_else(|| StoreError::ElementType {
            path: self.path.to_owned(),
            object: object.clone(),
            found: header.type_name(),
            remedy: format!("in Python: {}", header.conversion(&self.path.display().to_string(), self.key)),
        })?;
        let (n, d) = as_matrix(&header.shape, self.path, &object)?;
        let bytes = matrix_bytes(n, d, float.bytes).ok_or_else(|| self.bad("it claims a size that no file has"))?;
        let (offset, end) = (self.start + header.length, (self.start + header.length).saturating_add(bytes));
        if end > self.end {
            return Err(StoreError::Truncated { path: self.path.to_owned(), object, end, size: self.end });
        }
        let order = if header.fortran_order { Order::Columns } else { Order::Rows };
        let (dtype, rounded) = taken_as(float);
        let file = Arc::new(self.file);
        let storage = match (order, float.big_endian || rounded) {
            (Order::Rows, false) => Storage::Contiguous { file, offset },
            _ => Storage::Foreign(Foreign { file, offset, float, order }),
        };
        Ok(Matrix { path: self.path.to_owned(), name, n, d: d as usize, dtype, rounded, storage })
    }
}

/// The type that numbers of this form are handed out in, and whether that rounds them.
pub(super) fn taken_as(float: Float) -> (StoreDtype, bool) {
    match float.bytes {
        2 => (StoreDtype::F16, false),
        4 => (StoreDtype::F32, false),
        _ => (StoreDtype::F32, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, data: usize) -> Result<(u64, usize), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
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
        assert_eq!(check("{'descr': '>f8', 'fortran_order': True, 'shape': (3, 1), }", 24), Ok((3, 1)));
        let refused = |header: &str, why: &str| {
            let error = check(header, 24).expect_err("refused");
            assert!(error.contains(why), "{error} lacks {why}");
        };
        refused("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }", "cut short");
        refused("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 1), }", "holds int64; in Python: numpy.save(");
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
            assert!(matches!(open_archive(&path, None), Err(StoreError::Header { .. })), "{bytes:?}");
        }
    }
}
