//! Which datasets does an activation file have? The names and types of `activations/README.md`, version 1.

mod create;
mod locate;
mod storage;
mod text;
mod visit;

pub(crate) use create::{Packing, create};
pub(crate) use locate::{Extent, Layout, Located, dataset, extent_of, is_little_endian, open, unreadable};
pub(crate) use storage::{in_this_file, stored, written_in_pieces};
pub(crate) use text::{strings_end, text};
pub(crate) use visit::visit_datasets;

use crate::checksums;
use crate::norms::BINS;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use untangle_schema::{CaptureManifest, HookPoint, StoreDtype};

/// Value of the root attribute [`FORMAT_ATTRIBUTE`].
pub(crate) const FORMAT: &str = "untangle-activations";
/// Version that this program writes and reads.
pub(crate) const VERSION: u32 = 1;
pub(crate) const FORMAT_ATTRIBUTE: &str = "format";
pub(crate) const VERSION_ATTRIBUTE: &str = "version";
/// Attribute of an activation dataset: `f32`, `f16` or `bf16`.
pub(crate) const DTYPE_ATTRIBUTE: &str = "dtype";
/// Attribute of the group of checksums: rows per checksum.
pub(crate) const ROWS_ATTRIBUTE: &str = "rows";

pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const COMPLETE: &str = "complete";
pub(crate) const TOKENS: &str = "tokens";
pub(crate) const DOCUMENTS: &str = "documents";
pub(crate) const POSITIONS: &str = "positions";
pub(crate) const OFFSETS: &str = "offsets";
pub(crate) const FLAGS: &str = "flags";
pub(crate) const NORMS: &str = "norms";
pub(crate) const ACTIVATIONS: &str = "activations";
pub(crate) const STATISTICS: &str = "statistics";
pub(crate) const CHECKSUMS: &str = "checksums";
/// The two sets of rows that have statistics, in the order of `ColumnStatistics`.
pub(crate) const SUBSETS: [&str; 2] = ["all", "ordinary"];
/// The statistics of a subset.
pub(crate) const MEASURES: [&str; 5] = ["count", "mean", "second_moment", "norm", "norm_histogram"];
/// The statistic that belongs to a hook point as a whole.
pub(crate) const OUTLIER_NORM: &str = "outlier_norm";

/// Name of the dataset of a hook point.
pub(crate) fn activations(hook: HookPoint) -> String {
    format!("{ACTIVATIONS}/{hook}")
}

/// Name of the norms of a hook point.
pub(crate) fn norms(hook: HookPoint) -> String {
    format!("{NORMS}/{hook}")
}

/// Name of a statistic of a hook point's subset.
pub(crate) fn statistic(hook: HookPoint, subset: &str, measure: &str) -> String {
    format!("{STATISTICS}/{hook}/{subset}/{measure}")
}

/// Name of the outliers' threshold of a hook point.
pub(crate) fn outlier_norm(hook: HookPoint) -> String {
    format!("{STATISTICS}/{hook}/{OUTLIER_NORM}")
}

/// Name of the checksums of a dataset, or of all statistics of a hook point.
pub(crate) fn checksums(of: &str) -> String {
    format!("{CHECKSUMS}/{of}")
}

/// Name under which the statistics of a hook point have their checksum.
pub(crate) fn statistics(hook: HookPoint) -> String {
    format!("{STATISTICS}/{hook}")
}

/// The statistics of a hook point in the order in which they are summed up: datasets of `statistics/HOOK`.
pub(crate) fn statistics_of(hook: HookPoint) -> Vec<String> {
    let measures = |subset| MEASURES.map(|measure| statistic(hook, subset, measure));
    SUBSETS.into_iter().flat_map(measures).chain([outlier_norm(hook)]).collect()
}

/// A dataset with one entry per row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowDataset {
    pub(crate) name: String,
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
}

