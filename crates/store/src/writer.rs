//! How do rows get into an activation file so that a crash costs at most the rows since the last flush?
//!
//! HDF5 lays the file out and is closed; everything after that is `pwrite` into places that are reserved already,
//! where the file system can reserve. A flush syncs the data, then replaces the journal. What lies beyond the journal's
//! rows is written again by the next run, with the same bytes.

use crate::durable;
use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::journal::Journal;
use crate::layout::{self, Layout};
use crate::partial::{JOURNAL, Partial};
use crate::statistics::{Accumulator, Statistics};
use crate::sys;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
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
    journal: Journal,
    rows_flushed: u64,
    /// Per hook, the rows being appended: as they are stored, and what a reader will see.
    staged: Vec<Elements>,
    rounded: Vec<Vec<f32>>,
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
        let journal = match resumable(&partial, &journal_path, &manifest)? {
            Some(journal) => journal,
            None => match begin(&partial, &journal_path, manifest) {
                // What was prepared for a file that cannot come is in the way of a smaller one.
                Err(error @ StoreError::DiskFull { .. }) => {
                    partial.discard()?;
                    return Err(error);
                }
                begun => begun?,
            },
        };
        let data = partial.data();
        let layout = Layout::locate(&layout::open(data)?, data, &journal.manifest)?;
        let file = OpenOptions::new().read(true).write(true).open(data).map_err(StoreError::io(data))?;
        let staged = journal.manifest.hooks.iter().map(|_| Elements::zeros(journal.manifest.store_dtype, 0)).collect();
        let rows_flushed = journal.rows_done;
        let rounded = vec![Vec::new(); journal.manifest.hooks.len()];
        Ok(StoreWriter { partial, journal_path, file, layout, journal, rows_flushed, staged, rounded })
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
        for (name, words) in
            [(layout::TOKENS, rows.tokens), (layout::DOCUMENTS, rows.documents), (layout::POSITIONS, rows.positions)]
        {
            self.write(name, first * 4, words.as_bytes())?;
        }
        self.write(layout::FLAGS, first, rows.flags)?;
        for (column, hook) in self.journal.manifest.hooks.iter().enumerate() {
            let row_bytes = (hook.d_in * self.journal.manifest.store_dtype.size()) as u64;
            let bytes = self.staged[column].bytes(0..rows.columns[column].len());
            self.write(&layout::activations(hook.hook), first * row_bytes, bytes)?;
        }
        for (rounded, statistics) in self.rounded.iter().zip(&mut self.journal.statistics) {
            statistics.add(rounded, rows.flags);
        }
        self.journal.rows_done += rows.tokens.len() as u64;
        Ok(())
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
        let (done, total) = (self.journal.rows_done, self.journal.manifest.n_rows);
        if done != total {
            return Err(StoreError::Unfinished { path: self.partial.data().to_owned(), done, total });
        }
        self.flush()?;
        self.write_statistics()?;
        self.file.sync_all().map_err(StoreError::io(self.partial.data()))?;
        self.write(layout::COMPLETE, 0, &[1])?;
        self.file.sync_all().map_err(StoreError::io(self.partial.data()))?;
        self.partial.finish()
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
        if [rows.documents.len(), rows.positions.len(), rows.flags.len()] != [n; 3] {
            return wrong("tokens, documents, positions and flags differ in length");
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
        let Some(index) = first_not_finite(rounded) else { return Ok(()) };
        let (hook, row, value) = (hook.hook, row(index), values[index]);
        Err(match value.is_finite() {
            true => StoreError::Overflow { path, hook, row, value, dtype },
            false => StoreError::NotFiniteActivation { path, hook, row },
        })
    }

    fn write_statistics(&self) -> Result<(), StoreError> {
        for (hook, accumulator) in self.journal.manifest.hooks.iter().zip(&self.journal.statistics) {
            let statistics = accumulator.finish();
            for (subset, values) in layout::SUBSETS.into_iter().zip([&statistics.all, &statistics.ordinary]) {
                for (measure, bytes) in layout::MEASURES.into_iter().zip(measures(values)) {
                    self.write(&layout::statistic(hook.hook, subset, measure), 0, &bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Writes `bytes` at byte `at` of a dataset.
    fn write(&self, dataset: &str, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        write_at(&self.file, self.partial.data(), &self.layout, dataset, at, bytes)
    }
}

/// The bytes of `count`, `mean`, `second_moment` and `norm`.
fn measures(of: &Statistics) -> [Vec<u8>; 4] {
    let norm = [of.norm_mean, of.norm_second_moment, of.norm_max];
    [of.count.as_bytes().into(), of.mean.as_bytes().into(), of.second_moment.as_bytes().into(), norm.as_bytes().into()]
}

fn write_at(file: &File, path: &Path, layout: &Layout, dataset: &str, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let extent = layout.extent(dataset);
    debug_assert!(at + bytes.len() as u64 <= extent.bytes, "{dataset} is written beyond its end");
    file.write_all_at(bytes, extent.offset + at).map_err(|error| space_or_io(path, bytes.len() as u64, error))
}

/// The journal of an unfinished file with this manifest; none where a new file is to be begun.
fn resumable(partial: &Partial, journal: &Path, manifest: &CaptureManifest) -> Result<Option<Journal>, StoreError> {
    if !partial.data().try_exists().map_err(StoreError::io(partial.data()))? {
        return Ok(None);
    }
    let journal = match Journal::load(journal, partial.data()) {
        Err(StoreError::JournalDamaged { .. }) if partial.force() => return Ok(None),
        loaded => loaded?,
    };
    let Some(journal) = journal else { return Ok(None) };
    let differences = crate::differences(&as_json(&journal.manifest), &as_json(manifest));
    match (differences.is_empty(), partial.force()) {
        (true, _) => Ok(Some(journal)),
        (false, true) => Ok(None),
        (false, false) => Err(StoreError::OtherSettings { partial: partial.data().to_owned(), differences }),
    }
}

fn as_json(manifest: &CaptureManifest) -> serde_json::Value {
    serde_json::to_value(manifest).expect("a manifest has string keys and finite numbers")
}

/// Lays out a new file, reserves its space, writes its manifest, and then its first journal.
fn begin(partial: &Partial, journal_path: &Path, manifest: CaptureManifest) -> Result<Journal, StoreError> {
    let path = partial.data();
    durable::remove(journal_path)?;
    durable::remove(path)?;
    let json = serde_json::to_string(&manifest).expect("a manifest has string keys and finite numbers");
    let needed = layout::file_bytes(&manifest, json.len());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let available = sys::available(folder).map_err(StoreError::io(folder))?;
    if available < needed {
        return Err(StoreError::DiskFull { path: partial.output().to_owned(), needed, available });
    }
    let begun = lay_out(partial, &manifest, &json);
    if begun.is_err() {
        // Half a layout helps nobody, and on a full disk it is in the way.
        durable::remove(path)?;
    }
    begun?;
    let statistics = manifest.hooks.iter().map(|hook| Accumulator::new(hook.d_in)).collect();
    let journal = Journal { manifest, rows_done: 0, statistics };
    journal.save(journal_path)?;
    Ok(journal)
}

fn lay_out(partial: &Partial, manifest: &CaptureManifest, json: &str) -> Result<(), StoreError> {
    let path = partial.data();
    layout::create(path, manifest, json.len())?;
    let located = Layout::locate(&layout::open(path)?, path, manifest)?;
    let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io(path))?;
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    match sys::reserve(&file, size) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        reserved => reserved.map_err(|error| space_or_io(partial.output(), size, error))?,
    }
    write_at(&file, path, &located, layout::MANIFEST, 0, json.as_bytes())?;
    file.sync_all().map_err(StoreError::io(path))?;
    durable::sync_folder(path)
}

fn space_or_io(path: &Path, needed: u64, error: std::io::Error) -> StoreError {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            let available = sys::available(folder).unwrap_or(0);
            StoreError::DiskFull { path: path.to_owned(), needed, available }
        }
        _ => StoreError::Io { path: path.to_owned(), source: error },
    }
}
