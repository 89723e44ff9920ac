//! How do tensors and configurations get into files that appear whole, and matrices the other way round?

use crate::error::SaeError;
use crate::kernels::buffer::Buffer;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use std::path::Path;
use untangle_schema::whole;

/// Writes a file under a temporary name, syncs it and renames it, so that a reader never sees half of it; when any of this
/// fails, nothing lies under the final name that was not there before.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SaeError> {
    whole::replace(path, bytes).map_err(io(path))
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SaeError + '_ {
    move |source| SaeError::Io { path: path.to_owned(), source }
}

/// The transpose of a row-major `[rows, columns]` matrix.
pub(crate) fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0f32; matrix.len()];
    transpose(matrix, rows, columns, &mut out);
    out
}

/// The same in memory for large matrices.
pub(crate) fn transposed_buffer(matrix: &[f32], rows: usize, columns: usize) -> Buffer<f32> {
    let mut out = Buffer::zeros(matrix.len());
    transpose(matrix, rows, columns, &mut out);
    out
}

/// Transposes in blocks that stay in cache.
fn transpose(matrix: &[f32], rows: usize, columns: usize, out: &mut [f32]) {
    const BLOCK: usize = 32;
    for r0 in (0..rows).step_by(BLOCK) {
        for c0 in (0..columns).step_by(BLOCK) {
            for r in r0..rows.min(r0 + BLOCK) {
                for c in c0..columns.min(c0 + BLOCK) {
                    out[c * rows + r] = matrix[r * columns + c];
                }
            }
        }
    }
}

/// Writes tensors in f32, given with their shapes, to `path`, whole.
pub(crate) fn write_tensors(path: &Path, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<(), SaeError> {
    let wrong = |e: safetensors::SafeTensorError| SaeError::Weights { path: path.to_owned(), reason: e.to_string() };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| le_bytes(values)).collect();
    let views = tensors.iter().zip(&bytes);
    let views = views
        .map(|((name, shape, _), bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    write_whole(path, &safetensors::serialize(views, None).map_err(wrong)?)
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Writes a configuration as JSON for people to read, whole.
pub(crate) fn write_json(path: &Path, config: &impl Serialize) -> Result<(), SaeError> {
    let wrong = |error: serde_json::Error| SaeError::Config { path: path.to_owned(), reason: error.to_string() };
    let mut text = serde_json::to_string_pretty(config).map_err(wrong)?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}
