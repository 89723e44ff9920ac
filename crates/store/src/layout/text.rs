//! What does an attribute say that is a string?
//!
//! Strings of variable length lie in *global heap collections* (HDF5 File Format Specification, III.E), which HDF5 up to 2.2
//! walks without end where damage has made a piece of one zero bytes long. So they are walked here first. Collections are
//! searched for in everything that is in no dataset; a damaged dataset that claims their place hides them.

use super::locate::Extent;
use super::visit::visit_datasets;
use crate::error::StoreError;
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Location};
use memchr::memmem::Finder;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a collection begins.
const SIGNATURE: &[u8] = b"GCOL";
/// Bytes of the header of a collection (signature, version, three that are reserved, size) and of each object in it (index,
/// references, four that are reserved, size).
const HEADER: u64 = 16;
/// Smallest size of a collection.
const SMALLEST: u64 = 4096;
/// Objects begin at multiples of as many bytes.
const ALIGNED: u64 = 8;
/// Bytes that are searched at once.
const PIECE: u64 = 1 << 20;

/// The string attribute `name` of `at`; none where there is no such attribute or it is something else. The file's strings are
/// known to [end](strings_end).
pub(crate) fn text(at: &Location, name: &str) -> Option<String> {
    Some(at.attr(name).ok()?.read_scalar::<VarLenUnicode>().ok()?.to_string())
}

/// Makes sure that HDF5 comes to the end of the strings of `hdf5`, the file at `path`.
///
/// # Errors
/// [`StoreError::Unreadable`] where it would not; when reading fails.
pub(crate) fn strings_end(hdf5: &File, path: &Path) -> Result<(), StoreError> {
    let Some(address) = endless_collection(hdf5, path).map_err(StoreError::io(path))? else { return Ok(()) };
    let detail = format!("the strings at byte {address} have no end");
    Err(StoreError::Unreadable { path: path.to_owned(), detail })
}

/// Where the first collection begins that HDF5 would not come to the end of.
fn endless_collection(hdf5: &File, path: &Path) -> std::io::Result<Option<u64>> {
    let file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    let mut data = Vec::new();
    visit_datasets(hdf5, &mut |dataset| {
        // What a link leads to may lie in another file.
        if dataset.filename() == hdf5.filename() {
            extents_of(dataset, &mut data);
        }
        true
    });
    for gap in gaps(data, size) {
        for address in signatures(&file, gap)? {
            if is_endless(&file, address, size)? {
                return Ok(Some(address));
            }
        }
    }
    Ok(None)
}

/// The places of the elements of a dataset: what need not be searched. Chunks that are not found are.
fn extents_of(dataset: &Dataset, extents: &mut Vec<Extent>) {
    if let Some(offset) = dataset.offset() {
        extents.push(Extent { offset, bytes: dataset.storage_size() });
    } else if dataset.is_chunked() {
        let _ = dataset.chunks_visit(|chunk| {
            extents.push(Extent { offset: chunk.addr, bytes: chunk.size });
            0
        });
    }
}

/// What of the first `size` bytes lies in none of the extents.
fn gaps(mut extents: Vec<Extent>, size: u64) -> Vec<Extent> {
    extents.sort_unstable_by_key(|extent| extent.offset);
    extents.push(Extent { offset: size, bytes: 0 });
    let (mut gaps, mut reached) = (Vec::new(), 0);
    for extent in extents {
        let begin = extent.offset.min(size);
        if begin > reached {
            gaps.push(Extent { offset: reached, bytes: begin - reached });
        }
        reached = reached.max(begin.saturating_add(extent.bytes));
    }
    gaps
}

/// Where something begins in the gap as a collection does.
fn signatures(file: &std::fs::File, gap: Extent) -> std::io::Result<Vec<u64>> {
    let (finder, overlap) = (Finder::new(SIGNATURE), SIGNATURE.len() as u64 - 1);
    let (mut bytes, mut found) = (Vec::new(), Vec::new());
    for begin in (0..gap.bytes).step_by(PIECE as usize) {
        bytes.resize((gap.bytes - begin).min(PIECE + overlap) as usize, 0);
        file.read_exact_at(&mut bytes, gap.offset + begin)?;
        found.extend(finder.find_iter(&bytes).map(|place| gap.offset + begin + place as u64));
    }
    Ok(found)
}

