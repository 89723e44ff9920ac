//! Do the elements of a dataset lie in its own file, all of them, and in pieces that memory holds?
//!
//! HDF5 reads what lies nowhere as zeros: parts of a virtual dataset whose source is missing, chunks that nobody wrote. A shape
//! alone costs nothing, so that a file of kilobytes may claim any number of rows. All of this is told from the file's own words, by
//! arithmetic, before an element is read.

use crate::error::StoreError;
use hdf5::dataset::Layout;
use hdf5::{Dataset, File};
use std::path::Path;

/// Largest chunk that is unpacked, in bytes: half of what HDF5 could write four of.
const LARGEST_CHUNK: u64 = 512 << 20;

const INTO_ONE_FILE: &str = "copy its data into one file (in Python, with h5py: out[NAME] = file[NAME][...])";
const WRITE_ALL: &str = "write them, or make the dataset shorter (h5py: dataset.resize)";

/// Refuses a dataset whose elements lie in other files.
///
/// # Errors
/// [`StoreError::Stored`] with what its creator asked for.
pub(crate) fn in_this_file(dataset: &Dataset, file: &File, path: &Path, name: &str) -> Result<(), StoreError> {
    let number = |place: hdf5::Result<hdf5::LocationInfo>| place.map(|place| place.fileno).ok();
    if number(dataset.loc_info()) != number(file.loc_info()) {
        let (other, there) = (dataset.filename(), dataset.name());
        let problem = format!("is a link to another file, {other}, and only {} was named", path.display());
        return Err(stored(path, name, problem, &format!("name {other}:{there}")));
    }
    let problem = match dataset.layout() {
        Layout::Virtual => "is virtual: its rows lie in other files, and those that are missing would be read as zeros",
        _ if is_external(dataset) => "has its data in external files, which may have changed since",
        _ => return Ok(()),
    };
    Err(stored(path, name, problem.to_owned(), INTO_ONE_FILE))
}

/// Whether what was asked for when the dataset was made says so, or cannot be read.
fn is_external(dataset: &Dataset) -> bool {
    dataset.dcpl().and_then(|list| list.get_external()).map_or(true, |files| !files.is_empty())
}

/// Refuses a dataset with parts that were never written, or with chunks that are too large to be unpacked.
///
/// # Errors
/// [`StoreError::Stored`] with the numbers.
pub(crate) fn written_in_pieces(dataset: &Dataset, path: &Path, name: &str) -> Result<(), StoreError> {
    let shape: Vec<u64> = dataset.shape().into_iter().map(|size| size as u64).collect();
    if shape.contains(&0) {
        return Ok(());
    }
    let element = dataset.dtype().map_or(1, |dtype| dtype.size() as u64);
    let Some(chunk) = dataset.chunk() else {
        let is_missing = dataset.layout() == Layout::Contiguous && dataset.offset().is_none();
        let problem = || format!("has shape {shape:?}, and nothing of it was ever written");
        return if is_missing { Err(stored(path, name, problem(), WRITE_ALL)) } else { Ok(()) };
    };
    let chunk: Vec<u64> = chunk.into_iter().map(|size| size as u64).collect();
    let bytes = chunk.iter().fold(element, |bytes, size| bytes.saturating_mul(*size));
    if bytes > LARGEST_CHUNK {
        let (mib, most) = (bytes.div_ceil(1 << 20), LARGEST_CHUNK >> 20);
        let problem =
            format!("is stored in chunks of {mib} MiB, of which each is unpacked whole; {most} MiB are taken");
        return Err(stored(path, name, problem, "write it again in smaller ones (h5repack -l NAME:CHUNK=1024xWIDTH)"));
    }
    let along = |(size, chunk): (&u64, &u64)| size.div_ceil((*chunk).max(1));
    let expected = shape.iter().zip(&chunk).map(along).fold(1u64, u64::saturating_mul);
    let found = dataset.num_chunks().unwrap_or(0) as u64;
    if found < expected {
        let problem = format!("has shape {shape:?} in {expected} chunks, of which {found} were ever written");
        return Err(stored(path, name, problem, WRITE_ALL));
    }
    Ok(())
}

/// The error for a dataset that is stored in a way that is not read.
pub(crate) fn stored(path: &Path, name: &str, problem: String, remedy: &str) -> StoreError {
    StoreError::Stored { path: path.to_owned(), object: name.to_owned(), problem, remedy: remedy.to_owned() }
}
