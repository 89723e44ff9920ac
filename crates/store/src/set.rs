//! Which rows and columns does a store hold, with those of the stores that are read beside it?

use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::formats::Shard;
use crate::pairing::Pairing;
use crate::place::Place;
use crate::shards::Shards;
use crate::source::RowBlock;
use crate::statistics::ColumnStatistics;
use crate::sums;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use untangle_schema::capture::row_flags;
use untangle_schema::{CaptureManifest, HookPoint, StoreDtype};

/// One column of a store: the activations of one hook point, or a matrix from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Hook point, dataset, key or file stem.
    pub name: String,
    /// Width of a row.
    pub d: usize,
    /// The hook point, where the name is one.
    pub hook: Option<HookPoint>,
    /// Type on disk.
    pub dtype: StoreDtype,
}

/// One or several activation files that read as one, validated before the first row is handed out.
///
/// ```
/// use untangle_store::{ActivationSet, RowBlock};
///
/// // Three rows of two numbers as numpy.save writes them; files of `untangle capture` are opened in the same way.
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("rows.npy");
/// let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}");
/// let rows: Vec<u8> = [0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0].into_iter().flat_map(f32::to_le_bytes).collect();
/// std::fs::write(&path, [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), &rows].concat())?;
///
/// let set = ActivationSet::open(&[path.to_string_lossy()])?;
/// let mut block = RowBlock::default();
/// set.read_rows(1..3, &[0], &mut block)?;
/// assert_eq!((set.n_rows(), &block.columns[0][..]), (3, &[2.0, 3.0, 4.0, 5.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ActivationSet {
    own: Shards,
    columns: Vec<Column>,
    /// Per column, the norm from which on ordinary rows are outliers; infinity where none are.
    outlier_norms: Vec<f64>,
    /// Stores whose columns follow its own.
    beside: Vec<Beside>,
}

/// A store that is read beside another one, row by row the same token.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) set: ActivationSet,
    pub(crate) pairing: Pairing,
    /// Number that its first column has in the other store.
    first_column: usize,
}

