//! What are the parts of an activation file called? The names of `activations/README.md`, version 1.

use untangle_schema::{CaptureManifest, HookPoint};

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
