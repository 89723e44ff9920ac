//! Which arrays does a `.npz` file hold?
//!
//! A `.npz` is a ZIP archive of `.npy` files, stored or deflated; its directory stands at its end. An `.npy` is the magic
//! `\x93NUMPY`, a version, the length of a header, a Python dictionary of `descr`, `fortran_order` and `shape`, and the elements.
//! Sources: PKWARE's APPNOTE 6.3, NumPy's `numpy.lib.format`.
//!
//! A file of kilobytes may unpack to gigabytes. So the headers of all arrays are read first, what they add up to is asked for, and
//! only then are elements unpacked, straight into their places.

use super::file;
use super::tensors::check_finite;
use crate::error::SaeError;
use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Most that deflate makes of a byte: 258 bytes of two bits each.
const DENSEST: u64 = 1032;
/// Longest header of an array that is believed; NumPy's own limit is 10,000.
const LONGEST_HEADER: u64 = 1 << 16;
/// Bytes that are unpacked at a time; a multiple of every element's size.
const PIECE: usize = 1 << 16;

/// An array of numbers in row-major order.
#[derive(Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// The arrays of a file by name in small letters, each of which must be `known` and there once: what is not is refused before it
/// is unpacked. `spare` says how many elements of arrays of these sizes are copied afterwards.
pub(super) fn read(
    path: &Path,
    known: &[&str],
    spare: impl Fn(&[u64]) -> u64,
) -> Result<BTreeMap<String, Array>, SaeError> {
    let mut source = std::io::BufReader::new(file::open(path)?);
    unpacked(&mut source, path, known, spare)
}

fn unpacked<R: Read + Seek>(
    source: &mut R,
    path: &Path,
    known: &[&str],
    spare: impl Fn(&[u64]) -> u64,
) -> Result<BTreeMap<String, Array>, SaeError> {
    let of_array =
        |name: &str, problem: String| SaeError::Tensor { path: PathBuf::from(path), tensor: name.to_owned(), problem };
    let mut heads = BTreeMap::new();
    for entry in entries(source, known.len()).ok_or_else(|| no_archive(path))? {
        let name = entry.name.trim_end_matches(".npy").to_owned();
        let key = name.to_lowercase();
        if !known.contains(&key.as_str()) {
            return Err(of_array(&name, "is no part of a dictionary that is known; take it out".to_owned()));
        }
        let head = entry.open(source).ok_or_else(cut).and_then(|mut npy| Head::read(&mut npy, entry.size));
        let head = head.map_err(|problem| of_array(&name, problem))?;
        if heads.insert(key, (name.clone(), entry, head)).is_some() {
            return Err(of_array(&name, "is there twice; take one of them out".to_owned()));
        }
    }
    let sizes: Vec<u64> = heads.values().map(|(.., head)| head.elements).collect();
    let all = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    file::check_room(path, all.saturating_add(spare(&sizes)).saturating_mul(4))?;
    let mut arrays = BTreeMap::new();
    for (key, (name, entry, head)) in heads {
        let values = entry.open(source).ok_or_else(cut).and_then(|mut npy| head.values(&mut npy));
        let values = values.map_err(|problem| of_array(&name, problem))?;
        check_finite(&values, |problem| of_array(&name, problem))?;
        arrays.insert(key, Array { shape: head.shape, values });
    }
    Ok(arrays)
}

fn no_archive(path: &Path) -> SaeError {
    SaeError::Config {
        path: path.to_owned(),
        reason: "not a whole file of NumPy arrays: it has no directory of what it holds; copy it again".to_owned(),
    }
}

fn cut() -> String {
    "is cut short or packed in an unknown way".to_owned()
}

/// A file of the archive.
struct Entry {
    name: String,
    method: u16,
    packed: u64,
    size: u64,
    header: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut number = [0; 8];
    number[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(number))
}

