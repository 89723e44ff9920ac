//! Is this a complete activation file as `activations/README.md` specifies it?

use super::foreign_hdf5;
use super::shard::{Captured, Shard};
use crate::error::StoreError;
use crate::layout::{self, Extent, Layout, Located};
use crate::matrix::{Matrix, RowNumbers, Storage};
use crate::norms::NormHistogram;
use crate::statistics::{ColumnStatistics, Statistics};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::CaptureManifest;
use untangle_schema::capture::HookColumn;

/// Opens and validates a file of our own format.
pub(super) fn open(path: &Path) -> Result<Shard, StoreError> {
    let (hdf5, file) = opened(path)?;
    let opened = Opened { path, hdf5: &hdf5, file: &file };
    let (manifest, layout) = opened.located()?;
    opened.check_complete(&layout)?;
    let numbers =
        |name: &str| RowNumbers { path: path.to_owned(), file: file.clone(), offset: layout.extent(name).offset };
    let captured = Captured {
        statistics: manifest.hooks.iter().map(|hook| opened.statistics(&layout, hook)).collect::<Result<_, _>>()?,
        tokens: numbers(layout::TOKENS),
        documents: numbers(layout::DOCUMENTS),
        positions: numbers(layout::POSITIONS),
        offsets: numbers(layout::OFFSETS),
        flags: numbers(layout::FLAGS),
        norms: manifest.hooks.iter().map(|hook| numbers(&layout::norms(hook.hook))).collect(),
        manifest,
    };
    opened.check_counts(&captured)?;
    let manifest = &captured.manifest;
    let columns = manifest.hooks.iter().map(|hook| column(&opened, &layout, manifest, hook)).collect();
    Ok(Shard { path: path.to_owned(), n_rows: manifest.n_rows, columns, captured: Some(captured) })
}

/// A file of our own format and version, as HDF5 has it and as the system does.
fn opened(path: &Path) -> Result<(hdf5::File, Arc<File>), StoreError> {
    let hdf5 = layout::open(path)?;
    check_version(&hdf5, path)?;
    let file = File::open(path).map_err(StoreError::io(path))?;
    Ok((hdf5, Arc::new(file)))
}

/// CRC-32 over all the checksums of a file, which stands for its content as long as that is sound.
pub(crate) fn sum_of_checksums(path: &Path) -> Result<u32, StoreError> {
    let (hdf5, file) = opened(path)?;
    let opened = Opened { path, hdf5: &hdf5, file: &file };
    let (manifest, layout) = opened.located()?;
    let rows = layout::row_datasets(&manifest).into_iter().map(|rows| rows.name);
    let statistics = manifest.hooks.iter().map(|hook| layout::statistics(hook.hook));
    let mut hasher = crc32fast::Hasher::new();
    for name in rows.chain(statistics).chain([layout::MANIFEST.to_owned()]) {
        hasher.update(&opened.bytes(layout.extent(&layout::checksums(&name)))?);
    }
    Ok(hasher.finalize())
}

/// The activations of a hook point, which `layout` has.
pub(crate) fn column(opened: &Opened<'_>, layout: &Layout, manifest: &CaptureManifest, hook: &HookColumn) -> Matrix {
    Matrix {
        path: opened.path.to_owned(),
        name: hook.hook.to_string(),
        n: manifest.n_rows,
        d: hook.d_in,
        dtype: manifest.store_dtype,
        rounded: false,
        storage: opened.storage(layout, hook),
    }
}

/// Refuses files of other formats and versions.
pub(crate) fn check_version(hdf5: &hdf5::File, path: &Path) -> Result<(), StoreError> {
    if hdf5.attr(layout::FORMAT_ATTRIBUTE).is_ok() {
        layout::strings_end(hdf5, path)?;
    }
    if layout::text(hdf5, layout::FORMAT_ATTRIBUTE).as_deref() != Some(layout::FORMAT) {
        let holds = foreign_hdf5::datasets(hdf5);
        return Err(StoreError::NotAStore { path: path.to_owned(), holds });
    }
    let found = hdf5.attr(layout::VERSION_ATTRIBUTE).and_then(|a| a.read_scalar::<u32>());
    match found.map_err(layout::unreadable(path))? {
        layout::VERSION => Ok(()),
        found => Err(StoreError::Version { path: path.to_owned(), found, supported: layout::VERSION }),
    }
}

