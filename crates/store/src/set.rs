//! Which rows does a store hold, over all its files?

use crate::differences::differences;
use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::formats::{self, Captured, Shard};
use crate::matrix::RowNumbers;
use crate::place::Place;
use crate::source::RowBlock;
use crate::statistics::{ColumnStatistics, Statistics};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
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
    /// Global number of every shard's first document.
    first_documents: Vec<u64>,
    columns: Vec<Column>,
    manifest: Option<CaptureManifest>,
    n_rows: u64,
}

impl ActivationSet {
    /// Opens `FILE.h5` (our format), `FILE.h5:/dataset`, `FILE.npy` or `FILE.safetensors:key`; several files are read
    /// one after the other as one store.
    ///
    /// # Errors
    /// Where a file is missing, damaged or of the wrong kind, or where files do not belong together.
    pub fn open<S: AsRef<str>>(places: &[S]) -> Result<Self, StoreError> {
        let places = places.iter().map(|text| Place::parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        refuse_repetitions(&places)?;
        let shards = places.iter().map(formats::open).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = shards.first() else { return Err(StoreError::NothingNamed) };
        shards[1..].iter().try_for_each(|shard| belongs(first, shard))?;
        let columns = first.columns.iter().map(|column| Column {
            name: column.name.clone(),
            d: column.d,
            hook: column.name.parse().ok(),
            dtype: column.dtype,
        });
        let documents = |shard: &Shard| shard.captured.as_ref().map_or(0, |captured| captured.manifest.n_documents);
        Ok(ActivationSet {
            columns: columns.collect(),
            first_rows: starts(&shards, |shard| shard.n_rows),
            first_documents: starts(&shards, documents),
            manifest: joined_manifest(&shards),
            n_rows: shards.iter().map(|shard| shard.n_rows).sum(),
            shards,
        })
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
        let parts: Vec<&ColumnStatistics> =
            self.shards.iter().map(|s| s.captured.as_ref()?.statistics.get(column)).collect::<Option<_>>()?;
        let pooled = |of: fn(&ColumnStatistics) -> &Statistics| match parts.as_slice() {
            [one] => of(one).clone(),
            several => Statistics::pooled(&several.iter().map(|part| of(part)).collect::<Vec<_>>()),
        };
        Some(ColumnStatistics { all: pooled(|part| &part.all), ordinary: pooled(|part| &part.ordinary) })
    }

    /// File names without folders, for messages and provenance.
    pub fn names(&self) -> Vec<String> {
        let name = |shard: &Shard| shard.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.shards.iter().map(name).collect()
    }

    /// The files' names in one string.
    pub fn name(&self) -> String {
        self.names().join(" + ")
    }

    /// SHA-256 (hexadecimal) over what is known about the content: the manifests and row counts, or name, size, shape
    /// and type of matrices from elsewhere. Cheap: the rows themselves are not read.
    pub fn content_identity(&self) -> String {
        let describe = |shard: &Shard| -> Value {
            let name = shard.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match &shard.captured {
                Some(captured) => json!({"manifest": captured.manifest, "rows": shard.n_rows}),
                None => {
                    let column = &shard.columns[0];
                    let bytes = fs::metadata(&shard.path).map_or(0, |about| about.len());
                    json!({"name": name, "bytes": bytes, "column": column.name, "rows": column.n, "d": column.d,
                        "dtype": column.dtype})
                }
            }
        };
        let all = Value::Array(self.shards.iter().map(describe).collect());
        Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
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
        self.append_about(rows.clone(), block)?;
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
        let shard = self.shard_of(row);
        let (path, column) = (self.shards[shard].path.clone(), self.columns[column].name.clone());
        StoreError::NotFinite { path, column, row: row - self.first_rows[shard] }
    }

    /// Reads `rows` of a column into `out` from element `at` on.
    pub(crate) fn read_elements(
        &self,
        column: usize,
        rows: Range<u64>,
        out: &mut Elements,
        at: usize,
    ) -> Result<(), StoreError> {
        let d = self.columns[column].d;
        self.by_shard(rows.clone(), |shard, first, local| {
            shard.columns[column].read(local, out, at + (first - rows.start) as usize * d)
        })
    }

    /// Appends number, token, document, position and flags of `rows` to `block`.
    pub(crate) fn append_about(&self, rows: Range<u64>, block: &mut RowBlock) -> Result<(), StoreError> {
        block.rows.extend(rows.clone());
        self.append_numbers(rows.clone(), |captured| &captured.tokens, &mut block.tokens)?;
        self.append_documents(rows.clone(), &mut block.documents)?;
        self.append_numbers(rows.clone(), |captured| &captured.positions, &mut block.positions)?;
        self.append_flags(rows, &mut block.flags)
    }

    /// Appends the documents of `rows`, numbered over all shards.
    pub(crate) fn append_documents(&self, rows: Range<u64>, out: &mut Vec<u32>) -> Result<(), StoreError> {
        self.by_shard(rows, |shard, first, local| {
            let start = out.len();
            append(shard, |captured| &captured.documents, local, out)?;
            let before = self.first_documents[self.shard_of(first)] as u32;
            out[start..].iter_mut().for_each(|document| *document += before);
            Ok(())
        })
    }

    /// Appends the flags of `rows`.
    pub(crate) fn append_flags(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.append_numbers(rows, |captured| &captured.flags, out)
    }

    /// Rows of a column that are best read together.
    pub(crate) fn granule(&self, column: usize) -> usize {
        self.shards.iter().map(|shard| shard.columns[column].granule()).max().unwrap_or(1)
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

fn refuse_repetitions(places: &[Place]) -> Result<(), StoreError> {
    let mut seen: Vec<(PathBuf, Option<&str>)> = Vec::new();
    for place in places {
        let real = fs::canonicalize(&place.path).map_err(StoreError::io(&place.path))?;
        let this = (real, place.object.as_deref());
        if seen.contains(&this) {
            return Err(StoreError::NamedTwice { path: place.path.clone() });
        }
        seen.push(this);
    }
    Ok(())
}

/// Whether `shard` continues `first`: same captures of another part of a corpus, or matrices of one width and type.
fn belongs(first: &Shard, shard: &Shard) -> Result<(), StoreError> {
    match differences(&essence(first), &essence(shard)).into_iter().next() {
        None => Ok(()),
        Some(difference) => Err(StoreError::ShardMismatch {
            path: shard.path.clone(),
            first: first.path.clone(),
            field: difference.field,
        }),
    }
}

/// What has to be equal in files that are read as one.
fn essence(shard: &Shard) -> Value {
    let Some(Captured { manifest, .. }) = &shard.captured else {
        let column = &shard.columns[0];
        return json!({"d": column.d, "dtype": column.dtype});
    };
    json!({
        "model": manifest.model, "hooks": manifest.hooks, "context": manifest.context, "bos": manifest.bos,
        "bos_token": manifest.bos_token, "compute_dtype": manifest.compute_dtype, "store_dtype": manifest.store_dtype,
    })
}

fn joined_manifest(shards: &[Shard]) -> Option<CaptureManifest> {
    let mut manifests = shards.iter().map(|shard| shard.captured.as_ref().map(|captured| &captured.manifest));
    let mut joined = manifests.next()??.clone();
    for other in manifests {
        let other = other?;
        joined.n_rows += other.n_rows;
        joined.n_documents += other.n_documents;
        joined.corpus.extend(other.corpus.iter().cloned());
    }
    Some(joined)
}