fn exactly(source: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// What the directory lists, from its end record on, of which the first that is one too many is the last.
fn entries<R: Read + Seek>(source: &mut R, known: usize) -> Option<Vec<Entry>> {
    // The end record is 22 bytes long with a comment of up to 65,535.
    let length = source.seek(SeekFrom::End(0)).ok()?;
    let tail = length.min(22 + 0xFFFF);
    source.seek(SeekFrom::Start(length - tail)).ok()?;
    let tail = exactly(source, tail as usize)?;
    let last = tail.len().checked_sub(22)?;
    let end = (0..=last).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06"))?;
    let (count, at) = (number::<2>(&tail, end + 10)? as usize, number::<4>(&tail, end + 16)?);
    source.seek(SeekFrom::Start(at)).ok()?;
    (0..count.min(known + 1)).map(|_| entry(source)).collect()
}

fn entry(source: &mut impl Read) -> Option<Entry> {
    let fixed = exactly(source, 46)?;
    if !fixed.starts_with(b"PK\x01\x02") {
        return None;
    }
    let short = |offset: usize| number::<2>(&fixed, offset).map(|n| n as usize);
    let name = String::from_utf8_lossy(&exactly(source, short(28)?)?).into_owned();
    exactly(source, short(30)? + short(32)?)?;
    let field = |offset: usize| number::<4>(&fixed, offset);
    Some(Entry { name, method: short(10)? as u16, packed: field(20)?, size: field(24)?, header: field(42)? })
}

impl Entry {
    /// Its content; none where that is cut short, or larger than can be packed into so few bytes.
    fn open<'a, R: Read + Seek>(&self, source: &'a mut R) -> Option<Box<dyn Read + 'a>> {
        // Larger files have their sizes elsewhere (ZIP64); no dictionary is so large that its arrays need it.
        if [self.packed, self.size, self.header].contains(&0xFFFF_FFFF) {
            return None;
        }
        let length = source.seek(SeekFrom::End(0)).ok()?;
        source.seek(SeekFrom::Start(self.header)).ok()?;
        let local = exactly(source, 30)?;
        let start = self.header + 30 + number::<2>(&local, 26)? + number::<2>(&local, 28)?;
        if !local.starts_with(b"PK\x03\x04") || start.checked_add(self.packed)? > length {
            return None;
        }
        source.seek(SeekFrom::Start(start)).ok()?;
        let packed = source.take(self.packed);
        match self.method {
            0 if self.packed == self.size => Some(Box::new(packed)),
            8 if self.size <= self.packed.saturating_mul(DENSEST) => Some(Box::new(DeflateDecoder::new(packed))),
            _ => None,
        }
    }
}

/// What is written about an array before its elements.
struct Head {
    shape: Vec<usize>,
    elements: u64,
    kind: Kind,
    /// Length of all of this.
    length: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    F2,
    F4,
    F8,
}

impl Kind {
    fn of(descr: &str) -> Result<Self, String> {
        match descr.get(1..4) {
            Some("<f2") => Ok(Kind::F2),
            Some("<f4") => Ok(Kind::F4),
            Some("<f8") => Ok(Kind::F8),
            _ => {
                let found = descr.split(',').next().unwrap_or_default();
                Err(format!("has type {found}; <f4, <f8 and <f2 are supported"))
            }
        }
    }

    fn size(self) -> u64 {
        match self {
            Kind::F2 => 2,
            Kind::F4 => 4,
            Kind::F8 => 8,
        }
    }
}

fn broken() -> String {
    "is no whole NumPy array".to_owned()
}

impl Head {
    /// Reads the beginning of an `.npy` of `size` bytes, or says what is wrong with it.
    fn read(npy: &mut impl Read, size: u64) -> Result<Self, String> {
        let magic = exactly(npy, 8).filter(|magic| magic.starts_with(b"\x93NUMPY")).ok_or_else(broken)?;
        let wide = match magic[6] {
            1 => 2,
            2 | 3 => 4,
            _ => return Err(broken()),
        };
        let mut length = exactly(npy, wide).ok_or_else(broken)?;
        length.resize(4, 0);
        let length = number::<4>(&length, 0).filter(|length| *length <= LONGEST_HEADER).ok_or_else(broken)?;
        let header = exactly(npy, length as usize).ok_or_else(broken)?;
        Self::of(&String::from_utf8_lossy(&header), 8 + wide as u64 + length, size)
    }

