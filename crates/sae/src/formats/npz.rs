//! Which arrays does a `.npz` file hold?
//!
//! A file of kilobytes may unpack to gigabytes. So the headers of all arrays are read first, what they add up to is asked for, and
//! only then are elements unpacked, straight into their places. Where these are those of an archive and of an array's header
//! is known to the vocabulary (`untangle_schema::npz`, `numpy`).

use super::file;
use super::tensors::{ROUNDED, check_finite};
use crate::error::SaeError;
use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use untangle_schema::npz::{Entry, Packing, entries};
use untangle_schema::numpy::{ArrayHeader, Float};

/// Most that deflate makes of a byte: 258 bytes of two bits each.
const DENSEST: u64 = 1032;
/// Bytes that are unpacked at a time; a multiple of every element's size.
const PIECE: usize = 1 << 16;

/// An array of numbers in row-major order.
#[derive(Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// The arrays of a file by name in small letters, each of which must be `known` and there once: what is not is refused before it
/// is unpacked; and a note, where doubles were rounded. `spare` says how many elements of arrays of these sizes are copied afterwards.
pub(super) fn read(
    path: &Path,
    known: &[&str],
    spare: impl Fn(&[u64]) -> u64,
) -> Result<(BTreeMap<String, Array>, Option<&'static str>), SaeError> {
    let mut source = std::io::BufReader::new(file::open(path)?);
    unpacked(&mut source, path, known, spare)
}

fn unpacked<R: Read + Seek>(
    source: &mut R,
    path: &Path,
    known: &[&str],
    spare: impl Fn(&[u64]) -> u64,
) -> Result<(BTreeMap<String, Array>, Option<&'static str>), SaeError> {
    let of_array =
        |name: &str, problem: String| SaeError::Tensor { path: PathBuf::from(path), tensor: name.to_owned(), problem };
    let mut heads = BTreeMap::new();
    for entry in entries(source, known.len() + 1).ok_or_else(|| no_archive(path))? {
        let (name, key) = (entry.name.clone(), entry.name.to_lowercase());
        if !known.contains(&key.as_str()) {
            return Err(of_array(&name, "is no part of a dictionary that is known; take it out".to_owned()));
        }
        let head = content(&entry, source).ok_or_else(cut).and_then(|mut npy| Head::read(&mut npy, &entry, path));
        let head = head.map_err(|problem| of_array(&name, problem))?;
        if heads.insert(key, (name.clone(), entry, head)).is_some() {
            return Err(of_array(&name, "is there twice; take one of them out".to_owned()));
        }
    }
    let sizes: Vec<u64> = heads.values().map(|(.., head)| head.elements).collect();
    let all = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    file::check_room(path, all.saturating_add(spare(&sizes)).saturating_mul(4))?;
    let rounded = heads.values().any(|(.., head)| head.float.bytes == 8);
    let mut arrays = BTreeMap::new();
    for (key, (name, entry, head)) in heads {
        let values = content(&entry, source).ok_or_else(cut).and_then(|mut npy| head.values(&mut npy));
        let values = values.map_err(|problem| of_array(&name, problem))?;
        check_finite(&values, |problem| of_array(&name, problem))?;
        arrays.insert(key, Array { shape: head.shape, values });
    }
    Ok((arrays, rounded.then_some(ROUNDED)))
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

/// The content of an array; none where that is cut short, or larger than can be packed into so few bytes.
fn content<'a, R: Read + Seek>(entry: &Entry, source: &'a mut R) -> Option<Box<dyn Read + 'a>> {
    let start = entry.start(source)?;
    source.seek(SeekFrom::Start(start)).ok()?;
    let packed = source.take(entry.packed);
    match entry.packing {
        Packing::Stored if entry.packed == entry.size => Some(Box::new(packed)),
        Packing::Deflated if entry.size <= entry.packed.saturating_mul(DENSEST) => {
            Some(Box::new(DeflateDecoder::new(packed)))
        }
        _ => None,
    }
}

/// What is known of an array before its elements are read.
struct Head {
    shape: Vec<usize>,
    elements: u64,
    float: Float,
    /// Whether the elements of a column follow each other.
    fortran: bool,
    /// Bytes before the elements.
    length: u64,
}

fn broken() -> String {
    "is no whole NumPy array".to_owned()
}

