//! How do rows get into an activation file so that a crash costs at most the rows since the last flush?
//!
//! HDF5 lays the file out and is closed; everything after that is `pwrite` into places that are reserved already,
//! where the file system can reserve. A flush syncs the data, then replaces the journal. What lies beyond the journal's
//! rows is written again by the next run, with the same bytes.

use crate::begin::{begin_or_resume, space_or_io};
use crate::checksums::{self, BLOCK_ROWS};
use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::journal::Journal;
use crate::layout::{self, Layout, RowDataset};
use crate::norms;
use crate::packed::{self, Progress};
use crate::partial::{JOURNAL, PACKED, Partial};
use crate::statistics::{ColumnStatistics, Statistics, squared_norms};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use untangle_schema::CaptureManifest;
use zerocopy::IntoBytes;

/// Consecutive rows for all hooks of a manifest, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Token ids, `[n]`.
    pub tokens: &'a [u32],
    /// Documents, `[n]`.
    pub documents: &'a [u32],
    /// Positions in their contexts, `[n]`.
    pub positions: &'a [u32],
    /// First byte of every token in its document's text, `[n]`.
    pub offsets: &'a [u64],
    /// Flags (see `untangle_schema::capture::row_flags`), `[n]`.
    pub flags: &'a [u8],
    /// One row-major `[n, d]` slice per hook, in the manifest's order.
    pub columns: &'a [&'a [f32]],
}

/// Writes one activation file, from the first row to the last, over as many runs as it takes.
#[derive(Debug)]
pub struct StoreWriter {
    partial: Partial,
    journal_path: PathBuf,
    file: File,
    layout: Layout,
    /// In the order of the file: tokens, documents, positions, offsets, flags, norms of every hook, then every hook.
    datasets: Vec<RowDataset>,
    journal: Journal,
    rows_flushed: u64,
    /// Per hook, the rows being appended: as they are stored, what a reader will see, and the norms of that.
    staged: Vec<Elements>,
    rounded: Vec<Vec<f32>>,
    squared_norms: Vec<Vec<f64>>,
    norms: Vec<Vec<f32>>,
}

impl StoreWriter {
    /// Continues the unfinished file that `partial` guards, or begins a new one.
    ///
    /// # Errors
    /// [`StoreError::OtherSettings`] where the unfinished file has another manifest (begun afresh if forced),
    /// [`StoreError::DiskFull`] where the disk cannot hold the whole file: everything that belongs to it is then
    /// removed; [`StoreError::Empty`] for no rows.
    pub fn open(mut partial: Partial, manifest: CaptureManifest) -> Result<Self, StoreError> {
        if manifest.n_rows == 0 || manifest.hooks.is_empty() || manifest.hooks.iter().any(|hook| hook.d_in == 0) {
            return Err(StoreError::Empty { path: partial.output().to_owned() });
        }
        let journal_path = partial.side_file(JOURNAL);
        let journal = match begin_or_resume(&partial, &journal_path, manifest) {
            // What was prepared for a file that cannot come is in the way of a smaller one.
            Err(error @ StoreError::DiskFull { .. }) => {
                partial.discard()?;
                return Err(error);
            }
            begun => begun?,
        };
        let data = partial.data();
        let layout = Layout::locate(&layout::open(data)?, data, &journal.manifest)?;
        let file = OpenOptions::new().read(true).write(true).open(data).map_err(StoreError::io(data))?;
        let hooks = journal.manifest.hooks.len();
        let staged = vec![Elements::zeros(journal.manifest.store_dtype, 0); hooks];
        Ok(StoreWriter {
            partial,
            journal_path,
            file,
            layout,
            datasets: layout::row_datasets(&journal.manifest),
            rows_flushed: journal.rows_done,
            staged,
            rounded: vec![Vec::new(); hooks],
            squared_norms: vec![Vec::new(); hooks],
            norms: vec![Vec::new(); hooks],
            journal,
        })
    }

    /// Rows written so far, by this run and by those before.
    pub fn rows_done(&self) -> u64 {
        self.journal.rows_done
    }

    /// Rows written since the last flush.
    pub fn rows_unflushed(&self) -> u64 {
        self.journal.rows_done - self.rows_flushed
    }

    /// What is being written.
    pub fn manifest(&self) -> &CaptureManifest {
        &self.journal.manifest
    }