    fn of(header: &str, length: u64, size: u64) -> Result<Self, String> {
        let value = |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start().to_owned());
        let kind = Kind::of(&value("descr").ok_or_else(broken)?)?;
        if !value("fortran_order").is_some_and(|order| order.starts_with("False")) {
            return Err(
                "is in Fortran's order, which is not supported; save it with numpy.ascontiguousarray".to_owned()
            );
        }
        let shape = value("shape").ok_or_else(broken)?;
        let shape = shape.trim_start_matches('(').split(')').next().unwrap_or_default().to_owned();
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Vec<usize> = sizes.map(|size| size.parse().map_err(|_| broken())).collect::<Result<_, _>>()?;
        let elements = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
        let elements = elements.ok_or_else(broken)?;
        let data = size.checked_sub(length).ok_or_else(broken)?;
        if elements.checked_mul(kind.size()) != Some(data) {
            let found = data / kind.size();
            return Err(format!("has {found} elements where its shape {shape:?} has {elements}"));
        }
        Ok(Head { shape, elements, kind, length })
    }

    /// The elements of the array, of which this is the head, from its beginning on.
    fn values(&self, npy: &mut impl Read) -> Result<Vec<f32>, String> {
        exactly(npy, self.length as usize).ok_or_else(cut)?;
        let n = self.elements as usize;
        let mut values = Vec::new();
        values.try_reserve_exact(n).map_err(|_| format!("has {n} elements, for which there is no memory"))?;
        let mut piece = vec![0; PIECE];
        let mut left = self.elements * self.kind.size();
        while left > 0 {
            let piece = &mut piece[..left.min(PIECE as u64) as usize];
            npy.read_exact(piece).map_err(|_| cut())?;
            match self.kind {
                Kind::F2 => values.extend(piece.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
                Kind::F4 => values.extend(piece.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
                Kind::F8 => values.extend(piece.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            }
            left -= piece.len() as u64;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// An `.npy` of the given type and shape.
    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn array(npy: &[u8]) -> Result<Array, String> {
        let head = Head::read(&mut Cursor::new(npy), npy.len() as u64)?;
        let values = head.values(&mut Cursor::new(npy))?;
        Ok(Array { shape: head.shape, values })
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

    /// An archive of stored or deflated files, the last of which claims to be `more` bytes longer than it is.
    fn archive(files: &[(&str, Vec<u8>)], deflated: bool, more: u32) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (i, (name, content)) in files.iter().enumerate() {
            let packed = if deflated { deflate(content) } else { content.clone() };
            let claimed = content.len() as u32 + if i + 1 == files.len() { more } else { 0 };
            let of_name = [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
            let method = [if deflated { 8 } else { 0 }, 0];
            let sizes = [&[0; 4][..], &(packed.len() as u32).to_le_bytes(), &claimed.to_le_bytes()].concat();
            let at = (bytes.len() as u32).to_le_bytes();
            directory.extend(
                [&b"PK\x01\x02"[..], &[0; 6], &method, &[0; 4], &sizes, &of_name, &[0; 10], &at, name.as_bytes()]
                    .concat(),
            );
            bytes.extend([&b"PK\x03\x04"[..], &[0; 4], &method, &[0; 4], &sizes, &of_name, name.as_bytes()].concat());
            bytes.extend(packed);
        }
        let (at, count) = (bytes.len() as u32, (files.len() as u16).to_le_bytes());
        bytes.extend(directory);
        bytes.extend([&b"PK\x05\x06"[..], &[0; 4], &count, &count, &[0; 4], &at.to_le_bytes(), &[0; 2]].concat());
        bytes
    }

    fn deflate(content: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, content).expect("memory");
        packed.finish().expect("memory")
    }

    fn told(bytes: Vec<u8>) -> Result<BTreeMap<String, Array>, String> {
        let read = unpacked(&mut Cursor::new(bytes), Path::new("params.npz"), &["w_enc", "b_enc"], |_| 0);
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn archives_are_read_stored_and_deflated() {
        for deflated in [false, true] {
            let files =
                [("W_enc.npy", npy("<f4", "(2, 1)", &[0; 8])), ("b_enc.npy", npy("<f4", "(40000,)", &[0; 160_000]))];
            let arrays = told(archive(&files, deflated, 0)).expect("whole");
            assert_eq!(arrays["w_enc"].shape, [2, 1]);
            assert_eq!(arrays["b_enc"].values, [0.0; 40_000]);
        }
    }

    #[test]
    fn what_an_archive_claims_is_counted_before_it_is_unpacked() {
        let small = |name| (name, npy("<f4", "(2,)", &[0; 8]));
        let huge = npy("<f4", "(1000000000,)", &[0; 8]);
        let gigabytes = 4_000_000_000 - 8;
        for (bytes, said) in [
            (archive(&[small("w_enc.npy"), small("W_enc.npy")], true, 0), "tensor `W_enc` is there twice"),
            (archive(&[small("w_enc.npy"), small("other.npy")], true, 0), "tensor `other` is no part"),
            (archive(&[("w_enc.npy", huge.clone())], true, gigabytes), "`w_enc` is cut short"),
            (archive(&[("w_enc.npy", huge)], false, gigabytes), "`w_enc` is cut short"),
            (archive(&[small("w_enc.npy")], true, 4), "has 3 elements where its shape [2] has 2"),
        ] {
            let message = told(bytes).expect_err("refused");
            assert!(message.contains(said), "`{message}` does not say `{said}`");
        }
        // Asked for together, before anything is unpacked.
        let spare = |sizes: &[u64]| sizes.iter().sum::<u64>() << 50;
        let bytes = archive(&[small("w_enc.npy"), small("b_enc.npy")], true, 0);
        let refused = unpacked(&mut Cursor::new(bytes), Path::new("params.npz"), &["w_enc", "b_enc"], spare);
        assert!(matches!(refused, Err(SaeError::Memory { .. })), "{refused:?}");
    }

    #[test]
    fn what_is_no_archive_is_said_to_be_none() {
        for bytes in [&b""[..], b"PK\x05\x06", &[0; 100], &[b"PK\x05\x06".as_slice(), &[0xFF; 40]].concat()] {
            let message = told(bytes.to_vec()).expect_err("refused");
            assert!(message.contains("params.npz: not a whole file of NumPy arrays"), "{message}");
        }
    }
}
