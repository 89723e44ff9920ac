//! How is a matrix in somebody else's HDF5 file read?

use super::shape::{as_matrix, check_width};
use crate::error::StoreError;
use crate::layout;
use crate::matrix::{Matrix, Storage};
use half::f16;
use hdf5::filters::Filter;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Dataset, Group, LinkType};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::StoreDtype;

const PLUGIN: &str =
    "set HDF5_PLUGIN_PATH to the folder of its plugin, or write it again with gzip or without (h5repack -f NONE)";

/// Dataset names collected for a message.
const MOST_NAMES: usize = 100;

/// Opens the dataset `name` of the file.
pub(super) fn open(path: &Path, name: &str) -> Result<Matrix, StoreError> {
    let hdf5 = layout::open(path)?;
    let dataset = hdf5.dataset(name).map_err(|_| absent(&hdf5, path, name))?;
    layout::in_this_file(&dataset, &hdf5, path, name)?;
    let shape: Vec<u64> = dataset.shape().into_iter().map(|size| size as u64).collect();
    let (n, d) = as_matrix(&shape, path, name)?;
    let (dtype, rounded) = element_type(&hdf5, &dataset, path, name)?;
    check_width(d, path, name)?;
    check_filters(&dataset, path, name)?;
    layout::written_in_pieces(&dataset, path, name)?;
    let storage = storage(dataset, dtype, path, name)?;
    let name = name.rsplit('/').next().unwrap_or(name).to_owned();
    Ok(Matrix { path: path.to_owned(), name, n, d: d as usize, dtype, rounded, storage })
}

/// The error for a dataset that does not open: it is not there, or is a link to what is not there.
fn absent(hdf5: &hdf5::File, path: &Path, name: &str) -> StoreError {
    let (above, last) = name.trim_end_matches('/').rsplit_once('/').unwrap_or(("", name));
    let above = if above.is_empty() { hdf5.as_group() } else { hdf5.group(above) };
    let mut kind = None;
    let visited = above.and_then(|above| {
        above.iter_visit_default(|known, about| {
            kind = if known == last { Some(about.link_type) } else { kind };
            Ok(())
        })
    });
    let problem = match visited.ok().and(kind) {
        Some(LinkType::External) => "is a link to another file that is not there",
        Some(LinkType::Soft) => "is a link to what this file does not have",
        _ => {
            let (path, object) = (path.to_owned(), name.to_owned());
            return StoreError::NoSuchObject { path, object, holds: datasets(hdf5) };
        }
    };
    layout::stored(path, name, problem.to_owned(), "name the dataset where it lies, or put it back there")
}

/// The type that rows are handed out in, and whether that rounds them.
fn element_type(
    hdf5: &hdf5::File,
    dataset: &Dataset,
    path: &Path,
    name: &str,
) -> Result<(StoreDtype, bool), StoreError> {
    let found = match dataset.dtype().and_then(|dtype| dtype.to_descriptor()) {
        Ok(TypeDescriptor::Float(FloatSize::U8)) => return Ok((StoreDtype::F32, true)),
        Ok(TypeDescriptor::Float(FloatSize::U4)) => return Ok((StoreDtype::F32, false)),
        // Two bytes may be divided in another way than IEEE's; what they hold always fits f32.
        Ok(TypeDescriptor::Float(FloatSize::U2)) if is_half(dataset) => return Ok((StoreDtype::F16, false)),
        Ok(TypeDescriptor::Float(FloatSize::U2)) => return Ok((StoreDtype::F32, false)),
        Ok(unsigned @ TypeDescriptor::Unsigned(IntSize::U2)) => {
            layout::strings_end(hdf5, path)?;
            match layout::text(dataset, layout::DTYPE_ATTRIBUTE).as_deref() {
                Some("bf16") => return Ok((StoreDtype::Bf16, false)),
                _ => unsigned.to_string(),
            }
        }
        Ok(other) => other.to_string(),
        Err(_) => "elements of a type of its own".to_owned(),
    };
    let (file, last) = (path.display(), name.rsplit('/').next().unwrap_or(name));
    let remedy = format!("in Python: numpy.save('{last}.npy', h5py.File('{file}')['{name}'][...].astype('float32'))");
    Err(StoreError::ElementType { path: path.to_owned(), object: name.to_owned(), found, remedy })
}

