//! Where does everything lie in an activation file? The names and types of `activations/README.md`, version 1.

use crate::error::StoreError;
use hdf5::dataset::{AllocTime, FillTime};
use hdf5::types::{FloatSize, IntSize, TypeDescriptor, VarLenUnicode};
use hdf5::{Dataset, File, Group};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use untangle_schema::{CaptureManifest, HookPoint, StoreDtype};

/// Value of the root attribute [`FORMAT_ATTRIBUTE`].
pub(crate) const FORMAT: &str = "untangle-activations";
/// Version that this program writes and reads.
pub(crate) const VERSION: u32 = 1;
pub(crate) const FORMAT_ATTRIBUTE: &str = "format";
pub(crate) const VERSION_ATTRIBUTE: &str = "version";
/// Attribute of an activation dataset: `f32`, `f16` or `bf16`.
pub(crate) const DTYPE_ATTRIBUTE: &str = "dtype";

pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const COMPLETE: &str = "complete";
pub(crate) const TOKENS: &str = "tokens";
pub(crate) const DOCUMENTS: &str = "documents";
pub(crate) const POSITIONS: &str = "positions";
pub(crate) const FLAGS: &str = "flags";
pub(crate) const ACTIVATIONS: &str = "activations";
pub(crate) const STATISTICS: &str = "statistics";
/// The two sets of rows that have statistics, in the order of `ColumnStatistics`.
pub(crate) const SUBSETS: [&str; 2] = ["all", "ordinary"];
/// The statistics of a subset.
pub(crate) const MEASURES: [&str; 4] = ["count", "mean", "second_moment", "norm"];

/// Large datasets begin at multiples of a page.
const ALIGNMENT: u64 = 4096;

/// Name of the dataset of a hook point.
pub(crate) fn activations(hook: HookPoint) -> String {
    format!("{ACTIVATIONS}/{hook}")
}

/// Name of a statistic of a hook point.
pub(crate) fn statistic(hook: HookPoint, subset: &str, measure: &str) -> String {
    format!("{STATISTICS}/{hook}/{subset}/{measure}")
}

/// HDF5 type of stored activations; bf16, which HDF5 lacks, lies in u16.
pub(crate) fn element_type(dtype: StoreDtype) -> TypeDescriptor {
    match dtype {
        StoreDtype::F32 => TypeDescriptor::Float(FloatSize::U4),
        StoreDtype::F16 => TypeDescriptor::Float(FloatSize::U2),
        StoreDtype::Bf16 => TypeDescriptor::Unsigned(IntSize::U2),
    }
}

/// One dataset as the specification wants it.
struct Specified {
    name: String,
    element: TypeDescriptor,
    shape: Vec<usize>,
}

/// Every dataset of a file with this manifest, in the order in which they are created.
fn specified(manifest: &CaptureManifest, manifest_bytes: usize) -> Vec<Specified> {
    let n = manifest.n_rows as usize;
    let word = TypeDescriptor::Unsigned(IntSize::U4);
    let mut all: Vec<(String, TypeDescriptor, Vec<usize>)> = vec![
        (MANIFEST.into(), TypeDescriptor::FixedUnicode(manifest_bytes), vec![]),
        (COMPLETE.into(), TypeDescriptor::Unsigned(IntSize::U1), vec![]),
    ];
    for column in &manifest.hooks {
        for subset in SUBSETS {
            for (measure, shape) in MEASURES.into_iter().zip([vec![], vec![column.d_in], vec![column.d_in], vec![3]]) {
                let count = TypeDescriptor::Unsigned(IntSize::U8);
                let element = if measure == "count" { count } else { TypeDescriptor::Float(FloatSize::U8) };
                all.push((statistic(column.hook, subset, measure), element, shape));
            }
        }
    }
    all.extend([TOKENS, DOCUMENTS, POSITIONS].map(|name| (name.to_owned(), word.clone(), vec![n])));
    all.push((FLAGS.into(), TypeDescriptor::Unsigned(IntSize::U1), vec![n]));
    for column in &manifest.hooks {
        all.push((activations(column.hook), element_type(manifest.store_dtype), vec![n, column.d_in]));
    }
    all.into_iter().map(|(name, element, shape)| Specified { name, element, shape }).collect()
}

/// Bytes that a file with this manifest and its journal need: the rows, and generously everything else.
pub(crate) fn file_bytes(manifest: &CaptureManifest, manifest_bytes: usize) -> u64 {
    const HEADERS: usize = 64 << 10;
    const HEADERS_PER_HOOK: usize = 32 << 10;
    /// Mean and second moment of two subsets: in the file, in the journal and in the journal's replacement.
    const STATISTICS: usize = 3 * 2 * 2 * 8;
    let hooks = manifest.hooks.iter();
    let beside: usize = hooks.clone().map(|hook| HEADERS_PER_HOOK + STATISTICS * hook.d_in).sum();
    let row: usize = hooks.map(|hook| hook.d_in * manifest.store_dtype.size()).sum();
    let rows = manifest.n_rows.saturating_mul((row + 3 * 4 + 1) as u64);
    rows.saturating_add((HEADERS + beside + 3 * manifest_bytes) as u64)
}

