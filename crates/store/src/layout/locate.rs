//! Where does everything lie in an existing file, and is it what the specification demands?

use super::names::{ACTIVATIONS, MANIFEST};
use super::specified::{Specified, specified};
use super::storage::{in_this_file, written_in_pieces};
use crate::error::StoreError;
use hdf5::{Dataset, File};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use untangle_schema::CaptureManifest;

/// A dataset's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte.
    pub(crate) offset: u64,
    /// Number of bytes.
    pub(crate) bytes: u64,
}

/// Where the elements of a dataset are.
#[derive(Clone, Debug)]
pub(crate) enum Located {
    /// One after the other.
    Contiguous(Extent),
    /// In chunks, which only activations may be.
    Chunked(Dataset),
}

/// The place of every dataset.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    found: BTreeMap<String, Located>,
}

impl Layout {
    /// The place of a dataset that the specification demands to be contiguous.
    pub(crate) fn extent(&self, name: &str) -> Extent {
        match self.found.get(name) {
            Some(Located::Contiguous(extent)) => *extent,
            _ => unreachable!("locate() found `{name}`, and only activations that are read may be chunked"),
        }
    }

    /// The place of a dataset, where it was found as the specification has it.
    pub(crate) fn located(&self, name: &str) -> Option<&Located> {
        self.found.get(name)
    }

    /// Every dataset with its place.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Located)> {
        self.found.iter().map(|(name, located)| (name.as_str(), located))
    }

    /// Finds and checks every dataset of an open file: type, shape, contiguity, and that it lies inside the file.
    ///
    /// # Errors
    /// [`StoreError::Layout`], [`StoreError::NoSuchObject`] or [`StoreError::Truncated`] naming the first dataset that
    /// is not as specified.
    pub(crate) fn locate(file: &File, path: &Path, manifest: &CaptureManifest) -> Result<Self, StoreError> {
        let (layout, mut wrong) = Self::examine(file, path, manifest)?;
        if wrong.is_empty() { Ok(layout) } else { Err(wrong.swap_remove(0)) }
    }

    /// As [`Layout::locate`], but goes on behind what is wrong: the datasets that are right, and an error for each that
    /// is not.
    pub(crate) fn examine(
        file: &File,
        path: &Path,
        manifest: &CaptureManifest,
    ) -> Result<(Self, Vec<StoreError>), StoreError> {
        let size = std::fs::metadata(path).map_err(StoreError::io(path))?.len();
        let manifest_bytes = dataset(file, path, MANIFEST)?.storage_size() as usize;
        let (mut found, mut wrong) = (BTreeMap::new(), Vec::new());
        for wanted in specified(manifest, manifest_bytes) {
            match find(file, path, &wanted, size) {
                Ok(located) => drop(found.insert(wanted.name, located)),
                Err(error) => wrong.push(error),
            }
        }
        Ok((Layout { found }, wrong))
    }
}

fn find(file: &File, path: &Path, wanted: &Specified, size: u64) -> Result<Located, StoreError> {
    let found = dataset(file, path, &wanted.name)?;
    check(&found, path, wanted)?;
    let may_be_chunked = wanted.name.starts_with(ACTIVATIONS);
    if may_be_chunked && found.is_chunked() {
        check_chunks(&found, path, wanted)?;
        written_in_pieces(&found, path, &wanted.name)?;
        return Ok(Located::Chunked(found));
    }
    extent_of(&found, path, &wanted.name, size).map(Located::Contiguous)
}

/// The dataset `name`, whose elements lie in this file.
pub(crate) fn dataset(file: &File, path: &Path, name: &str) -> Result<Dataset, StoreError> {
    let found = file.dataset(name).map_err(|_| StoreError::NoSuchObject {
        path: path.to_owned(),
        object: name.to_owned(),
        holds: file.member_names().unwrap_or_default(),
    })?;
    in_this_file(&found, file, path, name)?;
    Ok(found)
}

fn check(found: &Dataset, path: &Path, wanted: &Specified) -> Result<(), StoreError> {
    let wrong = |expected: String, found: String| {
        Err(StoreError::Layout { path: path.to_owned(), object: wanted.name.clone(), expected, found })
    };
    let element = found.dtype().and_then(|dtype| dtype.to_descriptor()).map_err(unreadable(path))?;
    if found.shape() != wanted.shape {
        return wrong(format!("shape {:?}", wanted.shape), format!("shape {:?}", found.shape()));
    }
    if element != wanted.element {
        return wrong(wanted.element.to_string(), element.to_string());
    }
    if !is_little_endian(found) {
        return wrong("little-endian".into(), "big-endian".into());
    }
    Ok(())
}

