//! How is a safetensors file of a dictionary read, and what does it hold that nobody asked for?

use crate::error::SaeError;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Largest matrix that is believed: 2^36 elements, 256 GiB in f32.
const MAX_ELEMENTS: usize = 1 << 36;

/// Parts of the names of tensors that count what happened in training and that no activation depends on.
const COUNTS: [&str; 6] = ["sparsity", "freq", "fired", "n_forward", "num_batches", "step"];

/// The tensors of a file.
pub(crate) struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, SaeError> {
        let wrong = |reason: String| SaeError::Weights { path: path.to_owned(), reason };
        if bytes.starts_with(b"version https://git-lfs") {
            return Err(wrong("a pointer of Git LFS, which `git lfs pull` fills".to_owned()));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
        Ok(Reader { path, tensors, used: RefCell::default() })
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// The shape of a tensor, empty where there is none.
    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors.tensor(name).map(|tensor| tensor.shape().to_vec()).unwrap_or_default()
    }

    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SaeError> {
        let wrong = |problem: String| self.wrong(name, problem);
        self.used.borrow_mut().insert(name.to_owned());
        let tensor = self.tensors.tensor(name).map_err(|_| wrong("is missing".to_owned()))?;
        if tensor.shape() != shape {
            return Err(wrong(format!("has shape {:?} where {shape:?} is expected", tensor.shape())));
        }
        let bytes = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(wrong(format!("has type {other:?}; F32, F64, F16 and BF16 are supported"))),
        };
        check_finite(&values, wrong)?;
        Ok(values)
    }

    /// Tensors that nobody read: those that count training are passed over, any other may change the numbers.
    pub(crate) fn refuse_others(&self, architecture: &str) -> Result<(), SaeError> {
        let used = self.used.borrow();
        let counts = |name: &str| COUNTS.iter().any(|part| name.to_lowercase().contains(part));
        match self.tensors.names().into_iter().find(|name| !used.contains(*name) && !counts(name)) {
            None => Ok(()),
            Some(name) => Err(self.wrong(
                name,
                format!(
                    "is not part of the architecture `{architecture}` that {} names; name the one that it belongs to, or \
                     take it out",
                    untangle_schema::sae::files::CONFIG
                ),
            )),
        }
    }

    pub(crate) fn wrong(&self, name: &str, problem: String) -> SaeError {
        SaeError::Tensor { path: PathBuf::from(self.path), tensor: name.to_owned(), problem }
    }
}

/// Refuses values that are not numbers, or too large for f32.
pub(crate) fn check_finite(values: &[f32], wrong: impl FnOnce(String) -> SaeError) -> Result<(), SaeError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(wrong(format!("holds a value that is not finite (element {at})"))),
        None => Ok(()),
    }
}

/// Whether a matrix of this size is not to be believed.
pub(crate) fn is_too_large(rows: usize, columns: usize) -> bool {
    rows.saturating_mul(columns) > MAX_ELEMENTS
}
