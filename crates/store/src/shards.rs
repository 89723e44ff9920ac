//! Which rows do several files hold that are read one after the other?

use crate::element::Elements;
use crate::error::StoreError;
use crate::formats::{self, Captured, Shard};
use crate::join::{self, Documents};
use crate::matrix::RowNumbers;
use crate::place::Place;
use crate::source::RowBlock;
use crate::statistics::{ColumnStatistics, Statistics};
use std::ops::Range;
use untangle_schema::CaptureManifest;
use zerocopy::{FromBytes, IntoBytes};

/// One or several activation files as one, validated before the first row is handed out.
#[derive(Debug)]
pub(crate) struct Shards {
    /// At least one, all with the same columns.
    files: Vec<Shard>,
    /// Global number of every file's first row.
    first_rows: Vec<u64>,
    /// How every file's documents are numbered.
    documents: Vec<Documents>,
    manifest: Option<CaptureManifest>,
    n_rows: u64,
}

impl Shards {
    /// Opens the files, which must belong together.
    ///
    /// # Errors
    /// Where one is missing, damaged or of the wrong kind, or where they do not belong together.
    pub(crate) fn open(places: &[Place]) -> Result<Self, StoreError> {
        join::refuse_repetitions(places)?;
        let files = join::joined(places.iter().map(formats::open).collect::<Result<Vec<_>, _>>()?)?;
        Ok(Shards {
            first_rows: starts(&files, |shard| shard.n_rows),
            documents: Documents::of(&files),
            manifest: join::joined_manifest(&files),
            n_rows: files.iter().map(|shard| shard.n_rows).sum(),
            files,
        })
    }

    /// The files, in the order of their rows.
    pub(crate) fn files(&self) -> &[Shard] {
        &self.files
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The first file's manifest, with the rows, documents and corpus of all; none for matrices from elsewhere.
    pub(crate) fn manifest(&self) -> Option<&CaptureManifest> {
        self.manifest.as_ref()
    }

    /// Statistics of a column over all files; none for matrices from elsewhere.
    pub(crate) fn statistics(&self, column: usize) -> Option<ColumnStatistics> {
        let parts: Vec<&ColumnStatistics> =
            self.files.iter().map(|shard| shard.captured.as_ref()?.statistics.get(column)).collect::<Option<_>>()?;
        let pooled = |of: fn(&ColumnStatistics) -> &Statistics| match parts.as_slice() {
            [one] => of(one).clone(),
            several => Statistics::pooled(&several.iter().map(|part| of(part)).collect::<Vec<_>>()),
        };
        Some(ColumnStatistics { all: pooled(|part| &part.all), ordinary: pooled(|part| &part.ordinary) })
    }

    /// The error for a value of `column` in the global `row` that is not finite: it names the row within its file.
    pub(crate) fn not_finite(&self, column: usize, row: u64) -> StoreError {
        let shard = self.shard_of(row);
        let rounded = self.files[shard].columns[column].rounded;
        let (path, column) = (self.files[shard].path.clone(), self.files[0].columns[column].name.clone());
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
        let d = self.files[0].columns[column].d;
        self.by_shard(rows.clone(), |shard, first, local| {
            shard.columns[column].read(local, out, at + (first - rows.start) as usize * d)
        })
    }

    /// Appends number, token, document, position and offset of `rows` to `block`, all but the flags.
    pub(crate) fn append_about(&self, rows: Range<u64>, block: &mut RowBlock) -> Result<(), StoreError> {
        block.rows.extend(rows.clone());
        self.append_numbers(rows.clone(), |captured| &captured.tokens, &mut block.tokens)?;
        self.append_documents(rows.clone(), &mut block.documents)?;
        self.append_numbers(rows.clone(), |captured| &captured.positions, &mut block.positions)?;
        self.append_numbers(rows, |captured| &captured.offsets, &mut block.offsets)
    }

    /// Appends the documents of `rows`, numbered over all files.
    pub(crate) fn append_documents(&self, rows: Range<u64>, out: &mut Vec<u32>) -> Result<(), StoreError> {
        self.by_shard(rows, |shard, first, local| {
            let start = out.len();
            append(shard, |captured| &captured.documents, local, out)?;
            let documents = self.documents[self.shard_of(first)];
            out[start..].iter_mut().for_each(|document| *document = documents.number(*document));
            Ok(())
        })
    }

    /// Appends the flags of `rows` as the files have them, which say nothing of outliers.
    pub(crate) fn append_flags(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.append_numbers(rows, |captured| &captured.flags, out)
    }

    /// Norms of a column's rows; none of matrices from elsewhere.
    pub(crate) fn norms(&self, column: usize, rows: Range<u64>) -> Result<Vec<f32>, StoreError> {
        let mut norms = Vec::with_capacity((rows.end - rows.start) as usize);
        self.by_shard(rows, |shard, _, local| match &shard.captured {
            Some(captured) => captured.norms[column].append(local, &mut norms),
            None => Ok(()),
        })?;
        Ok(norms)
    }

    /// Announces that the activations of `rows` in a column will be read soon.
    pub(crate) fn announce(&self, column: usize, rows: Range<u64>) {
        self.each_shard(rows, |shard, local| shard.columns[column].announce(local));
    }

    /// Announces that what is known about `rows` will be read soon; the norms of these columns included.
    pub(crate) fn announce_about(&self, rows: Range<u64>, columns: &[usize]) {
        self.each_shard(rows, |shard, local| {
            let Some(captured) = &shard.captured else { return };
            let Captured { tokens, documents, positions, offsets, flags, norms, .. } = captured;
            let about = [(tokens, 4), (documents, 4), (positions, 4), (offsets, 8), (flags, 1)];
            let norms = columns.iter().filter_map(|column| Some((norms.get(*column)?, 4)));
            about.into_iter().chain(norms).for_each(|(numbers, size)| numbers.announce(local.clone(), size));
        });
    }

    /// Rows of a column that are best read together.
    pub(crate) fn granule(&self, column: usize) -> usize {
        self.files.iter().map(|shard| shard.columns[column].granule()).max().unwrap_or(1)
    }

    fn each_shard(&self, rows: Range<u64>, mut visit: impl FnMut(&Shard, Range<u64>)) {
        let visited = self.by_shard(rows, |shard, _, local| {
            visit(shard, local);
            Ok(())
        });
        debug_assert!(visited.is_ok(), "visiting does not fail");
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
            let (shard, first) = (&self.files[index], self.first_rows[index]);
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
