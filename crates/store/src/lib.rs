//! Activation files on disk, and the row sources that trainers read.

#[cfg(test)]
extern crate self as untangle_store;

mod begin;
mod beside;
mod checksums;
mod element;
mod foreign;
mod formats;
mod inputs;
mod layout;
mod matrix;
mod place;
mod shards;
mod sums;
mod sys;
mod window;

pub mod differences;
pub mod durable;
pub mod error;
pub mod examine;
mod fault;
pub mod folder;
mod join;
mod journal;
pub mod lock;
pub mod memory;
pub mod norms;
pub mod order;
pub mod output;
pub mod packed;
mod pairing;
pub mod partial;
mod resumed;
pub mod scan;
pub mod set;
pub mod shuffle;
pub mod source;
pub mod split;
pub mod statistics;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod testing;
pub mod writer;

pub use differences::{Difference, differences};
pub use error::StoreError;
pub use examine::{Examination, Violation, examine};
pub use folder::PartialFolder;
pub use layout::planned_bytes;
pub use lock::Lock;
pub use memory::MemoryRows;
pub use norms::NormHistogram;
pub use output::Artefact;
pub use partial::Partial;
pub use scan::{Part, Scan};
pub use set::{ActivationSet, Column};
pub use shuffle::{ShuffleConfig, Shuffled};
pub use source::{RowBlock, RowSource};
pub use split::{HeldOut, Split};
pub use statistics::{ColumnStatistics, Statistics};
pub use writer::{Rows, StoreWriter};