    /// Appends rows. They are as durable as the next flush.
    ///
    /// # Errors
    /// [`StoreError::NotFiniteActivation`] and [`StoreError::Overflow`] for values that cannot be stored; nothing of
    /// the block is then counted as written.
    pub fn append(&mut self, rows: &Rows<'_>) -> Result<(), StoreError> {
        self.check_shapes(rows)?;
        for column in 0..rows.columns.len() {
            self.stage(column, rows.columns[column])?;
        }
        let first = self.journal.rows_done;
        let mut checksums = self.journal.checksums.clone();
        for (index, (dataset, running)) in self.datasets.iter().zip(&mut checksums).enumerate() {
            let bytes = self.bytes_of(index, rows);
            self.write(&dataset.name, first * dataset.row_bytes as u64, bytes)?;
            let complete = running.add(first, bytes, dataset.row_bytes);
            self.write(&layout::checksums(&dataset.name), 4 * (first / BLOCK_ROWS), complete.as_bytes())?;
        }
        // Nothing fails from here on, so what the journal says of the rows is all or nothing.
        self.journal.checksums = checksums;
        for (column, statistics) in self.journal.statistics.iter_mut().enumerate() {
            statistics.add(&self.rounded[column], rows.flags, &self.squared_norms[column]);
        }
        self.journal.rows_done += rows.tokens.len() as u64;
        Ok(())
    }