/// Whether HDF5 walks the collection at `address` of a file of `size` bytes without end: its arithmetic, overflow included.
/// What else is wrong with a collection, HDF5 finds itself.
fn is_endless(file: &std::fs::File, address: u64, size: u64) -> std::io::Result<bool> {
    let mut header = [0; HEADER as usize];
    let size_in = |header: &[u8; HEADER as usize]| u64::from_le_bytes(header.as_chunks().0[1]);
    if size - address < SMALLEST {
        return Ok(false);
    }
    file.read_exact_at(&mut header, address)?;
    let (version, bytes) = (header[4], size_in(&header));
    if version != 1 || !(SMALLEST..=size - address).contains(&bytes) {
        return Ok(false);
    }
    let (mut place, end) = (address + HEADER, address + bytes);
    while end - place >= HEADER {
        file.read_exact_at(&mut header, place)?;
        let (index, bytes) = (u16::from_le_bytes([header[0], header[1]]), size_in(&header));
        // Index 0 is free space, whose size counts its header and everything.
        let step = if index == 0 { bytes } else { padded(bytes).wrapping_add(HEADER) };
        match step {
            0 => return Ok(true),
            step if step > end - place => return Ok(false),
            step => place += step,
        }
    }
    Ok(false)
}

/// Rounded up to whole multiples of [`ALIGNED`], to 0 beyond the largest.
fn padded(bytes: u64) -> u64 {
    bytes.wrapping_add(ALIGNED - 1) / ALIGNED * ALIGNED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_by_hand() {
        let extent = |offset, bytes| Extent { offset, bytes };
        let found = gaps(vec![extent(50, 10), extent(10, 20), extent(15, 5), extent(90, 40)], 100);
        assert_eq!(found, [extent(0, 10), extent(30, 20), extent(60, 30)]);
        assert_eq!(gaps(vec![extent(u64::MAX, 9)], 8), [extent(0, 8)]);
        assert_eq!(gaps(vec![extent(0, u64::MAX)], 8), []);
    }

    #[test]
    fn signatures_are_found_across_pieces() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut bytes = vec![0; 2 * PIECE as usize + 9];
        for place in [3, PIECE as usize + 1, 2 * PIECE as usize + 5] {
            bytes[place..place + 4].copy_from_slice(SIGNATURE);
        }
        std::io::Write::write_all(&mut file, &bytes).expect("written");
        let gap = Extent { offset: 3, bytes: bytes.len() as u64 - 3 };
        assert_eq!(signatures(&file, gap).expect("read"), [3, PIECE + 1, 2 * PIECE + 5]);
    }

    /// Whether a collection of objects with these indices and sizes is endless.
    fn endless(objects: &[(u64, u16, u64)]) -> bool {
        let mut bytes = vec![0u8; 5000];
        bytes[100..108].copy_from_slice(b"GCOL\x01\0\0\0");
        bytes[108..116].copy_from_slice(&4096u64.to_le_bytes());
        for &(place, index, size) in objects {
            let at = 116 + place as usize;
            bytes[at..at + 2].copy_from_slice(&index.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&size.to_le_bytes());
        }
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, &bytes).expect("written");
        is_endless(&file, 100, 5000).expect("read")
    }

    #[test]
    fn collections_by_hand() {
        assert!(!endless(&[(0, 1, 20), (40, 2, 3), (64, 0, 4016)]));
        assert!(!endless(&[(0, 1, 20), (40, 2, u64::MAX / 2)]), "HDF5 complains of its end");
        assert!(endless(&[(0, 1, 20)]), "what follows is free and has no length");
        assert!(endless(&[(0, 1, 20), (40, 2, u64::MAX - 15), (64, 0, 4016)]), "with its header it is 0 again");
        assert!(!endless(&[(0, 1, u64::MAX - 7), (8, 0, 4072)]), "eight bytes on, by overflow");
    }
}
