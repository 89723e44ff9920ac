//! How are rows of a matrix on disk read, whatever file it lies in?

use crate::element::Elements;
use crate::error::StoreError;
use crate::foreign::{Foreign, Order, ROWS_TOGETHER};
use crate::layout::unreadable;
use crate::sys;
use half::f16;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use untangle_schema::StoreDtype;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A row-major `[n, d]` matrix in a file.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    /// The file.
    pub(crate) path: PathBuf,
    /// Hook point, dataset, key or file stem.
    pub(crate) name: String,
    /// Number of rows.
    pub(crate) n: u64,
    /// Width of a row.
    pub(crate) d: usize,
    /// Type that rows are handed out in.
    pub(crate) dtype: StoreDtype,
    /// Whether rows are doubles in the file, which are rounded.
    pub(crate) rounded: bool,
    /// Where the elements lie.
    pub(crate) storage: Storage,
}

/// Where the elements of a matrix lie.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// One after the other from `offset` of the file, little-endian: read without any library.
    Contiguous { file: Arc<File>, offset: u64 },
    /// One after the other in another form or order.
    Foreign(Foreign),
    /// In chunks, compressed or of another type: read by HDF5, at best `chunk_rows` at a time.
    Hdf5 { dataset: hdf5::Dataset, chunk_rows: usize },
}

impl Matrix {
    /// Reads `rows` into `out` from element `at` on; `out` has this matrix' type.
    pub(crate) fn read(&self, rows: Range<u64>, out: &mut Elements, at: usize) -> Result<(), StoreError> {
        let len = (rows.end - rows.start) as usize * self.d;
        match &self.storage {
            Storage::Contiguous { file, offset } => {
                let row_bytes = (self.d * self.dtype.size()) as u64;
                let bytes = out.bytes_mut(at..at + len);
                file.read_exact_at(bytes, offset + rows.start * row_bytes).map_err(StoreError::io(&self.path))
            }
            Storage::Foreign(foreign) => foreign.read(&self.path, (self.n, self.d), rows, out.bytes_mut(at..at + len)),
            Storage::Hdf5 { dataset, .. } => {
                let rows = rows.start as usize..rows.end as usize;
                match self.dtype {
                    StoreDtype::F32 => self.read_slice::<f32>(dataset, rows, out.bytes_mut(at..at + len)),
                    StoreDtype::F16 => self.read_slice::<f16>(dataset, rows, out.bytes_mut(at..at + len)),
                    StoreDtype::Bf16 => self.read_slice::<u16>(dataset, rows, out.bytes_mut(at..at + len)),
                }
            }
        }
    }

    /// Reads rows by HDF5, in native byte order and this type.
    fn read_slice<T>(&self, dataset: &hdf5::Dataset, rows: Range<usize>, out: &mut [u8]) -> Result<(), StoreError>
    where
        T: hdf5::H5Type + IntoBytes + Immutable,
    {
        let block = dataset.read_slice_2d::<T, _>((rows, ..)).map_err(unreadable(&self.path))?;
        let elements = block.as_slice().expect("HDF5 fills a fresh array in standard order");
        out.copy_from_slice(elements.as_bytes());
        Ok(())
    }

    /// Announces that `rows` will be read soon.
    pub(crate) fn announce(&self, rows: Range<u64>) {
        let (file, offset, size) = match &self.storage {
            Storage::Contiguous { file, offset } => (file, offset, self.dtype.size()),
            Storage::Foreign(foreign) if foreign.order == Order::Rows => {
                (&foreign.file, &foreign.offset, foreign.float.bytes)
            }
            _ => return,
        };
        let row_bytes = (self.d * size) as u64;
        sys::will_need(file, offset + rows.start * row_bytes, (rows.end - rows.start) * row_bytes);
    }

    /// Rows that are best read together.
    pub(crate) fn granule(&self) -> usize {
        match &self.storage {
            Storage::Foreign(foreign) if foreign.order == Order::Columns => ROWS_TOGETHER,
            Storage::Contiguous { .. } | Storage::Foreign(_) => 1,
            Storage::Hdf5 { chunk_rows, .. } => *chunk_rows,
        }
    }
}

/// A column of one number per row (tokens, documents, positions, flags): contiguous and little-endian.
#[derive(Clone, Debug)]
pub(crate) struct RowNumbers {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
}

impl RowNumbers {
    /// Announces that the numbers of `rows`, of `size` bytes each, will be read soon.
    pub(crate) fn announce(&self, rows: Range<u64>, size: u64) {
        sys::will_need(&self.file, self.offset + rows.start * size, (rows.end - rows.start) * size);
    }

    /// Appends the numbers of `rows` to `out`.
    pub(crate) fn append<T>(&self, rows: Range<u64>, out: &mut Vec<T>) -> Result<(), StoreError>
    where
        T: Copy + Default + FromBytes + IntoBytes,
    {
        let start = out.len();
        out.resize(start + (rows.end - rows.start) as usize, T::default());
        let at = self.offset + rows.start * size_of::<T>() as u64;
        self.file.read_exact_at(out[start..].as_mut_bytes(), at).map_err(StoreError::io(&self.path))
    }
}