/// The datasets that have rows, in the order of the file.
pub(crate) fn row_datasets(manifest: &CaptureManifest) -> Vec<RowDataset> {
    let about = [(TOKENS, 4), (DOCUMENTS, 4), (POSITIONS, 4), (OFFSETS, 8), (FLAGS, 1)];
    let about = about.map(|(name, row_bytes)| RowDataset { name: name.to_owned(), row_bytes });
    let norms = manifest.hooks.iter().map(|column| RowDataset { name: norms(column.hook), row_bytes: 4 });
    let rows = manifest.hooks.iter().map(|column| RowDataset {
        name: activations(column.hook),
        row_bytes: column.d_in.saturating_mul(manifest.store_dtype.size()),
    });
    about.into_iter().chain(norms).chain(rows).collect()
}

/// HDF5 type of stored activations; bf16, which HDF5 lacks, lies in u16.
fn element_type(dtype: StoreDtype) -> TypeDescriptor {
    match dtype {
        StoreDtype::F32 => TypeDescriptor::Float(FloatSize::U4),
        StoreDtype::F16 => TypeDescriptor::Float(FloatSize::U2),
        StoreDtype::Bf16 => TypeDescriptor::Unsigned(IntSize::U2),
    }
}

/// One dataset as the specification wants it.
struct Specified {
    name: String,
    element: TypeDescriptor,
    shape: Vec<usize>,
}

const BYTE: TypeDescriptor = TypeDescriptor::Unsigned(IntSize::U1);
const WORD: TypeDescriptor = TypeDescriptor::Unsigned(IntSize::U4);
const LONG: TypeDescriptor = TypeDescriptor::Unsigned(IntSize::U8);
const SINGLE: TypeDescriptor = TypeDescriptor::Float(FloatSize::U4);
const DOUBLE: TypeDescriptor = TypeDescriptor::Float(FloatSize::U8);

/// Every dataset of a file with this manifest, in the order in which they are created.
fn specified(manifest: &CaptureManifest, manifest_bytes: usize) -> Vec<Specified> {
    let n = manifest.n_rows as usize;
    let mut all = vec![
        (MANIFEST.to_owned(), TypeDescriptor::FixedUnicode(manifest_bytes), vec![]),
        (COMPLETE.to_owned(), BYTE, vec![]),
    ];
    for column in &manifest.hooks {
        let (hook, d) = (column.hook, column.d_in);
        let types = [(LONG, vec![]), (DOUBLE, vec![d]), (DOUBLE, vec![d]), (DOUBLE, vec![3]), (LONG, vec![BINS])];
        for subset in SUBSETS {
            let measures = MEASURES.into_iter().zip(types.clone());
            all.extend(measures.map(|(measure, (element, shape))| (statistic(hook, subset, measure), element, shape)));
        }
        all.push((outlier_norm(hook), DOUBLE, vec![]));
    }
    all.push((checksums(MANIFEST), WORD, vec![]));
    all.extend(manifest.hooks.iter().map(|column| (checksums(&statistics(column.hook)), WORD, vec![])));
    let of_rows = vec![checksums::blocks(manifest.n_rows) as usize];
    all.extend(row_datasets(manifest).into_iter().map(|rows| (checksums(&rows.name), WORD, of_rows.clone())));
    all.extend([TOKENS, DOCUMENTS, POSITIONS].map(|name| (name.to_owned(), WORD, vec![n])));
    all.extend([(OFFSETS.to_owned(), LONG, vec![n]), (FLAGS.to_owned(), BYTE, vec![n])]);
    all.extend(manifest.hooks.iter().map(|column| (norms(column.hook), SINGLE, vec![n])));
    let element = element_type(manifest.store_dtype);
    all.extend(manifest.hooks.iter().map(|c| (activations(c.hook), element.clone(), vec![n, c.d_in])));
    all.into_iter().map(|(name, element, shape)| Specified { name, element, shape }).collect()
}

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
    let sums = checksums::blocks(manifest.n_rows).saturating_mul(4 * rows.len() as u64);
    let fixed = beside.fold(HEADERS + 3 * manifest_bytes, usize::saturating_add) as u64;
    manifest.n_rows.saturating_mul(row).saturating_add(sums).saturating_add(fixed)
}
