//! What does an attribute say that is a string?
//!
//! Strings of variable length lie in *global heap collections* (HDF5 File Format Specification, III.E), which HDF5 up to 2.2
//! walks without end where damage has made a piece of free space zero bytes long. So collections are walked here first.

use super::{Extent, unreadable};
use crate::error::StoreError;
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group, Location};
use memchr::memmem::Finder;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a collection begins.
const SIGNATURE: &[u8] = b"GCOL";
/// Bytes of a collection's header: signature, version, three that are reserved, size.
const HEADER: usize = 16;
/// Bytes of an object's header: index, references, four that are reserved, size.
const OBJECT_HEADER: u64 = 16;
/// Objects begin at multiples of as many bytes.
const ALIGNED: u64 = 8;
/// Bytes that are searched at once.
const PIECE: u64 = 1 << 20;

/// The string attribute `name` of `at`, which lies in `hdf5`, the file at `path`; none where there is no such attribute or
/// it is something else.
///
/// # Errors
/// [`StoreError::Unreadable`] where a collection of strings is damaged; when reading fails.
pub(crate) fn text(at: &Location, name: &str, hdf5: &File, path: &Path) -> Result<Option<String>, StoreError> {
    let Ok(attribute) = at.attr(name) else { return Ok(None) };
    if let Some(address) = endless_collection(hdf5, path)? {
        let detail = format!("the strings at byte {address} have no end");
        return Err(StoreError::Unreadable { path: path.to_owned(), detail });
    }
    Ok(attribute.read_scalar::<VarLenUnicode>().ok().map(|text| text.to_string()))
}

/// Where the first collection begins that HDF5 would not come to the end of.
fn endless_collection(hdf5: &File, path: &Path) -> Result<Option<u64>, StoreError> {
    let file = std::fs::File::open(path).map_err(StoreError::io(path))?;
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    let mut data = Vec::new();
    extents_below(hdf5, &mut data).map_err(unreadable(path))?;
    for gap in gaps(data, size) {
        for address in signatures(&file, gap).map_err(StoreError::io(path))? {
            if is_endless(&file, address, size).map_err(StoreError::io(path))? {
                return Ok(Some(address));
            }
        }
    }
    Ok(None)
}

/// The places of the elements of all datasets below `group`: what need not be searched.
fn extents_below(group: &Group, extents: &mut Vec<Extent>) -> hdf5::Result<()> {
    for dataset in group.datasets()? {
        extents_of(&dataset, extents);
    }
    group.groups()?.iter().try_for_each(|below| extents_below(below, extents))
}

fn extents_of(dataset: &Dataset, extents: &mut Vec<Extent>) {
    if let Some(offset) = dataset.offset() {
        extents.push(Extent { offset, bytes: dataset.storage_size() });
    } else if dataset.is_chunked() {
        // Chunks that are not found are searched.
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

/// Whether HDF5 walks the collection at `address` of a file of `size` bytes without end. What else is wrong with it, HDF5
/// finds itself.
fn is_endless(file: &std::fs::File, address: u64, size: u64) -> std::io::Result<bool> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let mut header = [0; HEADER];
    if address + HEADER as u64 > size {
        return Ok(false);
    }
    file.read_exact_at(&mut header, address)?;
    let end = address.saturating_add(number(&header[8..]));
    if header[4] != 1 || end > size {
        return Ok(false);
    }
    let mut place = address + HEADER as u64;
    while place + OBJECT_HEADER <= end {
        file.read_exact_at(&mut header, place)?;
        let (index, bytes) = (number(&header[..2]), number(&header[8..]));
        // Index 0 is free space, whose size counts its header and everything.
        let step = if index == 0 { bytes } else { OBJECT_HEADER.saturating_add(padded(bytes)) };
        if step == 0 {
            return Ok(true);
        }
        place = place.saturating_add(step);
    }
    Ok(false)
}

/// Rounded up to whole multiples of [`ALIGNED`].
fn padded(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(ALIGNED).unwrap_or(u64::MAX)
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
        for place in [3, PIECE as usize - 2, 2 * PIECE as usize + 5] {
            bytes[place..place + 4].copy_from_slice(SIGNATURE);
        }
        std::io::Write::write_all(&mut file, &bytes).expect("written");
        let gap = Extent { offset: 3, bytes: bytes.len() as u64 - 3 };
        assert_eq!(signatures(&file, gap).expect("read"), [3, PIECE - 2, 2 * PIECE + 5]);
    }
}