    /// The bytes of `rows` in the dataset `index` of the file's order.
    fn bytes_of<'a>(&'a self, index: usize, rows: &'a Rows<'_>) -> &'a [u8] {
        let hooks = self.staged.len();
        match index {
            0 => rows.tokens.as_bytes(),
            1 => rows.documents.as_bytes(),
            2 => rows.positions.as_bytes(),
            3 => rows.offsets.as_bytes(),
            4 => rows.flags,
            norms if norms - 5 < hooks => self.norms[norms - 5].as_bytes(),
            column => self.staged[column - 5 - hooks].bytes(0..rows.columns[column - 5 - hooks].len()),
        }
    }

    /// Makes everything appended so far survive a crash: syncs the data, then replaces the journal.
    ///
    /// # Errors
    /// When syncing or writing the journal fails.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io(self.partial.data()))?;
        self.journal.save(&self.journal_path)?;
        self.rows_flushed = self.journal.rows_done;
        Ok(())
    }

    /// Writes statistics and completion mark, and gives the file its final name.
    ///
    /// # Errors
    /// [`StoreError::Unfinished`] where rows are missing, [`StoreError::Exists`] where a file of that name appeared.
    pub fn finish(mut self) -> Result<PathBuf, StoreError> {
        self.complete()?;
        self.partial.finish()
    }

    /// As [`StoreWriter::finish`], with compressed activations; none where `progress` gave it up, and the next writer of
    /// the same output finds every row written.
    ///
    /// # Errors
    /// As [`StoreWriter::finish`], and [`StoreError::DiskFull`] where both forms of the file do not fit at once.
    pub fn finish_compressed(mut self, progress: Progress<'_>) -> Result<Option<PathBuf>, StoreError> {
        self.complete()?;
        let packed = self.partial.side_file(PACKED);
        match packed::pack(self.partial.data(), &packed, &self.journal.manifest, progress)? {
            true => self.partial.finish_with(PACKED).map(Some),
            false => Ok(None),
        }
    }

    /// Writes everything that is written last; the file then lacks nothing but its name.
    fn complete(&mut self) -> Result<(), StoreError> {
        let (done, total) = (self.journal.rows_done, self.journal.manifest.n_rows);
        if done != total {
            return Err(StoreError::Unfinished { path: self.partial.data().to_owned(), done, total });
        }
        self.flush()?;
        self.write_statistics()?;
        self.write_last_checksums()?;
        self.file.sync_all().map_err(StoreError::io(self.partial.data()))?;
        self.write(layout::COMPLETE, 0, &[1])?;
        self.file.sync_all().map_err(StoreError::io(self.partial.data()))
    }

    /// Gives up: removes the unfinished file and everything that belongs to it.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn discard(self) -> Result<(), StoreError> {
        self.partial.discard()
    }

    fn check_shapes(&self, rows: &Rows<'_>) -> Result<(), StoreError> {
        let n = rows.tokens.len();
        let hooks = &self.journal.manifest.hooks;
        let wrong = |problem| Err(StoreError::BadRows { path: self.partial.data().to_owned(), problem });
        if [rows.documents.len(), rows.positions.len(), rows.offsets.len(), rows.flags.len()] != [n; 4] {
            return wrong("tokens, documents, positions, offsets and flags differ in length");
        }
        if rows.columns.len() != hooks.len() || rows.columns.iter().zip(hooks).any(|(c, h)| c.len() != n * h.d_in) {
            return wrong("the columns are not those of the manifest");
        }
        if self.journal.rows_done + n as u64 > self.journal.manifest.n_rows {
            return wrong("more rows than the manifest promises");
        }
        Ok(())
    }

    /// Rounds a column's values to the stored type, refusing those that it cannot hold.
    fn stage(&mut self, column: usize, values: &[f32]) -> Result<(), StoreError> {
        let manifest = &self.journal.manifest;
        let (hook, path) = (&manifest.hooks[column], self.partial.output().to_owned());
        let (first, dtype) = (self.journal.rows_done, manifest.store_dtype);
        let row = |index: usize| first + (index / hook.d_in) as u64;
        self.staged[column].assign(values);
        let rounded = &mut self.rounded[column];
        rounded.clear();
        self.staged[column].append_f32(0..values.len(), rounded);
        let Some(index) = first_not_finite(rounded) else {
            self.squared_norms[column] = squared_norms(rounded, hook.d_in);
            self.norms[column].clear();
            self.norms[column].extend(self.squared_norms[column].iter().map(|square| norms::stored(*square)));
            return Ok(());
        };
        let (hook, row, value) = (hook.hook, row(index), values[index]);
        Err(match value.is_finite() {
            true => StoreError::Overflow { path, hook, row, value, dtype },
            false => StoreError::NotFiniteActivation { path, hook, row },
        })
    }

    fn write_statistics(&self) -> Result<(), StoreError> {
        for (hook, accumulator) in self.journal.manifest.hooks.iter().zip(&self.journal.statistics) {
            let mut all = Vec::new();
            for (name, bytes) in layout::statistics_of(hook.hook).iter().zip(measures(&accumulator.finish())) {
                self.write(name, 0, &bytes)?;
                all.extend(bytes);
            }
            let checksum = checksums::checksum(&all);
            self.write(&layout::checksums(&layout::statistics(hook.hook)), 0, checksum.as_bytes())?;
        }
        Ok(())
    }

    /// Writes the checksums that no full block of rows brought about.
    fn write_last_checksums(&self) -> Result<(), StoreError> {
        let n = self.journal.manifest.n_rows;
        if !n.is_multiple_of(BLOCK_ROWS) {
            for (dataset, running) in self.datasets.iter().zip(&self.journal.checksums) {
                self.write(&layout::checksums(&dataset.name), 4 * (n / BLOCK_ROWS), running.crc().as_bytes())?;
            }
        }
        let mut manifest = vec![0; self.layout.extent(layout::MANIFEST).bytes as usize];
        let offset = self.layout.extent(layout::MANIFEST).offset;
        self.file.read_exact_at(&mut manifest, offset).map_err(StoreError::io(self.partial.data()))?;
        let checksum = checksums::checksum(&manifest);
        self.write(&layout::checksums(layout::MANIFEST), 0, checksum.as_bytes())
    }

    /// Writes `bytes` at byte `at` of a dataset.
    fn write(&self, dataset: &str, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let extent = self.layout.extent(dataset);
        debug_assert!(at + bytes.len() as u64 <= extent.bytes, "{dataset} is written beyond its end");
        let written = self.file.write_all_at(bytes, extent.offset + at);
        written.map_err(|error| space_or_io(self.partial.data(), bytes.len() as u64, error))
    }
}

/// The bytes of the datasets of [`layout::statistics_of`], in that order.
pub(crate) fn measures(of: &ColumnStatistics) -> Vec<Vec<u8>> {
    let subset = |of: &Statistics| {
        let norm = [of.norm_mean, of.norm_second_moment, of.norm_max];
        let [mean, second_moment] = [&of.mean, &of.second_moment].map(|values| values.as_bytes().to_vec());
        let histogram = of.norms.counts().as_bytes().to_vec();
        [of.count.as_bytes().to_vec(), mean, second_moment, norm.as_bytes().to_vec(), histogram]
    };
    let outlier_norm = of.outlier_norm().as_bytes().to_vec();
    [&of.all, &of.ordinary].into_iter().flat_map(subset).chain([outlier_norm]).collect()
}
