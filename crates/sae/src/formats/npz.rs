//! Which arrays does a `.npz` file hold?
//!
//! A `.npz` is a ZIP archive of `.npy` files, stored or deflated; its directory stands at its end. An `.npy` is the magic
//! `\x93NUMPY`, a version, the length of a header, a Python dictionary of `descr`, `fortran_order` and `shape`, and the elements.
//! Sources: PKWARE's APPNOTE 6.3, NumPy's `numpy.lib.format`.

use super::tensors::check_finite;
use crate::error::SaeError;
use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// An array of numbers in row-major order.
#[derive(Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// The arrays of a file by name, all of which must be `known`: what is not is refused before it is unpacked.
pub(super) fn read(path: &Path, bytes: &[u8], known: &[&str]) -> Result<BTreeMap<String, Array>, SaeError> {
    let wrong = |problem: &str| SaeError::Config {
        path: path.to_owned(),
        reason: format!("not a whole file of NumPy arrays: {problem}; copy it again"),
    };
    let mut arrays = BTreeMap::new();
    for entry in entries(bytes).ok_or_else(|| wrong("it has no directory of what it holds"))? {
        let name = entry.name.trim_end_matches(".npy").to_owned();
        let of_array = |problem: String| SaeError::Tensor { path: PathBuf::from(path), tensor: name.clone(), problem };
        if !known.contains(&name.to_lowercase().as_str()) || arrays.contains_key(&name) {
            return Err(of_array("is no part of a dictionary that is known; take it out".to_owned()));
        }
        let npy =
            entry.content(bytes).ok_or_else(|| of_array("is cut short or packed in an unknown way".to_owned()))?;
        let array = array(&npy).map_err(&of_array)?;
        check_finite(&array.values, of_array)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// A file of the archive.
struct Entry {
    name: String,
    method: u16,
    packed: usize,
    size: usize,
    header: usize,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut number = [0; 8];
    number[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(number))
}

/// What the directory lists, from its end record on.
fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    // The end record is 22 bytes long with a comment of up to 65,535.
    let last = bytes.len().checked_sub(22)?;
    let end = (last.saturating_sub(0xFFFF)..=last).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06"))?;
    let (count, mut at) = (number::<2>(bytes, end + 10)?, number::<4>(bytes, end + 16)? as usize);
    let mut entries = Vec::new();
    for _ in 0..count {
        if !bytes.get(at..)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let field = |offset: usize| number::<4>(bytes, at + offset).map(|n| n as usize);
        let short = |offset: usize| number::<2>(bytes, at + offset).map(|n| n as usize);
        let (names, extra, comment) = (short(28)?, short(30)?, short(32)?);
        let name = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + names)?).into_owned();
        let (packed, size, header) = (field(20)?, field(24)?, field(42)?);
        entries.push(Entry { name, method: short(10)? as u16, packed, size, header });
        at += 46 + names + extra + comment;
    }
    Some(entries)
}

impl Entry {
    fn content(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        // Larger files have their sizes elsewhere (ZIP64); no dictionary is so large that its arrays need it.
        if [self.packed, self.size, self.header].contains(&0xFFFF_FFFF) {
            return None;
        }
        let local = bytes.get(self.header..).filter(|local| local.starts_with(b"PK\x03\x04"))?;
        let start = 30 + number::<2>(local, 26)? as usize + number::<2>(local, 28)? as usize;
        let packed = local.get(start..start.checked_add(self.packed)?)?;
        match self.method {
            0 => Some(packed.to_vec()),
            8 => {
                let mut content = Vec::new();
                let most = self.size as u64 + 1;
                DeflateDecoder::new(packed).take(most).read_to_end(&mut content).ok()?;
                (content.len() == self.size).then_some(content)
            }
            _ => None,
        }
    }
}

/// Reads one `.npy`, or says what is wrong with it.
fn array(npy: &[u8]) -> Result<Array, String> {
    let broken = || "is no whole NumPy array".to_owned();
    let (length, start) = match npy.get(6) {
        Some(1) => (number::<2>(npy, 8).ok_or_else(broken)?, 10),
        Some(2 | 3) => (number::<4>(npy, 8).ok_or_else(broken)?, 12),
        _ => return Err(broken()),
    };
    let header =
        npy.get(start..start + length as usize).filter(|_| npy.starts_with(b"\x93NUMPY")).ok_or_else(broken)?;
    let header = String::from_utf8_lossy(header).into_owned();
    let value = |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start().to_owned());
    let descr = value("descr").ok_or_else(broken)?;
    if !value("fortran_order").is_some_and(|order| order.starts_with("False")) {
        return Err("is in Fortran's order, which is not supported; save it with numpy.ascontiguousarray".to_owned());
    }
    let shape = value("shape").ok_or_else(broken)?;
    let shape = shape.trim_start_matches('(').split(')').next().unwrap_or_default().to_owned();
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().map_err(|_| broken())).collect::<Result<_, _>>()?;
    let n = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size)).ok_or_else(broken)?;
    let data = &npy[start + length as usize..];
    let values: Vec<f32> = match descr.get(1..4) {
        Some("<f4") => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Some("<f8") => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Some("<f2") => data.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        _ => {
            return Err(format!(
                "has type {}; <f4, <f8 and <f2 are supported",
                descr.split(',').next().unwrap_or_default()
            ));
        }
    };
    if values.len() != n {
        return Err(format!("has {} elements where its shape {shape:?} has {n}", values.len()));
    }
    Ok(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `.npy` of the given type and shape.
    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn arrays_are_read_and_what_is_none_is_named() {
        let data: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let whole = array(&npy("<f4", "(2, 3)", &data)).expect("an array");
        assert_eq!(whole, Array { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] });
        let halves: Vec<u8> = [half::f16::from_f32(0.5)].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(array(&npy("<f2", "(1,)", &halves)).expect("an array").values, [0.5]);
        for (bytes, said) in [
            (npy("<f4", "(2, 4)", &data), "has 6 elements where its shape [2, 4] has 8"),
            (npy("<f4", "(4294967296, 4294967296)", &data), "no whole NumPy array"),
            (npy("<i8", "(3,)", &data), "has type '<i8'"),
            (npy("<f4", "(-1,)", &data), "no whole NumPy array"),
            (b"\x93NUMPY\x01\x00\xff\xff".to_vec(), "no whole NumPy array"),
        ] {
            let message = array(&bytes).expect_err("refused");
            assert!(message.contains(said), "`{message}` does not say `{said}`");
        }
    }

    #[test]
    fn what_is_no_archive_is_said_to_be_none() {
        for bytes in [&b""[..], b"PK\x05\x06", &[0; 100], &[b"PK\x05\x06".as_slice(), &[0xFF; 40]].concat()] {
            let message = read(Path::new("params.npz"), bytes, &["w_enc"]).expect_err("refused").to_string();
            assert!(message.contains("params.npz: not a whole file of NumPy arrays"), "{message}");
        }
    }
}
