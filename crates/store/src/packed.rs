//! How does a finished file become a compressed one?
//!
//! HDF5 compresses chunk by chunk, and a chunk's size is known only afterwards, so nothing can be written to its final
//! place, and HDF5 itself is not safe against crashes. The rows are therefore written without compression first, as
//! always, and this is one sequential pass at the end: whatever stops it, the complete contiguous file is still there,
//! and the next run makes the pass again.

use crate::begin::space_or_io;
use crate::element::Elements;
use crate::error::StoreError;
use crate::layout::{self, Layout, Located, Packing};
use crate::{durable, sys};
use half::{bf16, f16};
use hdf5::Dataset;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use untangle_schema::{CaptureManifest, Classify, Fault};

/// The level of gzip.
const LEVEL: u8 = 1;
/// Uncompressed bytes of a chunk, about: what a reader unpacks at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes copied at a time.
const COPIED: usize = 1 << 20;
/// A disk with less than this is full for our purposes.
const FULL: u64 = 1 << 20;

/// Asked between chunks with the number of rows written so far and of all, hook points counted one by one; the pass is
/// given up where it says false.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Writes what the complete file `from` holds to `to`, with compressed activations; false where `progress` stopped it.
///
/// # Errors
/// When reading or writing fails; nothing is left at `to` then.
pub(crate) fn pack(
    from: &Path,
    to: &Path,
    manifest: &CaptureManifest,
    progress: Progress<'_>,
) -> Result<bool, StoreError> {
    durable::remove(to)?;
    let packed = write(from, to, manifest, progress).map_err(|error| written_badly(to, error));
    if !matches!(packed, Ok(true)) {
        durable::remove(to)?;
    }
    packed
}

fn write(from: &Path, to: &Path, manifest: &CaptureManifest, progress: Progress<'_>) -> Result<bool, StoreError> {
    let source = Layout::locate(&layout::open(from)?, from, manifest)?;
    let json_bytes = source.extent(layout::MANIFEST).bytes as usize;
    layout::create(to, manifest, json_bytes, Some(Packing { level: LEVEL, chunk_bytes: CHUNK_BYTES }))?;
    let data = File::open(from).map_err(StoreError::io(from))?;
    let failed = |error: hdf5::Error| out_of_space_or_io(to, error);
    let (mut done, total) = (0, manifest.n_rows.saturating_mul(manifest.hooks.len() as u64));
    let file = hdf5::File::with_options().with_fapl(|access| access.file_locking(false)).open_rw(to).map_err(failed)?;
    for column in &manifest.hooks {
        let name = layout::activations(column.hook);
        let target = layout::dataset(&file, to, &name)?;
        let rows_at_a_time = target.chunk().and_then(|chunk| chunk.first().copied()).unwrap_or(1) as u64;
        let row_bytes = (column.d_in * manifest.store_dtype.size()) as u64;
        let mut elements = Elements::zeros(manifest.store_dtype, 0);
        let mut first = 0;
        while first < manifest.n_rows {
            if !progress(done, total) {
                return Ok(false);
            }
            let n = rows_at_a_time.min(manifest.n_rows - first);
            let len = n as usize * column.d_in;
            elements.resize(len);
            let offset = source.extent(&name).offset + first * row_bytes;
            data.read_exact_at(elements.bytes_mut(0..len), offset).map_err(StoreError::io(from))?;
            write_rows(&target, first as usize, column.d_in, &elements).map_err(failed)?;
            (first, done) = (first + n, done + n);
        }
        // HDF5 writes chunks when it likes, and tells nobody what goes wrong when a dataset is let go of.
        file.flush().map_err(failed)?;
    }
    file.close().map_err(failed)?;
    copy_the_rest(&data, &source, from, to, manifest)?;
    progress(done, total);
    Ok(true)
}

fn write_rows(target: &Dataset, first: usize, d: usize, elements: &Elements) -> hdf5::Result<()> {
    fn write<T: hdf5::H5Type>(target: &Dataset, first: usize, d: usize, values: &[T]) -> hdf5::Result<()> {
        let rows = values.len() / d;
        let view =
            ndarray::ArrayView2::from_shape((rows, d), values).map_err(|error| hdf5::Error::from(error.to_string()))?;
        target.write_slice(view, (first..first + rows, ..))
    }
    match elements {
        Elements::F32(values) => write::<f32>(target, first, d, values),
        Elements::F16(values) => write::<f16>(target, first, d, values),
        // HDF5 has no bf16; its bits lie in u16.
        Elements::Bf16(values) => {
            let bits: Vec<u16> = values.iter().copied().map(bf16::to_bits).collect();
            write::<u16>(target, first, d, &bits)
        }
    }
}

/// Copies every dataset that is contiguous in both files.
fn copy_the_rest(
    data: &File,
    source: &Layout,
    from: &Path,
    to: &Path,
    manifest: &CaptureManifest,
) -> Result<(), StoreError> {
    let target = Layout::locate(&layout::open(to)?, to, manifest)?;
    let file = OpenOptions::new().write(true).open(to).map_err(StoreError::io(to))?;
    let mut buffer = vec![0; COPIED];
    for (name, located) in target.all() {
        let Located::Contiguous(place) = located else { continue };
        let begin = source.extent(name).offset;
        for at in (0..place.bytes).step_by(COPIED) {
            let piece = &mut buffer[..COPIED.min((place.bytes - at) as usize)];
            data.read_exact_at(piece, begin + at).map_err(StoreError::io(from))?;
            file.write_all_at(piece, place.offset + at).map_err(|error| space_or_io(to, piece.len() as u64, error))?;
        }
    }
    file.sync_all().map_err(StoreError::io(to))
}

/// What was written a moment ago can only be damaged because it did not get onto the disk.
fn written_badly(to: &Path, error: StoreError) -> StoreError {
    match error {
        error if error.fault() != Fault::BadInput => error,
        error => out_of_space_or_io(to, hdf5::Error::from(error.to_string())),
    }
}

/// HDF5 says in words only that a disk is full.
fn out_of_space_or_io(path: &Path, error: hdf5::Error) -> StoreError {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let full = sys::available(folder).is_ok_and(|available| available < FULL);
    let source = if full { ErrorKind::StorageFull.into() } else { std::io::Error::other(error.to_string()) };
    space_or_io(path, CHUNK_BYTES as u64, source)
}