impl ActivationSet {
    /// Opens `FILE.h5` (our format), `FILE.h5:/dataset`, `FILE.npy`, `FILE.npz:key` or `FILE.safetensors:key`; several files are read
    /// one after the other as one store, the shards of one capture in their own order.
    ///
    /// # Errors
    /// Where a file is missing, damaged or of the wrong kind, or where files do not belong together.
    pub fn open<S: AsRef<str>>(places: &[S]) -> Result<Self, StoreError> {
        let places = places.iter().map(|text| Place::parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let own = Shards::open(&places)?;
        let columns = own.files()[0].columns.iter().map(|column| Column {
            name: column.name.clone(),
            d: column.d,
            hook: column.name.parse().ok(),
            dtype: column.dtype,
        });
        let columns: Vec<Column> = columns.collect();
        let outlier_norm = |column| own.statistics(column).map_or(f64::INFINITY, |s| s.outlier_norm());
        let outlier_norms = (0..columns.len()).map(outlier_norm).collect();
        Ok(ActivationSet { own, columns, outlier_norms, beside: Vec::new() })
    }

    /// The store with the columns of another behind its own, which are read from the rows that this pairs with its rows.
    pub(crate) fn and_beside(mut self, set: ActivationSet, pairing: Pairing) -> Self {
        let first_column = self.columns.len();
        self.columns.extend_from_slice(&set.columns);
        self.outlier_norms.extend_from_slice(&set.outlier_norms);
        self.beside.push(Beside { set, pairing, first_column });
        self
    }

    /// Its own files.
    pub(crate) fn own(&self) -> &Shards {
        &self.own
    }

    /// The stores beside this one, in the order of their columns.
    pub(crate) fn beside(&self) -> &[Beside] {
        &self.beside
    }

    /// The store beside this one that has a column, and the number of the column there; none of its own.
    pub(crate) fn beside_of(&self, column: usize) -> Option<(&Beside, usize)> {
        let beside = self.beside.iter().rev().find(|beside| beside.first_column <= column)?;
        Some((beside, column - beside.first_column))
    }

    /// Number of rows.
    pub fn n_rows(&self) -> u64 {
        self.own.n_rows()
    }

    /// The columns, in the order of the file.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Index of the column `name`.
    ///
    /// # Errors
    /// [`StoreError::NoColumn`], which lists those there are.
    pub fn column(&self, name: &str) -> Result<usize, StoreError> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| StoreError::NoColumn {
            store: self.name(),
            column: name.to_owned(),
            holds: self.columns.iter().map(|column| column.name.clone()).collect(),
        })
    }

    /// What was captured; of several shards, the first one's manifest with rows, documents and corpus of all. None for
    /// matrices from elsewhere.
    pub fn manifest(&self) -> Option<&CaptureManifest> {
        self.own.manifest()
    }

    /// Number of documents, where rows have documents.
    pub fn n_documents(&self) -> Option<u64> {
        self.manifest().map(|manifest| manifest.n_documents)
    }

    /// Statistics of a column over all shards; none for matrices from elsewhere.
    pub fn statistics(&self, column: usize) -> Option<ColumnStatistics> {
        match self.beside_of(column) {
            Some((beside, local)) => beside.set.statistics(local),
            None => self.own.statistics(column),
        }
    }

    /// File names without folders, for messages and provenance.
    pub fn names(&self) -> Vec<String> {
        let name = |shard: &Shard| shard.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.own.files().iter().map(name).chain(self.beside.iter().flat_map(|beside| beside.set.names())).collect()
    }

    /// The files' names in one string.
    pub fn name(&self) -> String {
        self.names().join(" + ")
    }

    /// SHA-256 (hexadecimal) over what is known about the content: the manifests and row counts, or name, size, shape,
    /// type and a sample of the elements of matrices from elsewhere. Cheap: at most 4 MiB of rows are read of a file.
    pub fn content_identity(&self) -> String {
        let describe = |shard: &Shard| -> Value {
            let name = shard.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match &shard.captured {
                Some(captured) => json!({"manifest": captured.manifest, "rows": shard.n_rows}),
                None => {
                    let column = &shard.columns[0];
                    let bytes = fs::metadata(&shard.path).map_or(0, |about| about.len());
                    // What cannot be read is like no other content, and the reader of its rows will say why.
                    let sample = sums::sample(column).map_or_else(|error| error.to_string(), |sum| sum.to_string());
                    json!({"name": name, "bytes": bytes, "column": column.name, "rows": column.n, "d": column.d,
                        "dtype": column.dtype, "sample": sample})
                }
            }
        };
        let beside = self.beside.iter().map(|beside| Value::from(beside.set.content_identity()));
        let all = Value::Array(self.own.files().iter().map(describe).chain(beside).collect());
        Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The files of this store and of those beside it.
    pub(crate) fn all_shards(&self) -> Vec<&Shard> {
        self.own.files().iter().chain(self.beside.iter().flat_map(|beside| beside.set.all_shards())).collect()
    }

    /// Where the files lie, those of stores beside included.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.all_shards().into_iter().map(|shard| shard.path.clone()).collect()
    }

    /// What users should know of how the files are read, in sentences without an end.
    pub fn notes(&self) -> Vec<String> {
        let rounded = self.all_shards().into_iter().filter(|shard| shard.columns.iter().any(|column| column.rounded));
        let note = |shard: &Shard| format!("{}: its float64 is rounded to float32", shard.path.display());
        rounded.map(note).collect()
    }

    /// Reads contiguous rows with these columns (none for tokens and positions alone) into `block`.
    ///
    /// # Errors
    /// When reading fails or a value is not finite.
    ///
    /// # Panics
    /// Where `rows` reaches beyond [`ActivationSet::n_rows`] or a column does not exist.
    pub fn read_rows(&self, rows: Range<u64>, columns: &[usize], block: &mut RowBlock) -> Result<(), StoreError> {
        block.reset(columns.len());
        self.append_about(rows.clone(), columns, block)?;
        let n = (rows.end - rows.start) as usize;
        for (out, &column) in block.columns.iter_mut().zip(columns) {
            let mut elements = Elements::zeros(self.columns[column].dtype, n * self.columns[column].d);
            self.read_elements(column, rows.clone(), &mut elements, 0)?;
            elements.append_f32(0..elements.len(), out);
            if let Some(index) = first_not_finite(out) {
                return Err(self.not_finite(column, rows.start + (index / self.columns[column].d) as u64));
            }
        }
        Ok(())
    }

    /// The error for a value of `column` in the global `row` that is not finite: it names the row within its file.
    pub(crate) fn not_finite(&self, column: usize, row: u64) -> StoreError {
        if let Some((beside, local)) = self.beside_of(column) {
            return beside.set.not_finite(local, beside.pair_of(row));
        }
        self.own.not_finite(column, row)
    }

    /// Reads `rows` of a column into `out` from element `at` on.
    pub(crate) fn read_elements(
        &self,
        column: usize,
        rows: Range<u64>,
        out: &mut Elements,
        at: usize,
    ) -> Result<(), StoreError> {
        if let Some((beside, local)) = self.beside_of(column) {
            return beside.read_elements(local, rows, out, at);
        }
        self.own.read_elements(column, rows, out, at)
    }

    /// Appends number, token, document, position, offset and flags of `rows` to `block`; see
    /// [`ActivationSet::append_flags`] for `columns`.
    pub(crate) fn append_about(
        &self,
        rows: Range<u64>,
        columns: &[usize],
        block: &mut RowBlock,
    ) -> Result<(), StoreError> {
        self.own.append_about(rows.clone(), block)?;
        self.append_flags(rows, columns, &mut block.flags)
    }

    /// Appends the flags of `rows`, with [`row_flags::OUTLIER`] where the row is one in any of these columns.
    pub(crate) fn append_flags(
        &self,
        rows: Range<u64>,
        columns: &[usize],
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let start = out.len();
        self.own.append_flags(rows.clone(), out)?;
        for &column in columns.iter().filter(|column| self.outlier_norms[**column].is_finite()) {
            let norms = self.norms(column, rows.clone())?;
            for (flags, norm) in out[start..].iter_mut().zip(norms) {
                let outlier = *flags & row_flags::ANY_SPECIAL == 0 && f64::from(norm) >= self.outlier_norms[column];
                *flags |= if outlier { row_flags::OUTLIER } else { 0 };
            }
        }
        Ok(())
    }

    /// Norms of a column's rows; none of matrices from elsewhere.
    pub(crate) fn norms(&self, column: usize, rows: Range<u64>) -> Result<Vec<f32>, StoreError> {
        if let Some((beside, local)) = self.beside_of(column) {
            return beside.norms(local, rows);
        }
        self.own.norms(column, rows)
    }

    /// Announces that the activations of `rows` will be read soon.
    pub(crate) fn announce(&self, rows: Range<u64>, columns: &[usize]) {
        for &column in columns {
            match self.beside_of(column) {
                Some((beside, local)) => beside.announce(&[local], rows.clone()),
                None => self.own.announce(column, rows.clone()),
            }
        }
    }

    /// Announces that what is known about `rows` will be read soon; outliers of these columns included.
    pub(crate) fn announce_about(&self, rows: Range<u64>, columns: &[usize]) {
        self.own.announce_about(rows, columns);
    }

    /// Rows of a column that are best read together.
    pub(crate) fn granule(&self, column: usize) -> usize {
        match self.beside_of(column) {
            Some((beside, local)) => beside.set.granule(local),
            None => self.own.granule(column),
        }
    }
}

