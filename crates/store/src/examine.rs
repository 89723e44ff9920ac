//! What is wrong with an activation file? Everything that is, not only what a reader stumbles over first.
//!
//! What can be seen without the rows is looked at always: that every dataset is as specified, and that manifest and
//! statistics have their checksums and do not contradict each other. Reading every row on top of that (`rows.rs`) checks
//! all checksums, and whether norms and statistics are those of the rows.

mod rows;

use crate::checksums::{self, BLOCK_ROWS};
use crate::error::StoreError;
use crate::formats::own::{Opened, check_version};
use crate::layout::{self, Layout};
use crate::packed::Progress;
use crate::statistics::ColumnStatistics;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::CaptureManifest;
use untangle_schema::capture::HookColumn;

/// One way in which a file is not as specified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Something is missing, of another type or shape, or cut off.
    #[error(transparent)]
    Form(#[from] StoreError),
    /// Bytes that were changed after they were written, or never written.
    #[error("`{object}` does not have its checksum in {place}")]
    Checksum {
        /// The dataset.
        object: String,
        /// Which part of it.
        place: String,
    },
    /// A value that contradicts others.
    #[error("`{object}`: {problem}")]
    Content {
        /// The dataset, attribute or field.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What was found out about a file.
#[derive(Debug)]
pub struct Examination {
    /// Everything that is not as specified.
    pub violations: Vec<Violation>,
    /// The manifest, where it could be read.
    pub manifest: Option<CaptureManifest>,
}

/// Examines a file; every row of it where a `progress` is given, which is told bytes. None where that stopped it.
///
/// # Errors
/// [`StoreError::NotAStore`] for HDF5 files that are no activation files; when reading fails.
pub fn examine(path: &Path, progress: Option<Progress<'_>>) -> Result<Option<Examination>, StoreError> {
    let file = Arc::new(File::open(path).map_err(StoreError::io(path))?);
    let (hdf5, manifest) = match begin(path, &file) {
        Err(error @ (StoreError::Io { .. } | StoreError::NotAStore { .. })) => return Err(error),
        Err(error) => return Ok(Some(Examination { violations: vec![error.into()], manifest: None })),
        Ok(begun) => begun,
    };
    let mut examiner = Examiner { path, file: &file, hdf5: &hdf5, manifest: &manifest, violations: Vec::new() };
    examiner.look_at_manifest();
    let (layout, wrong) = Layout::examine(&hdf5, path, &manifest)?;
    examiner.violations.extend(wrong.into_iter().map(Violation::from));
    examiner.look_at_attributes();
    examiner.look_at_the_small(&layout)?;
    let read = match progress {
        Some(progress) => rows::examine(&mut examiner, &layout, progress)?,
        None => true,
    };
    let violations = examiner.violations;
    Ok(read.then_some(Examination { violations, manifest: Some(manifest) }))
}

/// What has to be right before anything else can be looked at.
fn begin(path: &Path, file: &Arc<File>) -> Result<(hdf5::File, CaptureManifest), StoreError> {
    let hdf5 = layout::open(path)?;
    check_version(&hdf5, path)?;
    let manifest = Opened { path, hdf5: &hdf5, file }.manifest()?;
    Ok((hdf5, manifest))
}

/// A file under examination.
struct Examiner<'a> {
    path: &'a Path,
    file: &'a Arc<File>,
    hdf5: &'a hdf5::File,
    manifest: &'a CaptureManifest,
    violations: Vec<Violation>,
}

impl Examiner<'_> {
    fn opened(&self) -> Opened<'_> {
        Opened { path: self.path, hdf5: self.hdf5, file: self.file }
    }

    fn contradiction(&mut self, object: impl Into<String>, problem: impl Into<String>) {
        self.violations.push(Violation::Content { object: object.into(), problem: problem.into() });
    }

    /// Fields that make no sense whatever the datasets hold.
    fn look_at_manifest(&mut self) {
        let m = self.manifest;
        let mut seen = BTreeSet::new();
        let again = m.hooks.iter().find(|column| !seen.insert(column.hook));
        let narrow = m.hooks.iter().find(|column| column.d_in == 0);
        let wrong = [
            ("n_rows", (m.n_rows == 0).then(|| "0, but a file has at least one row".to_owned())),
            (
                "n_documents",
                (m.n_documents == 0 || m.n_documents > m.n_rows)
                    .then(|| format!("{} documents in {} rows", m.n_documents, m.n_rows)),
            ),
            ("context", (m.context == 0).then(|| "0 tokens".to_owned())),
            ("batch", (m.batch == 0).then(|| "0 contexts".to_owned())),
            ("hooks", m.hooks.is_empty().then(|| "none".to_owned())),
            ("hooks", again.map(|column| format!("{} is listed twice", column.hook))),
            ("hooks", narrow.map(|column| format!("{} has width 0", column.hook))),
            ("shard", m.shard.filter(|shard| !(1..=shard.of).contains(&shard.index)).map(|shard| shard.to_string())),
        ];
        for (field, problem) in wrong {
            if let Some(problem) = problem {
                self.contradiction(format!("manifest: {field}"), problem);
            }
        }
    }

    fn look_at_attributes(&mut self) {
        let expected = self.manifest.store_dtype.to_string();
        for column in &self.manifest.hooks {
            let name = layout::activations(column.hook);
            let Ok(dataset) = self.hdf5.dataset(&name) else { continue };
            let dtype = layout::text(&dataset, layout::DTYPE_ATTRIBUTE);
            if dtype.as_deref() != Some(&*expected) {
                let found = dtype.unwrap_or_else(|| "absent".to_owned());
                self.contradiction(name, format!("attribute `dtype` is {found}, the manifest says {expected}"));
            }
        }
        let rows = self.hdf5.group(layout::CHECKSUMS).and_then(|group| group.attr(layout::ROWS_ATTRIBUTE));
        let rows = rows.and_then(|attribute| attribute.read_scalar::<u32>());
        if rows.as_ref().ok() != Some(&(BLOCK_ROWS as u32)) {
            let found = rows.map_or("absent".to_owned(), |rows| rows.to_string());
            self.contradiction(layout::CHECKSUMS, format!("attribute `rows` is {found}, not {BLOCK_ROWS}"));
        }
    }

    /// Everything that is read in no time, where it is there.
    fn look_at_the_small(&mut self, layout: &Layout) -> Result<(), StoreError> {
        if let Some(complete) = self.small(layout, layout::COMPLETE)?
            && complete != [1]
        {
            self.violations.push(StoreError::NotComplete { path: self.path.to_owned() }.into());
        }
        let manifest = self.small(layout, layout::MANIFEST)?;
        self.compare_checksum(layout, layout::MANIFEST, manifest)?;
        for column in &self.manifest.hooks {
            let parts = layout::statistics_of(column.hook);
            let parts = parts.iter().map(|name| self.small(layout, name)).collect::<Result<Option<Vec<_>>, _>>()?;
            let Some(parts) = parts else { continue };
            self.compare_checksum(layout, &layout::statistics(column.hook), Some(parts.concat()))?;
            let statistics = self.opened().statistics(layout, column)?;
            self.look_at_statistics(column, &statistics, parts.last());
        }
        Ok(())
    }

    fn look_at_statistics(&mut self, column: &HookColumn, found: &ColumnStatistics, outlier_norm: Option<&Vec<u8>>) {
        let n = self.manifest.n_rows;
        for (subset, of, most) in [("all", &found.all, n), ("ordinary", &found.ordinary, found.all.count)] {
            let (count, counted) = (of.count, of.norms.total());
            if (subset == "all" && count != n) || count > most {
                let object = layout::statistic(column.hook, subset, "count");
                self.contradiction(object, format!("{count} rows, the file has {n}"));
            }
            if counted != count {
                let object = layout::statistic(column.hook, subset, "norm_histogram");
                self.contradiction(object, format!("{counted} rows, the count beside it says {count}"));
            }
        }
        let expected = found.outlier_norm();
        if outlier_norm.is_some_and(|stored| stored.as_slice() != expected.to_le_bytes()) {
            let object = layout::outlier_norm(column.hook);
            self.contradiction(object, format!("is not {expected}, which follows from the histogram"));
        }
    }

    /// The bytes of a small dataset; none where it was not found as specified.
    fn small(&self, layout: &Layout, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        layout.located(name).map(|_| self.opened().bytes(layout.extent(name))).transpose()
    }

    fn compare_checksum(&mut self, layout: &Layout, name: &str, bytes: Option<Vec<u8>>) -> Result<(), StoreError> {
        let stored = self.small(layout, &layout::checksums(name))?;
        if let (Some(bytes), Some(stored)) = (bytes, stored)
            && stored != checksums::checksum(&bytes).to_le_bytes()
        {
            self.violations.push(Violation::Checksum { object: name.to_owned(), place: "the whole of it".to_owned() });
        }
        Ok(())
    }
}
