//! Which rows does a store hold, over all its files?

use crate::beside::Beside;
use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::formats::{self, Captured, Shard};
use crate::inputs;
use crate::join::{self, Documents};
use crate::matrix::RowNumbers;
use crate::place::Place;
use crate::source::RowBlock;
use crate::statistics::{ColumnStatistics, Statistics};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use untangle_schema::capture::row_flags;
use untangle_schema::{CaptureManifest, HookPoint, StoreDtype};
use zerocopy::{FromBytes, IntoBytes};

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
#[derive(Debug)]
pub struct ActivationSet {
    shards: Vec<Shard>,
    /// Global number of every shard's first row.
    first_rows: Vec<u64>,
    /// How every shard's documents are numbered.
    documents: Vec<Documents>,
    columns: Vec<Column>,
    /// Per column, the norm from which on ordinary rows are outliers; infinity where none are.
    outlier_norms: Vec<f64>,
    manifest: Option<CaptureManifest>,
    n_rows: u64,
    /// Stores whose columns follow its own.
    pub(crate) beside: Vec<Beside>,
}

impl ActivationSet {
    /// Opens `FILE.h5` (our format), `FILE.h5:/dataset`, `FILE.npy`, `FILE.npz:key` or `FILE.safetensors:key`; several files are read
    /// one after the other as one store, the shards of one capture in their own order.
    ///
    /// # Errors
    /// Where a file is missing, damaged or of the wrong kind, or where files do not belong together.
    pub fn open<S: AsRef<str>>(places: &[S]) -> Result<Self, StoreError> {
        let places = places.iter().map(|text| Place::parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        join::refuse_repetitions(&places)?;
        let shards = join::joined(places.iter().map(formats::open).collect::<Result<Vec<_>, _>>()?)?;
        let columns = shards[0].columns.iter().map(|column| Column {
            name: column.name.clone(),
            d: column.d,
            hook: column.name.parse().ok(),
            dtype: column.dtype,
        });
        let columns: Vec<Column> = columns.collect();
        let outlier_norm = |column| pooled_statistics(&shards, column).map_or(f64::INFINITY, |s| s.outlier_norm());
        Ok(ActivationSet {
            outlier_norms: (0..columns.len()).map(outlier_norm).collect(),
            columns,
            first_rows: starts(&shards, |shard| shard.n_rows),
            documents: Documents::of(&shards),
            manifest: join::joined_manifest(&shards),
            n_rows: shards.iter().map(|shard| shard.n_rows).sum(),
            shards,
            beside: Vec::new(),
        })
    }

    /// Adds the columns of a store that is going to be read beside this one.
    pub(crate) fn add_columns(&mut self, other: &ActivationSet) {
        self.columns.extend_from_slice(&other.columns);
        self.outlier_norms.extend_from_slice(&other.outlier_norms);
    }

    /// Number of rows.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
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
        self.manifest.as_ref()
    }

    /// Number of documents, where rows have documents.
    pub fn n_documents(&self) -> Option<u64> {
        self.manifest.as_ref().map(|manifest| manifest.n_documents)
    }

    /// Statistics of a column over all shards; none for matrices from elsewhere.
    pub fn statistics(&self, column: usize) -> Option<ColumnStatistics> {
        match self.beside_of(column) {
            Some((beside, local)) => beside.set.statistics(local),
            None => pooled_statistics(&self.shards, column),
        }
    }