/// A file that HDF5 has opened too.
pub(crate) struct Opened<'a> {
    pub(crate) path: &'a Path,
    pub(crate) hdf5: &'a hdf5::File,
    pub(crate) file: &'a Arc<File>,
}

impl Opened<'_> {
    /// What the file says of itself.
    pub(crate) fn manifest(&self) -> Result<CaptureManifest, StoreError> {
        let size = self.file.metadata().map_err(StoreError::io(self.path))?.len();
        let dataset = layout::dataset(self.hdf5, self.path, layout::MANIFEST)?;
        let extent = layout::extent_of(&dataset, self.path, layout::MANIFEST, size)?;
        let bytes = self.bytes(extent)?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Manifest { path: self.path.to_owned(), source })
    }

    /// The same, with where everything lies.
    fn located(&self) -> Result<(CaptureManifest, Layout), StoreError> {
        let manifest = self.manifest()?;
        let layout = Layout::locate(self.hdf5, self.path, &manifest)?;
        Ok((manifest, layout))
    }

    fn check_complete(&self, layout: &Layout) -> Result<(), StoreError> {
        match self.bytes(layout.extent(layout::COMPLETE))?.as_slice() {
            [1] => Ok(()),
            _ => Err(StoreError::NotComplete { path: self.path.to_owned() }),
        }
    }

    fn storage(&self, layout: &Layout, hook: &HookColumn) -> Storage {
        match layout.located(&layout::activations(hook.hook)) {
            Some(Located::Chunked(dataset)) => {
                let chunk_rows = dataset.chunk().and_then(|chunk| chunk.first().copied()).unwrap_or(1);
                Storage::Hdf5 { dataset: dataset.clone(), chunk_rows }
            }
            _ => {
                let offset = layout.extent(&layout::activations(hook.hook)).offset;
                Storage::Contiguous { file: self.file.clone(), offset }
            }
        }
    }

    /// The statistics of a hook point, all of which `layout` has.
    pub(crate) fn statistics(&self, layout: &Layout, hook: &HookColumn) -> Result<ColumnStatistics, StoreError> {
        let subset = |subset: &str| -> Result<Statistics, StoreError> {
            let read = |measure: &str| self.bytes(layout.extent(&layout::statistic(hook.hook, subset, measure)));
            let [count, mean, second_moment, norm, histogram] = layout::MEASURES.map(read);
            let norm = floats(&norm?);
            Ok(Statistics {
                count: longs(&count?)[0],
                mean: floats(&mean?),
                second_moment: floats(&second_moment?),
                norm_mean: norm[0],
                norm_second_moment: norm[1],
                norm_max: norm[2],
                norms: NormHistogram::from_counts(longs(&histogram?)).unwrap_or_default(),
            })
        };
        Ok(ColumnStatistics { all: subset(layout::SUBSETS[0])?, ordinary: subset(layout::SUBSETS[1])? })
    }

    /// Statistics that were gathered over another number of rows belong to another file.
    fn check_counts(&self, captured: &Captured) -> Result<(), StoreError> {
        let n = captured.manifest.n_rows;
        for (hook, statistics) in captured.manifest.hooks.iter().zip(&captured.statistics) {
            let subsets = layout::SUBSETS.into_iter().zip([&statistics.all, &statistics.ordinary]);
            for ((subset, found), expected) in subsets.zip([n, statistics.ordinary.count.min(n)]) {
                let counts = [(layout::MEASURES[0], found.count), (layout::MEASURES[4], found.norms.total())];
                if let Some((measure, count)) = counts.into_iter().find(|(_, count)| *count != expected) {
                    return Err(StoreError::Layout {
                        path: self.path.to_owned(),
                        object: layout::statistic(hook.hook, subset, measure),
                        expected: format!("{expected} rows"),
                        found: format!("{count} rows"),
                    });
                }
            }
        }
        Ok(())
    }

    /// The bytes of a place that lies inside the file.
    pub(crate) fn bytes(&self, extent: Extent) -> Result<Vec<u8>, StoreError> {
        let length = usize::try_from(extent.bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| self.no_room(length))?;
        bytes.resize(length, 0);
        self.file.read_exact_at(&mut bytes, extent.offset).map_err(StoreError::io(self.path))?;
        Ok(bytes)
    }
}

impl Opened<'_> {
    fn no_room(&self, length: usize) -> StoreError {
        let problem = format!("describes its rows in {} MiB at once, for which there is no memory", length >> 20);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        layout::stored(self.path, &name, problem, "read it where there is more, or capture in shards")
    }
}

fn longs(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}
