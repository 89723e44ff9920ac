//! Which datasets must an activation file have, of which types and shapes?

use super::names::{
    COMPLETE, DOCUMENTS, FLAGS, MANIFEST, MEASURES, OFFSETS, POSITIONS, SUBSETS, TOKENS, activations, checksums, norms,
    outlier_norm, row_datasets, statistic, statistics,
};
use crate::checksums::blocks;
use crate::norms::BINS;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use untangle_schema::{CaptureManifest, StoreDtype};

/// HDF5 type of stored activations; bf16, which HDF5 lacks, lies in u16.
fn element_type(dtype: StoreDtype) -> TypeDescriptor {
    match dtype {
        StoreDtype::F32 => TypeDescriptor::Float(FloatSize::U4),
        StoreDtype::F16 => TypeDescriptor::Float(FloatSize::U2),
        StoreDtype::Bf16 => TypeDescriptor::Unsigned(IntSize::U2),
    }
}

/// One dataset as the specification wants it.
pub(super) struct Specified {
    pub(super) name: String,
    pub(super) element: TypeDescriptor,
    pub(super) shape: Vec<usize>,
}

const BYTE: TypeDescriptor = TypeDescriptor::Unsigned(IntSize::U1);
const WORD: TypeDescriptor = TypeDescriptor::Unsigned(IntSize::U4);
const LONG: TypeDescriptor = TypeDescriptor::Unsigned(IntSize::U8);
const SINGLE: TypeDescriptor = TypeDescriptor::Float(FloatSize::U4);
const DOUBLE: TypeDescriptor = TypeDescriptor::Float(FloatSize::U8);

/// Every dataset of a file with this manifest, in the order in which they are created.
pub(super) fn specified(manifest: &CaptureManifest, manifest_bytes: usize) -> Vec<Specified> {
    let n = manifest.n_rows as usize;
    let mut all = vec![
        (MANIFEST.to_owned(), TypeDescriptor::FixedUnicode(manifest_bytes), vec![]),
        (COMPLETE.to_owned(), BYTE, vec![]),
    ];
    for column in &manifest.hooks {
        let (hook, d) = (column.hook, column.d_in);
        let types = [(LONG, vec![]), (DOUBLE, vec![d]), (DOUBLE, vec![d]), (DOUBLE, vec![3]), (LONG, vec![BINS])];
        for subset in SUBSETS {
            let measures = MEASURES.into_iter().zip(types.clone());
            all.extend(measures.map(|(measure, (element, shape))| (statistic(hook, subset, measure), element, shape)));
        }
        all.push((outlier_norm(hook), DOUBLE, vec![]));
    }
    all.push((checksums(MANIFEST), WORD, vec![]));
    all.extend(manifest.hooks.iter().map(|column| (checksums(&statistics(column.hook)), WORD, vec![])));
    let of_rows = vec![blocks(manifest.n_rows) as usize];
    all.extend(row_datasets(manifest).into_iter().map(|rows| (checksums(&rows.name), WORD, of_rows.clone())));
    all.extend([TOKENS, DOCUMENTS, POSITIONS].map(|name| (name.to_owned(), WORD, vec![n])));
    all.extend([(OFFSETS.to_owned(), LONG, vec![n]), (FLAGS.to_owned(), BYTE, vec![n])]);
    all.extend(manifest.hooks.iter().map(|column| (norms(column.hook), SINGLE, vec![n])));
    let element = element_type(manifest.store_dtype);
    all.extend(manifest.hooks.iter().map(|c| (activations(c.hook), element.clone(), vec![n, c.d_in])));
    all.into_iter().map(|(name, element, shape)| Specified { name, element, shape }).collect()
}