/// Whether elements of two bytes are IEEE's, in either order of bytes.
fn is_half(dataset: &Dataset) -> bool {
    use hdf5::datatype::{ByteOrder, Conversion};
    let half = |dtype: &hdf5::Datatype| {
        let same = dtype.conv_to::<f16>() == Some(Conversion::NoOp);
        same || dtype.byte_order() == ByteOrder::BigEndian
    };
    dataset.dtype().is_ok_and(|dtype| half(&dtype))
}

/// Refuses what is packed by a filter that is not here, before HDF5 says of it where it looked for it.
fn check_filters(dataset: &Dataset, path: &Path, name: &str) -> Result<(), StoreError> {
    let missing = dataset.filters().into_iter().find(|filter| !Filter::get_info(filter.id()).decode_enabled);
    missing.map_or(Ok(()), |filter| {
        let problem = format!("is packed with {}, which is not here", filter_name(filter.id()));
        Err(layout::stored(path, name, problem, PLUGIN))
    })
}

/// What people call a filter, and its registered number.
fn filter_name(id: i32) -> String {
    let name = match id {
        1 => "gzip",
        4 => "szip",
        5 => "n-bit packing",
        6 => "scale-offset packing",
        305 => "LZO",
        307 => "bzip2",
        32000 => "LZF",
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32017 => "SZ",
        32024 => "SZ3",
        32026 => "Blosc2",
        _ => return format!("HDF5 filter {id}"),
    };
    format!("{name} (HDF5 filter {id})")
}

fn storage(dataset: Dataset, dtype: StoreDtype, path: &Path, name: &str) -> Result<Storage, StoreError> {
    let is_same = dataset.dtype().is_ok_and(|found| found.size() == dtype.size()) && layout::is_little_endian(&dataset);
    let plain = dataset.layout() == hdf5::dataset::Layout::Contiguous && is_same;
    if plain && dataset.offset().is_some() {
        let file = File::open(path).map_err(StoreError::io(path))?;
        let size = file.metadata().map_err(StoreError::io(path))?.len();
        let extent = layout::extent_of(&dataset, path, name, size)?;
        return Ok(Storage::Contiguous { file: Arc::new(file), offset: extent.offset });
    }
    let chunk_rows = dataset.chunk().and_then(|chunk| chunk.first().copied()).unwrap_or(1);
    let probe = dataset.shape().iter().all(|size| *size > 0);
    if probe {
        // A missing filter or lost external file shows at the first read: let it show before the first row is served.
        let first = dataset.read_slice_1d::<f32, _>((0, ..));
        first.map_err(layout::unreadable(path))?;
    }
    Ok(Storage::Hdf5 { dataset, chunk_rows })
}

/// Full names of the datasets below `group`, at most [`MOST_NAMES`].
pub(super) fn datasets(group: &Group) -> Vec<String> {
    let mut names = Vec::new();
    layout::visit_datasets(group, &mut |dataset| {
        names.push(dataset.name());
        names.len() < MOST_NAMES
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix of 1000 rows of zeros, packed so.
    fn packed(filter: Filter) -> Result<Matrix, StoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.h5");
        let file = hdf5::File::create(&path).expect("created");
        let builder = file.new_dataset::<f32>().shape((1000, 4)).chunk((100, 4));
        builder
            .with_dcpl(|list| list.set_filters(std::slice::from_ref(&filter)))
            .create("acts")
            .and_then(|acts| acts.write(&ndarray::Array2::<f32>::ones((1000, 4))))
            .expect("made");
        file.close().expect("closed");
        open(&path, "acts")
    }

    #[test]
    fn filters_that_are_here_are_used() {
        for filter in [Filter::deflate(4), Filter::shuffle(), Filter::fletcher32(), Filter::lzf(), Filter::nbit()] {
            assert!(Filter::get_info(filter.id()).decode_enabled, "{filter:?}");
        }
        packed(Filter::lzf()).expect("read");
    }

    #[test]
    fn filters_are_called_by_name_and_number() {
        assert_eq!(filter_name(32001), "Blosc (HDF5 filter 32001)");
        assert_eq!(filter_name(40000), "HDF5 filter 40000");
    }
}
