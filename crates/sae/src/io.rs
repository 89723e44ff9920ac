//! How is a dictionary written? As SAELens does: `cfg.json` and `sae_weights.safetensors`.

use crate::error::SaeError;
use crate::kernels::buffer::Buffer;
use crate::sae::{Activation, Sae};
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::path::Path;
use untangle_schema::sae::{files, tensors};
use untangle_schema::whole;

impl Sae {
    /// Writes `cfg.json` and `sae_weights.safetensors` into `dir`, which is made where it is missing. Each file appears whole,
    /// by rename.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, dir: &Path) -> Result<(), SaeError> {
        fs::create_dir_all(dir).map_err(io(dir))?;
        let (d, f, d_out) = (self.d_in(), self.d_sae(), self.d_out());
        let parts = self.parts();
        let w_enc = transposed(&parts.w_enc, f, d);
        let further = match &parts.activation {
            Activation::JumpRelu { threshold } => vec![(tensors::THRESHOLD, threshold)],
            Activation::Gated { r_mag, b_mag } => vec![(tensors::R_MAG, r_mag), (tensors::B_MAG, b_mag)],
            _ => Vec::new(),
        };
        let mut views: Vec<(&str, Vec<usize>, &[f32])> = vec![
            (tensors::W_ENC, vec![d, f], &w_enc),
            (tensors::W_DEC, vec![f, d_out], &parts.w_dec),
            (bias_name(&parts.activation), vec![f], &parts.b_enc),
            (tensors::B_DEC, vec![d_out], &parts.b_dec),
        ];
        views.extend(further.into_iter().map(|(name, values)| (name, vec![f], &values[..])));
        views.extend(parts.w_skip.iter().map(|w_skip| (tensors::W_SKIP, vec![d_out, d], &w_skip[..])));
        write_tensors(&dir.join(files::WEIGHTS), &views)?;
        let config_path = dir.join(files::CONFIG);
        let mut text = serde_json::to_string_pretty(self.config())
            .map_err(|e| SaeError::Config { path: config_path.clone(), reason: e.to_string() })?;
        text.push('\n');
        write_whole(&config_path, text.as_bytes())
    }
}

/// The bias of the pre-activations: gated dictionaries have one for the gate.
pub(crate) fn bias_name(activation: &Activation) -> &'static str {
    if matches!(activation, Activation::Gated { .. }) { tensors::B_GATE } else { tensors::B_ENC }
}

/// Writes a file under a temporary name, syncs it and renames it, so that a reader never sees half of it; when any of this
/// fails, nothing lies under the final name that was not there before.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SaeError> {
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
