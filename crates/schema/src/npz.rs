//! Where do the arrays of a `.npz` lie?
//!
//! A `.npz` is a ZIP archive of `.npy` files, stored or deflated; its directory stands at its end, and numbers beyond 32 bits
//! stand behind the entries that have them (ZIP64). Source: PKWARE's APPNOTE 6.3.

use std::io::{Read, Seek, SeekFrom};

/// What stands for a number that does not fit.
const BEYOND: u64 = 0xFFFF_FFFF;
/// Longest end record: 22 bytes with a comment of up to 65,535.
const LONGEST_END: u64 = 22 + 0xFFFF;

/// How an array is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Its bytes stand as they are.
    Stored,
    /// With deflate.
    Deflated,
    /// In another way, of this number.
    Other(u16),
}

/// An array of the archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, without `.npy`.
    pub name: String,
    /// How it is packed.
    pub packing: Packing,
    /// Bytes in the archive.
    pub packed: u64,
    /// Bytes unpacked.
    pub size: u64,
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

/// What the directory lists, `most` entries at most; none where there is no directory.
pub fn entries<R: Read + Seek>(source: &mut R, most: usize) -> Option<Vec<Entry>> {
    let length = source.seek(SeekFrom::End(0)).ok()?;
    let tail = length.min(LONGEST_END);
    let before = length - tail;
    source.seek(SeekFrom::Start(before)).ok()?;
    let tail = exactly(source, tail as usize)?;
    let last = tail.len().checked_sub(22)?;
    let end = (0..=last).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06"))?;
    let (mut count, mut at) = (number::<2>(&tail, end + 10)?, number::<4>(&tail, end + 16)?);
    if count == 0xFFFF || at == BEYOND {
        (count, at) = wide_end(source, before + end as u64)?;
    }
    source.seek(SeekFrom::Start(at)).ok()?;
    let mut source = std::io::BufReader::new(source);
    (0..count.min(most as u64)).map(|_| entry(&mut source)).collect()
}

/// Number and place of the entries, as the end record with wide numbers has them, whose place stands before the `end`.
fn wide_end<R: Read + Seek>(source: &mut R, end: u64) -> Option<(u64, u64)> {
    source.seek(SeekFrom::Start(end.checked_sub(20)?)).ok()?;
    let locator = exactly(source, 20).filter(|locator| locator.starts_with(b"PK\x06\x07"))?;
    source.seek(SeekFrom::Start(number::<8>(&locator, 8)?)).ok()?;
    let wide = exactly(source, 56).filter(|wide| wide.starts_with(b"PK\x06\x06"))?;
    Some((number::<8>(&wide, 32)?, number::<8>(&wide, 48)?))
}

fn entry(source: &mut impl Read) -> Option<Entry> {
    let fixed = exactly(source, 46)?;
    if !fixed.starts_with(b"PK\x01\x02") {
        return None;
    }
    let short = |offset: usize| number::<2>(&fixed, offset).map(|n| n as usize);
    let name = String::from_utf8_lossy(&exactly(source, short(28)?)?).into_owned();
    let extra = exactly(source, short(30)?)?;
    exactly(source, short(32)?)?;
    let mut wide = wide_numbers(&extra).into_iter();
    // Wide numbers stand in this order, those that are not needed left out.
    let [size, packed, header] = [24, 20, 42].map(|offset| match number::<4>(&fixed, offset)? {
        BEYOND => wide.next(),
        narrow => Some(narrow),
    });
    let packing = match short(10)? {
        0 => Packing::Stored,
        8 => Packing::Deflated,
        other => Packing::Other(other as u16),
    };
    let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
    Some(Entry { name, packing, packed: packed?, size: size?, header: header? })
}

/// The numbers of the further field for wide ones.
fn wide_numbers(extra: &[u8]) -> Vec<u64> {
    let mut rest = extra;
    while let (Some(id), Some(length)) = (number::<2>(rest, 0), number::<2>(rest, 2)) {
        let end = (4 + length as usize).min(rest.len());
        if id == 1 {
            return rest[4..end].as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        }
        rest = &rest[end..];
    }
    Vec::new()
}

impl Entry {
    /// The byte of the archive at which its content begins; none where that does not lie in the archive.
    pub fn start<R: Read + Seek>(&self, source: &mut R) -> Option<u64> {
        let length = source.seek(SeekFrom::End(0)).ok()?;
        source.seek(SeekFrom::Start(self.header)).ok()?;
        let local = exactly(source, 30).filter(|local| local.starts_with(b"PK\x03\x04"))?;
        let start = self.header.checked_add(30 + number::<2>(&local, 26)? + number::<2>(&local, 28)?)?;
        (start.checked_add(self.packed)? <= length).then_some(start)
    }
}