impl Beside {
    /// Reads the rows that are paired with `rows`; what has no pair stays as it is in `out`.
    fn read_elements(&self, column: usize, rows: Range<u64>, out: &mut Elements, at: usize) -> Result<(), StoreError> {
        let d = self.set.columns()[column].d;
        self.pairing.pairs(rows.clone()).try_for_each(|(own, other)| {
            let first = at + (own.start - rows.start) as usize * d;
            self.set.read_elements(column, other..other + (own.end - own.start), out, first)
        })
    }

    /// The norms of the rows that are paired with `rows`, zero where there is no pair.
    fn norms(&self, column: usize, rows: Range<u64>) -> Result<Vec<f32>, StoreError> {
        let mut norms = vec![0f32; (rows.end - rows.start) as usize];
        for (own, other) in self.pairing.pairs(rows.clone()) {
            let found = self.set.norms(column, other..other + (own.end - own.start))?;
            let first = (own.start - rows.start) as usize;
            norms[first..first + found.len()].copy_from_slice(&found);
        }
        Ok(norms)
    }

    /// Announces that these columns of the rows that are paired with `rows` will be read soon.
    fn announce(&self, columns: &[usize], rows: Range<u64>) {
        self.pairing
            .pairs(rows)
            .for_each(|(own, other)| self.set.announce(other..other + (own.end - own.start), columns));
    }

    /// The row that is paired with `row`.
    fn pair_of(&self, row: u64) -> u64 {
        self.pairing.pairs(row..row + 1).next().map_or(row, |(_, other)| other)
    }
}