/// Whether a dataset in chunks has whole rows in each, and each of them. What was never written takes no place in the
/// file, so that its shape alone says nothing.
fn check_chunks(found: &Dataset, path: &Path, wanted: &Specified) -> Result<(), StoreError> {
    let (chunk, n) = (found.chunk().unwrap_or_default(), wanted.shape.first().copied().unwrap_or(0));
    let wrong = |expected: String, found: String| {
        Err(StoreError::Layout { path: path.to_owned(), object: wanted.name.clone(), expected, found })
    };
    let rows = match chunk.as_slice() {
        [rows, width] if *rows > 0 && wanted.shape.get(1) == Some(width) => *rows,
        _ => return wrong("chunks of whole rows".into(), format!("in chunks of shape {chunk:?}")),
    };
    let (expected, chunks) = (n.div_ceil(rows), found.num_chunks().unwrap_or(0));
    if chunks == expected { Ok(()) } else { wrong(format!("{expected} chunks"), format!("in {chunks} chunks")) }
}

/// Whether elements are little-endian; types without an order (strings, bytes) count as such.
pub(crate) fn is_little_endian(dataset: &Dataset) -> bool {
    dataset.dtype().is_ok_and(|dtype| dtype.byte_order() != hdf5::datatype::ByteOrder::BigEndian)
}

/// The bytes of a contiguous dataset, known to lie inside a file of `size` bytes.
pub(crate) fn extent_of(found: &Dataset, path: &Path, name: &str, size: u64) -> Result<Extent, StoreError> {
    let bytes = found.storage_size();
    let Some(offset) = found.offset() else {
        return Err(StoreError::Layout {
            path: path.to_owned(),
            object: name.to_owned(),
            expected: "contiguous".into(),
            found: "stored otherwise".into(),
        });
    };
    let end = offset.saturating_add(bytes);
    if end > size {
        return Err(StoreError::Truncated { path: path.to_owned(), object: name.to_owned(), end, size });
    }
    Ok(Extent { offset, bytes })
}

/// Decompressed chunks that HDF5 keeps, so that a chunk which two reads share is unpacked once.
const CHUNK_CACHE_BYTES: usize = 16 << 20;
/// Slots of that cache: a prime, as HDF5 advises.
const CHUNK_CACHE_SLOTS: usize = 12_421;

/// Opens a file for reading. HDF5's own locks are left out: they fail on some network file systems, and a finished file
/// never changes.
pub(crate) fn open(path: &Path) -> Result<File, StoreError> {
    File::with_options()
        .with_fapl(|access| access.file_locking(false).chunk_cache(CHUNK_CACHE_SLOTS, CHUNK_CACHE_BYTES, 1.0))
        .open(path)
        .map_err(unreadable(path))
}

/// Turns HDF5's complaint into an error of this crate.
pub(crate) fn unreadable(path: &Path) -> impl Fn(hdf5::Error) -> StoreError {
    let path: PathBuf = path.to_owned();
    move |error| {
        let text = error.to_string();
        let detail = without_paths(text.lines().next().unwrap_or("").trim(), &path);
        StoreError::Unreadable { path: path.clone(), detail }
    }
}

/// What HDF5 says, without the folders of the machine that it was built on, which it names where it misses a plugin.
fn without_paths(text: &str, own: &Path) -> String {
    let own = own.display().to_string();
    let is_foreign = |word: &str| {
        let path = word.trim_matches(|c: char| "()[]'\"`,;:.".contains(c));
        path.starts_with('/') && path.matches('/').count() > 2 && !path.contains(&own)
    };
    text.split(' ').map(|word| if is_foreign(word) { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_the_file_is_told() {
        let said =
            "H5Dread(): can't open directory (/build/deps/hdf5/lib/plugin). Please verify '/d/e/f/x.h5', '/acts'";
        let told = without_paths(said, "/d/e/f/x.h5".as_ref());
        assert_eq!(told, "H5Dread(): can't open directory … Please verify '/d/e/f/x.h5', '/acts'");
    }
}
