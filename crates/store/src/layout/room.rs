//! How much room on the disk does a capture need?

use super::names::row_datasets;
use crate::checksums::blocks;
use crate::norms::BINS;
use untangle_schema::CaptureManifest;

/// Bytes that a file with this manifest will take, and generously its journal.
pub fn planned_bytes(manifest: &CaptureManifest) -> u64 {
    file_bytes(manifest, serde_json::to_string(manifest).map_or(0, |json| json.len()))
}

/// Bytes that a file with this manifest and its journal need: the rows, and generously everything else.
pub(crate) fn file_bytes(manifest: &CaptureManifest, manifest_bytes: usize) -> u64 {
    const HEADERS: usize = 64 << 10;
    const HEADERS_PER_HOOK: usize = 64 << 10;
    /// Mean, second moment and norms' histogram of two subsets: in the file, in the journal and in its replacement.
    const PER_WIDTH: usize = 3 * 2 * 2 * 8;
    const HISTOGRAMS: usize = 3 * 2 * BINS * 8;
    let beside = manifest.hooks.iter().map(|hook| HEADERS_PER_HOOK + HISTOGRAMS + PER_WIDTH.saturating_mul(hook.d_in));
    let rows = row_datasets(manifest);
    let row = rows.iter().fold(0u64, |sum, rows| sum.saturating_add(rows.row_bytes as u64));
    let sums = blocks(manifest.n_rows).saturating_mul(4 * rows.len() as u64);
    let fixed = beside.fold(HEADERS + 3 * manifest_bytes, usize::saturating_add) as u64;
    manifest.n_rows.saturating_mul(row).saturating_add(sums).saturating_add(fixed)
}
