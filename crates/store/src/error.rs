//! What can go wrong with activation files.

use crate::differences::Difference;
use crate::fault::{few, join, listing};
use std::path::PathBuf;
use untangle_schema::{Fault, HookPoint, StoreDtype};

/// An error of this crate; every variant that concerns a file names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file system cannot hold the file.
    #[error(
        "{path}: no space: the file needs {needed} bytes, the disk has {available}; free some, write elsewhere, \
         or capture fewer tokens or hooks",
        path = .path.display()
    )]
    DiskFull {
        /// The file that was to be written.
        path: PathBuf,
        /// Its size.
        needed: u64,
        /// What the file system has left.
        available: u64,
    },
    /// The finished file is there already.
    #[error("{path} exists already and is never overwritten; choose another name or pass --force", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// An output, something at the names of its unfinished work, or an input of a run that goes on is not what it may be.
    #[error("{path} {problem}", path = .path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
        /// Of which kind that is.
        fault: Fault,
    },
    /// Another process is at work on the same output.
    #[error("{path} is being written by another process; wait until it ends, or stop it", path = .path.display())]
    Locked {
        /// The output.
        path: PathBuf,
    },
    /// An unfinished output was begun with other settings.
    #[error(
        "{partial} was begun with other settings ({differences}); finish it with those, remove {partial}*, or \
         pass --force to start afresh",
        partial = .partial.display(),
        differences = join(.differences)
    )]
    OtherSettings {
        /// The unfinished output.
        partial: PathBuf,
        /// The fields that differ.
        differences: Vec<Difference>,
    },
    /// The journal of an unfinished output does not carry its own checksum.
    #[error(
        "{path}: the journal is damaged; remove {partial}* to start afresh",
        path = .path.display(),
        partial = .partial.display()
    )]
    JournalDamaged {
        /// The journal.
        path: PathBuf,
        /// The unfinished output.
        partial: PathBuf,
    },
    /// An activation computed by the model is NaN or infinite.
    #[error(
        "{path}: the model gave a value that is not finite at `{hook}`, row {row}; compute in f32 (--dtype f32), \
         or check the weights",
        path = .path.display()
    )]
    NotFiniteActivation {
        /// The file being written.
        path: PathBuf,
        /// The hook point.
        hook: HookPoint,
        /// The row.
        row: u64,
    },
    /// A finite activation is too large for the stored type.
    #[error(
        "{path}: {value} at `{hook}`, row {row}, does not fit {dtype}; store with {remedy}",
        path = .path.display(),
        remedy = if *.dtype == StoreDtype::F16 { "--store f32 or --store bf16" } else { "--store f32" }
    )]
    Overflow {
        /// The file being written.
        path: PathBuf,
        /// The hook point.
        hook: HookPoint,
        /// The row.
        row: u64,
        /// The value.
        value: f32,
        /// The stored type.
        dtype: StoreDtype,
    },
    /// A writer was finished before all rows of its manifest had come.
    #[error("{path}: finished after {done} of {total} rows", path = .path.display())]
    Unfinished {
        /// The file.
        path: PathBuf,
        /// Rows written.
        done: u64,
        /// Rows promised.
        total: u64,
    },
    /// Rows handed to a writer contradict its manifest.
    #[error("{path}: {problem}", path = .path.display())]
    BadRows {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: &'static str,
    },
    /// A path does not exist.
    #[error("{path}: no such file", path = .path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file's name does not say what it is.
    #[error("{path}: unknown kind of file; give FILE.h5, FILE.h5:/dataset, FILE.npy, FILE.npz:key or FILE.safetensors:key", path = .path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// HDF5 cannot open the file.
    #[error(
        "{path} cannot be read as HDF5 ({detail}); it is cut short, damaged or of another format: fetch or \
         capture it again",
        path = .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// HDF5's own words.
        detail: String,
    },
    /// Data end after the file does.
    #[error(
        "{path} is cut short: `{object}` ends at byte {end}, the file has {size}; fetch or capture it again",
        path = .path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What reaches beyond the end.
        object: String,
        /// Where it ends.
        end: u64,
        /// Size of the file.
        size: u64,
    },
    /// An HDF5 file of somebody else was given without a dataset.
    #[error(
        "{path} is not an activation file of Untangle; name one of its datasets, {path}:/DATASET ({holds})",
        path = .path.display(),
        holds = listing(.holds)
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// The datasets it holds.
        holds: Vec<String>,
    },
    /// The format is newer than this program.
    #[error(
        "{path} has format version {found}; this program reads version {supported}: use a newer untangle",
        path = .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        supported: u32,
    },
    /// The completion mark is absent.
    #[error("{path} has no completion mark: its capture was not finished; run the same capture again", path = .path.display())]
    NotComplete {
        /// The file.
        path: PathBuf,
    },
    /// The manifest does not parse.
    #[error("{path}: the manifest is damaged: {source}", path = .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Something in an activation file is not as specified.
    #[error(
        "{path}: `{object}` is {found} where the format has {expected}; the file is damaged",
        path = .path.display()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// Dataset or attribute.
        object: String,
        /// What the specification says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A header of a `.npy`, `.npz` or `.safetensors` file makes no sense.
    #[error("{path}: bad {format} header: {problem}", path = .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A dataset is not a matrix.
    #[error("{path}: {object} has shape {shape:?}; activations are a matrix [rows, width], reshape to (-1, width)", path = .path.display())]
    NotAMatrix {
        /// The file.
        path: PathBuf,
        /// The dataset.
        object: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// Elements are of a type that is not read.
    #[error("{path}: {object} holds {found}; {remedy}", path = .path.display())]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The dataset.
        object: String,
        /// Its type.
        found: String,
        /// What makes numbers of it that are read.
        remedy: String,
    },
    /// The elements of a dataset lie elsewhere, nowhere, in pieces that are too large, or packed with what is not here.
    #[error("{path}: `{object}` {problem}; {remedy}", path = .path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// The dataset.
        object: String,
        /// How it is stored.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A dataset or key does not exist.
    #[error("{path} has no `{object}` ({holds})", path = .path.display(), holds = listing(.holds))]
    NoSuchObject {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        object: String,
        /// What there is.
        holds: Vec<String>,
    },
    /// A file of several matrices was given without a key.
    #[error("{path}: name one of its matrices, {path}:KEY ({holds})", path = .path.display(), holds = listing(.holds))]
    KeyNeeded {
        /// The file.
        path: PathBuf,
        /// The keys.
        holds: Vec<String>,
    },
    /// Files read as one store do not belong together.
    #[error("{path} cannot be read together with {first}: {field} differs", path = .path.display(), first = .first.display())]
    ShardMismatch {
        /// The file.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// The field of the manifest that differs, or `d` or `dtype` of a matrix.
        field: String,
    },
    /// Two files hold the same part of a capture.
    #[error("{path} and {first} both hold shard {shard} of their capture; its rows would count twice", path = .path.display(), first = .first.display())]
    ShardTwice {
        /// The file.
        path: PathBuf,
        /// The other one.
        first: PathBuf,
        /// Number of the part.
        shard: String,
    },
    /// Parts of a capture were named, but not all.
    #[error("of the capture of {path}, shard {shards} is missing: name all of its files, or one alone", path = .path.display(), shards = few(.missing))]
    ShardsMissing {
        /// One of the files.
        path: PathBuf,
        /// Numbers of the parts that were not named.
        missing: Vec<String>,
    },
    /// The same file was named twice.
    #[error("{path} is named twice; its rows would count twice", path = .path.display())]
    NamedTwice {
        /// The file.
        path: PathBuf,
    },
    /// No file was named.
    #[error("no activation file was named")]
    NothingNamed,
    /// A hook that the store lacks was asked for.
    #[error("{store} has no column `{column}` ({holds})", holds = listing(.holds))]
    NoColumn {
        /// The store.
        store: String,
        /// What was asked for.
        column: String,
        /// The columns there are.
        holds: Vec<String>,
    },
    /// The store has no rows or no columns.
    #[error("{path} holds no rows", path = .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Fewer rows to train on than a batch takes.
    #[error(
        "{store} has {rows} rows to train on (of {total}), fewer than a batch of {batch}; use a smaller batch or \
         capture more"
    )]
    TooFewRows {
        /// The store.
        store: String,
        /// Rows to train on.
        rows: u64,
        /// All rows.
        total: u64,
        /// Rows per batch.
        batch: usize,
    },
    /// A batch of no rows was asked for.
    #[error("a batch needs at least one row")]
    EmptyBatch,
    /// A held-out part that leaves nothing on one side.
    #[error("held out {asked}: it must leave rows on both sides")]
    HeldOut {
        /// What was asked for.
        asked: String,
    },
    /// A value is NaN or infinite.
    #[error(
        "{path}: `{column}` holds a value that is not finite{or} in row {row}; capture again, or leave such rows out",
        path = .path.display(),
        or = if *.rounded { ", or too large for float32," } else { "" }
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Row in that file.
        row: u64,
        /// Whether the file has doubles, which are rounded.
        rounded: bool,
    },
    /// A source of rows that is no file failed.
    #[error("{source}")]
    Source {
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Of which kind that is.
        fault: Fault,
    },
    /// The user asked to stop while rows were waited for.
    #[error("interrupted while waiting for rows; the same command continues from there")]
    Interrupted,
    /// A reader thread ended without an answer.
    #[error("the thread that reads {store} ended unexpectedly")]
    ReaderGone {
        /// The store.
        store: String,
    },
}