/// A dataset's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte.
    pub(crate) offset: u64,
    /// Number of bytes.
    pub(crate) bytes: u64,
}

/// The place of every dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    extents: BTreeMap<String, Extent>,
}

impl Layout {
    /// The place of a dataset that the specification demands.
    pub(crate) fn extent(&self, name: &str) -> Extent {
        *self.extents.get(name).expect("locate() found every name that the specification gives for the manifest")
    }

    /// Finds and checks every dataset of an open file: type, shape, contiguity, and that it lies inside the file.
    ///
    /// # Errors
    /// [`StoreError::Layout`], [`StoreError::NoSuchObject`] or [`StoreError::Truncated`] naming the dataset.
    pub(crate) fn locate(file: &File, path: &Path, manifest: &CaptureManifest) -> Result<Self, StoreError> {
        let size = std::fs::metadata(path).map_err(StoreError::io(path))?.len();
        let manifest_bytes = dataset(file, path, MANIFEST)?.storage_size() as usize;
        let mut extents = BTreeMap::new();
        for wanted in specified(manifest, manifest_bytes) {
            let found = dataset(file, path, &wanted.name)?;
            check(&found, path, &wanted)?;
            extents.insert(wanted.name.clone(), extent_of(&found, path, &wanted.name, size)?);
        }
        Ok(Layout { extents })
    }
}

/// The dataset `name`.
pub(crate) fn dataset(file: &File, path: &Path, name: &str) -> Result<Dataset, StoreError> {
    file.dataset(name).map_err(|_| StoreError::NoSuchObject {
        path: path.to_owned(),
        object: name.to_owned(),
        holds: file.member_names().unwrap_or_default(),
    })
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

/// Opens a file for reading. HDF5's own locks are left out: they fail on some network file systems, and a finished file
/// never changes.
pub(crate) fn open(path: &Path) -> Result<File, StoreError> {
    File::with_options().with_fapl(|access| access.file_locking(false)).open(path).map_err(unreadable(path))
}

/// Turns HDF5's complaint into an error of this crate.
pub(crate) fn unreadable(path: &Path) -> impl Fn(hdf5::Error) -> StoreError {
    let path: PathBuf = path.to_owned();
    move |error| {
        let text = error.to_string();
        StoreError::Unreadable { path: path.clone(), detail: text.lines().next().unwrap_or("").trim().to_owned() }
    }
}

/// Creates the file `path` with all its datasets laid out and none of their data written.
///
/// # Errors
/// When HDF5 cannot create it, with HDF5's words.
pub(crate) fn create(path: &Path, manifest: &CaptureManifest, manifest_bytes: usize) -> Result<(), StoreError> {
    create_with_hdf5(path, manifest, manifest_bytes)
        .map_err(|error| StoreError::Io { path: path.to_owned(), source: std::io::Error::other(error.to_string()) })
}

fn create_with_hdf5(path: &Path, manifest: &CaptureManifest, manifest_bytes: usize) -> hdf5::Result<()> {
    let file = File::with_options()
        .with_fapl(|access| access.file_locking(false).alignment(ALIGNMENT, ALIGNMENT))
        .with_fcpl(|creation| creation.obj_track_times(false))
        .create(path)?;
    attribute(&file, FORMAT_ATTRIBUTE, FORMAT)?;
    file.new_attr::<u32>().create(VERSION_ATTRIBUTE)?.write_scalar(&VERSION)?;
    create_groups(&file, manifest)?;
    for wanted in specified(manifest, manifest_bytes) {
        let dataset = file
            .new_dataset_builder()
            .with_dcpl(|creation| {
                creation
                    .obj_track_times(false)
                    .layout(hdf5::dataset::Layout::Contiguous)
                    .alloc_time(Some(AllocTime::Early))
                    .fill_time(FillTime::Never)
            })
            .empty_as(&wanted.element)
            .shape(wanted.shape)
            .create(wanted.name.as_str())?;
        if wanted.name.starts_with(ACTIVATIONS) {
            attribute(&dataset, DTYPE_ATTRIBUTE, &manifest.store_dtype.to_string())?;
        }
    }
    file.close()
}

fn create_groups(file: &File, manifest: &CaptureManifest) -> hdf5::Result<()> {
    let group = |parent: &Group, name: &str| parent.create_group_builder().obj_track_times(false).create(name);
    group(file, ACTIVATIONS)?;
    let statistics = group(file, STATISTICS)?;
    for column in &manifest.hooks {
        let hook = group(&statistics, &column.hook.to_string())?;
        for subset in SUBSETS {
            group(&hook, subset)?;
        }
    }
    Ok(())
}

fn attribute(at: &hdf5::Location, name: &str, text: &str) -> hdf5::Result<()> {
    let value: VarLenUnicode = text.parse().map_err(|_| hdf5::Error::from("attribute with a NUL"))?;
    at.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&value)
}
