//! Is this a complete activation file as `activations/README.md` specifies it?

use super::{Captured, Shard};
use crate::error::StoreError;
use crate::layout::{self, Extent, Layout};
use crate::matrix::{Matrix, RowNumbers, Storage};
use crate::statistics::{ColumnStatistics, Statistics};
use hdf5::types::VarLenUnicode;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::CaptureManifest;
use untangle_schema::capture::HookColumn;
use zerocopy::IntoBytes;

/// Opens and validates a file of our own format.
pub(super) fn open(path: &Path) -> Result<Shard, StoreError> {
    let hdf5 = layout::open(path)?;
    check_version(&hdf5, path)?;
    let file = Arc::new(File::open(path).map_err(StoreError::io(path))?);
    let opened = Opened { path, hdf5: &hdf5, file: &file };
    let manifest = opened.manifest()?;
    let layout = Layout::locate(&hdf5, path, &manifest)?;
    opened.check_complete(&layout)?;
    let numbers = |name| RowNumbers { path: path.to_owned(), file: file.clone(), offset: layout.extent(name).offset };
    let captured = Captured {
        statistics: manifest.hooks.iter().map(|hook| opened.statistics(&layout, hook)).collect::<Result<_, _>>()?,
        tokens: numbers(layout::TOKENS),
        documents: numbers(layout::DOCUMENTS),
        positions: numbers(layout::POSITIONS),
        flags: numbers(layout::FLAGS),
        manifest,
    };
    opened.check_counts(&captured)?;
    let column = |hook: &HookColumn| Matrix {
        path: path.to_owned(),
        name: hook.hook.to_string(),
        n: captured.manifest.n_rows,
        d: hook.d_in,
        dtype: captured.manifest.store_dtype,
        storage: Storage::Contiguous {
            file: file.clone(),
            offset: layout.extent(&layout::activations(hook.hook)).offset,
        },
    };
    let columns = captured.manifest.hooks.iter().map(column).collect();
    Ok(Shard { path: path.to_owned(), n_rows: captured.manifest.n_rows, columns, captured: Some(captured) })
}

fn check_version(hdf5: &hdf5::File, path: &Path) -> Result<(), StoreError> {
    let format = hdf5.attr(layout::FORMAT_ATTRIBUTE).and_then(|a| a.read_scalar::<VarLenUnicode>());
    if !format.is_ok_and(|format| format.as_str() == layout::FORMAT) {
        let holds = super::foreign_hdf5::datasets(hdf5);
        return Err(StoreError::NotAStore { path: path.to_owned(), holds });
    }
    let found = hdf5.attr(layout::VERSION_ATTRIBUTE).and_then(|a| a.read_scalar::<u32>());
    match found.map_err(layout::unreadable(path))? {
        layout::VERSION => Ok(()),
        found => Err(StoreError::Version { path: path.to_owned(), found, supported: layout::VERSION }),
    }
}

struct Opened<'a> {
    path: &'a Path,
    hdf5: &'a hdf5::File,
    file: &'a File,
}

impl Opened<'_> {
    fn manifest(&self) -> Result<CaptureManifest, StoreError> {
        let size = self.file.metadata().map_err(StoreError::io(self.path))?.len();
        let dataset = layout::dataset(self.hdf5, self.path, layout::MANIFEST)?;
        let extent = layout::extent_of(&dataset, self.path, layout::MANIFEST, size)?;
        let bytes = self.bytes(extent)?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Manifest { path: self.path.to_owned(), source })
    }

    fn check_complete(&self, layout: &Layout) -> Result<(), StoreError> {
        match self.bytes(layout.extent(layout::COMPLETE))?.as_slice() {
            [1] => Ok(()),
            _ => Err(StoreError::NotComplete { path: self.path.to_owned() }),
        }
    }

    fn statistics(&self, layout: &Layout, hook: &HookColumn) -> Result<ColumnStatistics, StoreError> {
        let subset = |subset: &str| -> Result<Statistics, StoreError> {
            let read = |measure: &str| self.bytes(layout.extent(&layout::statistic(hook.hook, subset, measure)));
            let [count, mean, second_moment, norm] = layout::MEASURES.map(read);
            let norm = floats(&norm?);
            let mut counts = [0u64];
            counts.as_mut_bytes().copy_from_slice(&count?);
            Ok(Statistics {
                count: counts[0],
                mean: floats(&mean?),
                second_moment: floats(&second_moment?),
                norm_mean: norm[0],
                norm_second_moment: norm[1],
                norm_max: norm[2],
            })
        };
        Ok(ColumnStatistics { all: subset(layout::SUBSETS[0])?, ordinary: subset(layout::SUBSETS[1])? })
    }

    /// Statistics that were gathered over another number of rows belong to another file.
    fn check_counts(&self, captured: &Captured) -> Result<(), StoreError> {
        let n = captured.manifest.n_rows;
        for (hook, statistics) in captured.manifest.hooks.iter().zip(&captured.statistics) {
            if statistics.all.count != n || statistics.ordinary.count > n {
                return Err(StoreError::Layout {
                    path: self.path.to_owned(),
                    object: layout::statistic(hook.hook, layout::SUBSETS[0], layout::MEASURES[0]),
                    expected: n.to_string(),
                    found: statistics.all.count.to_string(),
                });
            }
        }
        Ok(())
    }

    fn bytes(&self, extent: Extent) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; extent.bytes as usize];
        self.file.read_exact_at(&mut bytes, extent.offset).map_err(StoreError::io(self.path))?;
        Ok(bytes)
    }
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}
