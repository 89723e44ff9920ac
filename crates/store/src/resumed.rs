//! Are the rows of an unfinished file still those that were written?
//!
//! A run that goes on would carry damage into the finished file, under checksums that say nothing is wrong. So what the
//! journal speaks of is read once and held against the checksums of its blocks, and everything that lies around the rows
//! against the checksum that the journal has of it.

use crate::checksums::{BLOCK_ROWS, checksum};
use crate::error::StoreError;
use crate::journal::Journal;
use crate::layout::{self, Extent, Layout, Located, RowDataset};
use crc32fast::Hasher;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use untangle_schema::{CaptureManifest, Fault};

/// Holds the unfinished file at `path` against its journal.
///
/// # Errors
/// [`StoreError::Refused`] for bytes that are not those that were written; when reading fails.
pub(crate) fn check(path: &Path, journal: &Journal) -> Result<(), StoreError> {
    let located = Layout::locate(&layout::open(path)?, path, &journal.manifest)?;
    let file = File::open(path).map_err(StoreError::io(path))?;
    if frame(path, &file, &located)? != journal.frame {
        return changed(path, "what lies around its rows");
    }
    let open = journal.checksums.iter().map(|running| running.crc());
    for (dataset, open) in layout::row_datasets(&journal.manifest).iter().zip(open) {
        if let Some(row) = damaged_row(path, &file, (&located, dataset), (journal.rows_done, open))? {
            return changed(path, &format!("`{}` in the block of row {row}", dataset.name));
        }
    }
    Ok(())
}

fn changed(path: &Path, what: &str) -> Result<(), StoreError> {
    let at = path.display();
    let problem = format!("was changed after it was written: {what}; remove {at}*, or pass --force to start afresh");
    Err(StoreError::Refused { path: path.to_owned(), problem, fault: Fault::BadInput })
}

/// The first row of the first block that does not have its checksum; `open` is that of the block that is not full.
fn damaged_row(
    path: &Path,
    file: &File,
    (located, dataset): (&Layout, &RowDataset),
    (rows, open): (u64, u32),
) -> Result<Option<u64>, StoreError> {
    let place = located.extent(&dataset.name).offset;
    let sums = located.extent(&layout::checksums(&dataset.name)).offset;
    let block_bytes = BLOCK_ROWS * dataset.row_bytes as u64;
    let mut bytes = Vec::new();
    for block in 0..rows.div_ceil(BLOCK_ROWS) {
        let (first, end) = (block * BLOCK_ROWS, rows.min((block + 1) * BLOCK_ROWS));
        bytes.resize((end - first) as usize * dataset.row_bytes, 0);
        file.read_exact_at(&mut bytes, place + block * block_bytes).map_err(StoreError::io(path))?;
        let mut stored = open.to_le_bytes();
        if end - first == BLOCK_ROWS {
            file.read_exact_at(&mut stored, sums + 4 * block).map_err(StoreError::io(path))?;
        }
        if checksum(&bytes) != u32::from_le_bytes(stored) {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// CRC-32 of the manifest and of everything that is in no dataset: where HDF5 says what lies where.
pub(crate) fn frame_of(path: &Path, manifest: &CaptureManifest) -> Result<u32, StoreError> {
    let located = Layout::locate(&layout::open(path)?, path, manifest)?;
    frame(path, &File::open(path).map_err(StoreError::io(path))?, &located)
}

fn frame(path: &Path, file: &File, located: &Layout) -> Result<u32, StoreError> {
    let contiguous = |(name, located): (&str, &Located)| match located {
        Located::Contiguous(Extent { offset, bytes }) if name != layout::MANIFEST => Some((*offset, offset + bytes)),
        _ => None,
    };
    let mut written: Vec<(u64, u64)> = located.all().filter_map(contiguous).collect();
    written.sort_unstable();
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    let (mut hasher, mut at, mut bytes) = (Hasher::new(), 0, Vec::new());
    for (offset, end) in written.into_iter().chain([(size, size)]) {
        bytes.resize(offset.saturating_sub(at) as usize, 0);
        file.read_exact_at(&mut bytes, at).map_err(StoreError::io(path))?;
        hasher.update(&bytes);
        at = at.max(end);
    }
    Ok(hasher.finalize())
}
