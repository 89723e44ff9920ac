//! How is an activation file laid out? `activations/README.md`, version 1: what its parts are called, what must be in it, and
//! where that lies.

mod create;
mod locate;
mod names;
mod room;
mod specified;
mod storage;
mod text;
mod visit;

pub(crate) use create::{Packing, create};
pub(crate) use locate::{Extent, Layout, Located, dataset, extent_of, is_little_endian, open, unreadable};
pub(crate) use names::{
    CHECKSUMS, COMPLETE, DOCUMENTS, DTYPE_ATTRIBUTE, FLAGS, FORMAT, FORMAT_ATTRIBUTE, MANIFEST, MEASURES, OFFSETS,
    POSITIONS, ROWS_ATTRIBUTE, RowDataset, SUBSETS, TOKENS, VERSION, VERSION_ATTRIBUTE, activations, checksums, norms,
    outlier_norm, row_datasets, statistic, statistics, statistics_of,
};
pub(crate) use room::file_bytes;
pub use room::planned_bytes;
pub(crate) use storage::{in_this_file, stored, written_in_pieces};
pub(crate) use text::{strings_end, text};
pub(crate) use visit::visit_datasets;