    /// File names without folders, for messages and provenance.
    pub fn names(&self) -> Vec<String> {
        let name = |shard: &Shard| shard.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.shards.iter().map(name).chain(self.beside.iter().flat_map(|beside| beside.set.names())).collect()
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
                    let sample = inputs::sample(column).map_or_else(|error| error.to_string(), |sum| sum.to_string());
                    json!({"name": name, "bytes": bytes, "column": column.name, "rows": column.n, "d": column.d,
                        "dtype": column.dtype, "sample": sample})
                }
            }
        };
        let beside = self.beside.iter().map(|beside| Value::from(beside.set.content_identity()));
        let all = Value::Array(self.shards.iter().map(describe).chain(beside).collect());
        Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The files of this store and of those beside it.
    pub(crate) fn all_shards(&self) -> Vec<&Shard> {
        self.shards.iter().chain(self.beside.iter().flat_map(|beside| beside.set.all_shards())).collect()
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
        let shard = self.shard_of(row);
        let rounded = self.shards[shard].columns[column].rounded;
        let (path, column) = (self.shards[shard].path.clone(), self.columns[column].name.clone());
        StoreError::NotFinite { path, column, row: row - self.first_rows[shard], rounded }
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
        let d = self.columns[column].d;
        self.by_shard(rows.clone(), |shard, first, local| {
            shard.columns[column].read(local, out, at + (first - rows.start) as usize * d)
        })
    }

    /// Appends number, token, document, position, offset and flags of `rows` to `block`; see
    /// [`ActivationSet::append_flags`] for `columns`.
    pub(crate) fn append_about(
        &self,
        rows: Range<u64>,
        columns: &[usize],
        block: &mut RowBlock,
    ) -> Result<(), StoreError> {
        block.rows.extend(rows.clone());
        self.append_numbers(rows.clone(), |captured| &captured.tokens, &mut block.tokens)?;
        self.append_documents(rows.clone(), &mut block.documents)?;
        self.append_numbers(rows.clone(), |captured| &captured.positions, &mut block.positions)?;
        self.append_numbers(rows.clone(), |captured| &captured.offsets, &mut block.offsets)?;
        self.append_flags(rows, columns, &mut block.flags)
    }

    /// Appends the documents of `rows`, numbered over all shards.
    pub(crate) fn append_documents(&self, rows: Range<u64>, out: &mut Vec<u32>) -> Result<(), StoreError> {
        self.by_shard(rows, |shard, first, local| {
            let start = out.len();
            append(shard, |captured| &captured.documents, local, out)?;
            let documents = self.documents[self.shard_of(first)];
            out[start..].iter_mut().for_each(|document| *document = documents.number(*document));
            Ok(())
        })
    }

    /// Appends the flags of `rows`, with [`row_flags::OUTLIER`] where the row is one in any of these columns.
    pub(crate) fn append_flags(
        &self,
        rows: Range<u64>,
        columns: &[usize],
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let start = out.len();
        self.append_numbers(rows.clone(), |captured| &captured.flags, out)?;
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
        let mut norms = Vec::with_capacity((rows.end - rows.start) as usize);
        self.by_shard(rows, |shard, _, local| match &shard.captured {
            Some(captured) => captured.norms[column].append(local, &mut norms),
            None => Ok(()),
        })?;
        Ok(norms)
    }

    /// Announces that the activations of `rows` will be read soon.
    pub(crate) fn announce(&self, rows: Range<u64>, columns: &[usize]) {
        for &column in columns {
            match self.beside_of(column) {
                Some((beside, local)) => beside.announce(&[local], rows.clone()),
                None => self.each_shard(rows.clone(), |shard, local| shard.columns[column].announce(local)),
            }
        }
    }

    /// Announces that what is known about `rows` will be read soon; outliers of these columns included.
    pub(crate) fn announce_about(&self, rows: Range<u64>, columns: &[usize]) {
        self.each_shard(rows, |shard, local| {
            let Some(captured) = &shard.captured else { return };
            let Captured { tokens, documents, positions, offsets, flags, norms, .. } = captured;
            let about = [(tokens, 4), (documents, 4), (positions, 4), (offsets, 8), (flags, 1)];
            let norms = columns.iter().filter_map(|column| Some((norms.get(*column)?, 4)));
            about.into_iter().chain(norms).for_each(|(numbers, size)| numbers.announce(local.clone(), size));
        });
    }

    fn each_shard(&self, rows: Range<u64>, mut visit: impl FnMut(&Shard, Range<u64>)) {
        let visited = self.by_shard(rows, |shard, _, local| {
            visit(shard, local);
            Ok(())
        });
        debug_assert!(visited.is_ok(), "visiting does not fail");
    }

    /// Rows of a column that are best read together.
    pub(crate) fn granule(&self, column: usize) -> usize {
        match self.beside_of(column) {
            Some((beside, local)) => beside.set.granule(local),
            None => self.shards.iter().map(|shard| shard.columns[column].granule()).max().unwrap_or(1),
        }
    }

    fn append_numbers<T>(
        &self,
        rows: Range<u64>,
        numbers: fn(&Captured) -> &RowNumbers,
        out: &mut Vec<T>,
    ) -> Result<(), StoreError>
    where
        T: Copy + Default + FromBytes + IntoBytes,
    {
        self.by_shard(rows, |shard, _, local| append(shard, numbers, local, out))
    }

    /// Calls `read(shard, global first row, local rows)` for every shard's part of `rows`.
    fn by_shard(
        &self,
        rows: Range<u64>,
        mut read: impl FnMut(&Shard, u64, Range<u64>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        assert!(rows.end <= self.n_rows, "rows {rows:?} of {}", self.n_rows);
        let mut at = rows.start;
        while at < rows.end {
            let index = self.shard_of(at);
            let (shard, first) = (&self.shards[index], self.first_rows[index]);
            let end = rows.end.min(first + shard.n_rows);
            read(shard, at, at - first..end - first)?;
            at = end;
        }
        Ok(())
    }

    /// The shard that holds a row.
    fn shard_of(&self, row: u64) -> usize {
        self.first_rows.partition_point(|first| *first <= row) - 1
    }
}

/// Statistics of a column over all shards.
fn pooled_statistics(shards: &[Shard], column: usize) -> Option<ColumnStatistics> {
    let parts: Vec<&ColumnStatistics> =
        shards.iter().map(|shard| shard.captured.as_ref()?.statistics.get(column)).collect::<Option<_>>()?;
    let pooled = |of: fn(&ColumnStatistics) -> &Statistics| match parts.as_slice() {
        [one] => of(one).clone(),
        several => Statistics::pooled(&several.iter().map(|part| of(part)).collect::<Vec<_>>()),
    };
    Some(ColumnStatistics { all: pooled(|part| &part.all), ordinary: pooled(|part| &part.ordinary) })
}

/// Appends a shard's numbers; zeros where it has none.
fn append<T>(
    shard: &Shard,
    numbers: fn(&Captured) -> &RowNumbers,
    rows: Range<u64>,
    out: &mut Vec<T>,
) -> Result<(), StoreError>
where
    T: Copy + Default + FromBytes + IntoBytes,
{
    match &shard.captured {
        Some(captured) => numbers(captured).append(rows, out),
        None => {
            out.resize(out.len() + (rows.end - rows.start) as usize, T::default());
            Ok(())
        }
    }
}

fn starts(shards: &[Shard], size: impl Fn(&Shard) -> u64) -> Vec<u64> {
    let running = shards.iter().scan(0, |next, shard| {
        let start = *next;
        *next += size(shard);
        Some(start)
    });
    running.collect()
}