impl Head {
    /// Reads the beginning of an `.npy`, or says what is wrong with it.
    fn read(npy: &mut impl Read, entry: &Entry, path: &Path) -> Result<Self, String> {
        let header = ArrayHeader::read(npy, entry.size).map_err(|_| broken())?;
        let float = header.float().ok_or_else(|| {
            let (found, command) =
                (header.type_name(), header.conversion(&path.display().to_string(), Some(&entry.name)));
            format!("has type {found}; make floats of it, in Python: {command}, and put that into the archive")
        })?;
        let shape: Vec<usize> = header.shape.iter().map(|size| *size as usize).collect();
        let elements = header.shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        let elements = elements.ok_or_else(broken)?;
        let data = entry.size.checked_sub(header.length).ok_or_else(broken)?;
        if elements.checked_mul(float.bytes as u64) != Some(data) {
            let found = data / float.bytes as u64;
            return Err(format!("has {found} elements where its shape {shape:?} has {elements}"));
        }
        if header.fortran_order && shape.len() > 2 {
            return Err(format!("has shape {shape:?}, which is neither a matrix nor a vector"));
        }
        Ok(Head { shape, elements, float, fortran: header.fortran_order, length: header.length })
    }

    /// The elements of the array, of which this is the head, from its beginning on.
    fn values(&self, npy: &mut impl Read) -> Result<Vec<f32>, String> {
        let before = std::io::copy(&mut npy.take(self.length), &mut std::io::sink());
        before.ok().filter(|read| *read == self.length).ok_or_else(cut)?;
        let n = self.elements as usize;
        let mut values = Vec::new();
        values.try_reserve_exact(n).map_err(|_| format!("has {n} elements, for which there is no memory"))?;
        values.resize(n, 0.0);
        let (rows, columns) = match self.shape[..] {
            [rows, columns] if self.fortran => (rows, columns),
            _ => (n, 1),
        };
        let (mut piece, mut at) = (vec![0; PIECE], 0);
        while at < n {
            let piece = &mut piece[..((n - at) * self.float.bytes).min(PIECE)];
            npy.read_exact(piece).map_err(|_| cut())?;
            let mut put = |value: f32| {
                // Of a vector, and of rows that follow each other, this is the next place.
                values[at % rows * columns + at / rows] = value;
                at += 1;
            };
            self.each(piece, &mut put);
        }
        Ok(values)
    }

    /// Hands out the elements of some bytes.
    fn each(&self, bytes: &[u8], put: &mut impl FnMut(f32)) {
        let big = self.float.big_endian;
        match self.float.bytes {
            2 => bytes.as_chunks().0.iter().for_each(|b| {
                put(if big { half::f16::from_be_bytes(*b) } else { half::f16::from_le_bytes(*b) }.to_f32());
            }),
            4 => bytes.as_chunks().0.iter().for_each(|b| {
                put(if big { f32::from_be_bytes(*b) } else { f32::from_le_bytes(*b) });
            }),
            _ => bytes.as_chunks().0.iter().for_each(|b| {
                put(if big { f64::from_be_bytes(*b) } else { f64::from_le_bytes(*b) } as f32);
            }),
        }
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
        let bytes = archive(&[("w_enc.npy", npy.to_vec())], false, 0);
        let read = unpacked(&mut Cursor::new(bytes), Path::new("params.npz"), &["w_enc"], |_| 0);
        read.map(|(mut arrays, _)| arrays.remove("w_enc").expect("it")).map_err(|error| error.to_string())
    }

    #[test]
    fn doubles_the_other_order_of_bytes_and_columns_are_read() {
        let values = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0];
        let columns = npy(">f8", "(2, 3)", &values.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<_>>());
        let header = String::from_utf8_lossy(&columns).replace("'fortran_order': False", "'fortran_order': True ");
        assert!(header.contains("True "));
        let at = columns.windows(5).position(|bytes| bytes == b"False").expect("there");
        let fortran = [&columns[..at], b"True ", &columns[at + 5..]].concat();
        assert_eq!(array(&fortran).expect("an array").values, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        assert_eq!(array(&columns).expect("an array").values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let bytes = archive(&[("w_enc.npy", fortran)], true, 0);
        let read = unpacked(&mut Cursor::new(bytes), Path::new("params.npz"), &["w_enc"], |_| 0);
        assert!(read.expect("read").1.expect("a note").contains("float64"));
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
            (npy("<i8", "(3,)", &data), "has type int64; make floats of it, in Python: numpy.save("),
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
        read.map(|(arrays, _)| arrays).map_err(|error| error.to_string())
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
