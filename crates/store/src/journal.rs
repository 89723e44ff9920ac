//! How far is an unfinished file? The only thing that a resume believes.
//!
//! One small file, replaced as a whole after the data it speaks of are on disk: a line that names the format, the
//! length of a JSON header (u64), the header, the statistics' exact state (u64 words), all little-endian, and the
//! SHA-256 of everything before.

use crate::checksums::Running;
use crate::durable;
use crate::error::StoreError;
use crate::layout::row_datasets;
use crate::statistics::Accumulator;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::path::Path;
use untangle_schema::CaptureManifest;

const MAGIC: &[u8] = b"untangle-journal 3\n";
const DIGEST: usize = 32;

/// What is known about an unfinished file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Journal {
    /// The settings that it was begun with.
    pub(crate) manifest: CaptureManifest,
    /// Rows that are on disk.
    pub(crate) rows_done: u64,
    /// CRC-32 of what lies around the rows, see [`crate::resumed`].
    pub(crate) frame: u32,
    /// Statistics of these rows, one per hook.
    pub(crate) statistics: Vec<Accumulator>,
    /// Checksums of the block of rows that is open, one per dataset with rows, in the order of the file.
    pub(crate) checksums: Vec<Running>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    manifest: CaptureManifest,
    rows_done: u64,
    frame: u32,
    checksums: Vec<u32>,
}

impl Journal {
    /// No rows yet, in a file with this frame.
    pub(crate) fn new(manifest: CaptureManifest, frame: u32) -> Self {
        let statistics = manifest.hooks.iter().map(|hook| Accumulator::new(hook.d_in)).collect();
        let checksums = vec![Running::default(); row_datasets(&manifest).len()];
        Journal { manifest, rows_done: 0, frame, statistics, checksums }
    }

    /// Replaces the journal at `path`.
    pub(crate) fn save(&self, path: &Path) -> Result<(), StoreError> {
        let checksums = self.checksums.iter().map(|running| running.crc()).collect();
        let (manifest, rows_done, frame) = (self.manifest.clone(), self.rows_done, self.frame);
        let header = Header { manifest, rows_done, frame, checksums };
        let header = serde_json::to_vec(&header).map_err(|error| StoreError::io(path)(error.into()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for word in self.statistics.iter().flat_map(Accumulator::words) {
            bytes.extend(word.to_le_bytes());
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        durable::replace(path, &bytes)
    }

    /// The journal at `path`; none where there is none. `partial` is the file that it speaks of.
    ///
    /// # Errors
    /// [`StoreError::JournalDamaged`] where it does not carry its own checksum.
    pub(crate) fn load(path: &Path, partial: &Path) -> Result<Option<Self>, StoreError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(StoreError::io(path))?,
        };
        let damaged = || StoreError::JournalDamaged { path: path.to_owned(), partial: partial.to_owned() };
        parse(&bytes).map(Some).ok_or_else(damaged)
    }
}

fn parse(bytes: &[u8]) -> Option<Journal> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if Sha256::digest(content).as_slice() != digest {
        return None;
    }
    let (length, rest) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (header, words) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let Header { manifest, rows_done, frame, checksums } = serde_json::from_slice(header).ok()?;
    if checksums.len() != row_datasets(&manifest).len() {
        return None;
    }
    let checksums = checksums.into_iter().map(Running::resumed).collect();
    let words: Vec<u64> = words.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mut words = words.as_slice();
    let mut statistics = Vec::new();
    for column in &manifest.hooks {
        let (own, others) = words.split_at_checked(Accumulator::n_words(column.d_in)?)?;
        statistics.push(Accumulator::from_words(column.d_in, own)?);
        words = others;
    }
    words.is_empty().then_some(Journal { manifest, rows_done, frame, statistics, checksums })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_was_saved_is_loaded_and_any_damage_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let manifest = testing::manifest(10, &[3, 2]);
        let mut journal = Journal { rows_done: 1, ..Journal::new(manifest, 7) };
        journal.statistics[0].add(&[1.0, 2.0, 0.1], &[0], &[5.01]);
        journal.checksums[3].add(0, &[7, 8], 4);
        assert_eq!(Journal::load(&path, &path).expect("absent is fine"), None);
        journal.save(&path).expect("saved");
        assert_eq!(Journal::load(&path, &path).expect("loaded"), Some(journal));
        let bytes = std::fs::read(&path).expect("read");
        for (at, cut) in [(0, bytes.len()), (40, bytes.len()), (bytes.len() - 1, bytes.len()), (0, 0), (0, 31), (0, 90)]
        {
            let mut bytes = bytes[..cut].to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
            std::fs::write(&path, bytes).expect("written");
            assert!(
                matches!(Journal::load(&path, &path), Err(StoreError::JournalDamaged { .. })),
                "at {at}, cut {cut}"
            );
        }
    }
}
