//! How is an empty activation file laid out, with every dataset in its final place?

use super::names::{
    ACTIVATIONS, CHECKSUMS, DTYPE_ATTRIBUTE, FORMAT, FORMAT_ATTRIBUTE, NORMS, ROWS_ATTRIBUTE, STATISTICS, SUBSETS,
    VERSION, VERSION_ATTRIBUTE,
};
use super::specified::{Specified, specified};
use crate::checksums::BLOCK_ROWS;
use crate::error::StoreError;
use hdf5::dataset::{AllocTime, FillTime, Layout};
use hdf5::types::VarLenUnicode;
use hdf5::{File, Group};
use std::path::Path;
use untangle_schema::CaptureManifest;

/// Large datasets begin at multiples of a page.
const ALIGNMENT: u64 = 4096;

/// How activations are compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// Level of gzip.
    pub(crate) level: u8,
    /// Uncompressed bytes of a chunk, about.
    pub(crate) chunk_bytes: usize,
}

/// Creates the file `path` with all its datasets laid out and none of their data written; activations contiguous, or in
/// chunks to be compressed, which get their places when they are written.
///
/// # Errors
/// When HDF5 cannot create it, with HDF5's words.
pub(crate) fn create(
    path: &Path,
    manifest: &CaptureManifest,
    manifest_bytes: usize,
    packing: Option<Packing>,
) -> Result<(), StoreError> {
    create_with_hdf5(path, manifest, manifest_bytes, packing)
        .map_err(|error| StoreError::Io { path: path.to_owned(), source: std::io::Error::other(error.to_string()) })
}

fn create_with_hdf5(
    path: &Path,
    manifest: &CaptureManifest,
    manifest_bytes: usize,
    packing: Option<Packing>,
) -> hdf5::Result<()> {
    let file = File::with_options()
        .with_fapl(|access| access.file_locking(false).alignment(ALIGNMENT, ALIGNMENT))
        .with_fcpl(|creation| creation.obj_track_times(false))
        .create(path)?;
    text_attribute(&file, FORMAT_ATTRIBUTE, FORMAT)?;
    file.new_attr::<u32>().create(VERSION_ATTRIBUTE)?.write_scalar(&VERSION)?;
    create_groups(&file, manifest)?;
    for wanted in specified(manifest, manifest_bytes) {
        let chunk = packing.filter(|_| wanted.name.starts_with(ACTIVATIONS)).map(|packing| chunk(&wanted, packing));
        let builder = file.new_dataset_builder().with_dcpl(|creation| {
            let creation = creation.obj_track_times(false).fill_time(FillTime::Never);
            match (chunk, packing) {
                (Some(_), Some(Packing { level, .. })) => creation.shuffle().deflate(level),
                _ => creation.layout(Layout::Contiguous).alloc_time(Some(AllocTime::Early)),
            }
        });
        // The builder, unlike its list of properties, does not put chunks of its own choice in place of these.
        let builder = if let Some(chunk) = chunk { builder.chunk(chunk) } else { builder };
        let dataset = builder.empty_as(&wanted.element).shape(wanted.shape).create(wanted.name.as_str())?;
        if wanted.name.starts_with(ACTIVATIONS) {
            text_attribute(&dataset, DTYPE_ATTRIBUTE, &manifest.store_dtype.to_string())?;
        }
    }
    file.close()
}

/// Rows and width of a chunk: whole rows.
fn chunk(wanted: &Specified, packing: Packing) -> (usize, usize) {
    let [n, d] = [0, 1].map(|axis| wanted.shape.get(axis).copied().unwrap_or(1));
    ((packing.chunk_bytes / (d * wanted.element.size()).max(1)).clamp(1, n.max(1)), d)
}

fn create_groups(file: &File, manifest: &CaptureManifest) -> hdf5::Result<()> {
    let group = |parent: &Group, name: &str| parent.create_group_builder().obj_track_times(false).create(name);
    group(file, ACTIVATIONS)?;
    group(file, NORMS)?;
    let statistics = group(file, STATISTICS)?;
    for column in &manifest.hooks {
        let hook = group(&statistics, &column.hook.to_string())?;
        for subset in SUBSETS {
            group(&hook, subset)?;
        }
    }
    let checksums = group(file, CHECKSUMS)?;
    checksums.new_attr::<u32>().create(ROWS_ATTRIBUTE)?.write_scalar(&(BLOCK_ROWS as u32))?;
    [ACTIVATIONS, NORMS, STATISTICS].into_iter().try_for_each(|name| group(&checksums, name).map(|_| ()))
}

fn text_attribute(at: &hdf5::Location, name: &str, text: &str) -> hdf5::Result<()> {
    let value: VarLenUnicode = text.parse().map_err(|_| hdf5::Error::from("attribute with a NUL"))?;
    at.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&value)
}
