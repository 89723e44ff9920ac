//! How is a safetensors file of a dictionary read, and what does it hold that nobody asked for?

use super::file;
use crate::error::SaeError;
use crate::io::io;
use crate::kernels::buffer::Buffer;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use untangle_schema::git_lfs;

/// Largest matrix that is believed: 2^36 elements, 256 GiB in f32.
const MAX_ELEMENTS: usize = 1 << 36;

/// Longest header that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

/// Elements of all tensors of a file, as its header says, of which nothing else is read.
pub(super) fn elements_in(path: &Path) -> Result<u64, SaeError> {
    let mut file = file::open(path)?;
    let mut length = [0; 8];
    let whole = file.read_exact(&mut length).is_ok() && u64::from_le_bytes(length) <= LONGEST_HEADER;
    let mut header = Vec::new();
    if whole {
        file.take(u64::from_le_bytes(length)).read_to_end(&mut header).map_err(io(path))?;
    }
    // What is no header is told of by whoever reads the tensors.
    let header: Map<String, Value> = serde_json::from_slice(&header).unwrap_or_default();
    let elements = |tensor: &Value| {
        let shape = tensor["shape"].as_array().into_iter().flatten();
        shape.fold(1u64, |product, size| product.saturating_mul(size.as_u64().unwrap_or(0)))
    };
    let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
    Ok(tensors.fold(0u64, |sum, (_, tensor)| sum.saturating_add(elements(tensor))))
}

/// Parts of the names of tensors that count what happened in training and that no activation depends on.
const COUNTS: [&str; 6] = ["sparsity", "freq", "fired", "n_forward", "num_batches", "step"];

/// What is said where weights are doubles.
pub(super) const ROUNDED: &str = "its weights are float64 and are rounded to float32";

/// The tensors of a file.
pub(crate) struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, SaeError> {
        let wrong = |reason: String| SaeError::Weights { path: path.to_owned(), reason };
        if git_lfs::is_pointer(bytes) {
            return Err(SaeError::Config { path: path.to_owned(), reason: git_lfs::REMEDY.to_owned() });
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

    /// The elements of a tensor, which must have this shape.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SaeError> {
        let tensor = self.tensor(name, shape)?;
        let mut values = vec![0f32; shape.iter().product()];
        self.fill(name, &tensor, &mut values)?;
        Ok(values)
    }

    /// The same of a matrix that is kept as it is in the file: there is never a second copy of it.
    pub(crate) fn matrix(&self, name: &str, shape: &[usize]) -> Result<Buffer<f32>, SaeError> {
        let tensor = self.tensor(name, shape)?;
        let mut values = Buffer::zeros(shape.iter().product());
        self.fill(name, &tensor, &mut values)?;
        Ok(values)
    }

    /// A tensor that the file has in this shape.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>, SaeError> {
        self.used.borrow_mut().insert(name.to_owned());
        let tensor = self.tensors.tensor(name).map_err(|_| self.wrong(name, "is missing".to_owned()))?;
        match tensor.shape() == shape {
            true => Ok(tensor),
            false => Err(self.wrong(name, format!("has shape {:?} where {shape:?} is expected", tensor.shape()))),
        }
    }

    fn fill(&self, name: &str, tensor: &TensorView<'_>, out: &mut [f32]) -> Result<(), SaeError> {
        let bytes = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => convert(bytes, out, f32::from_le_bytes),
            Dtype::F64 => convert(bytes, out, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => convert(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => convert(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
            other => {
                return Err(self.wrong(name, format!("has type {other:?}; F32, F64, F16 and BF16 are supported")));
            }
        }
        check_finite(out, |problem| self.wrong(name, problem))
    }

    /// What users should know of the tensors that were read.
    pub(crate) fn note(&self) -> Option<&'static str> {
        let is_double = |name: &String| self.tensors.tensor(name).is_ok_and(|tensor| tensor.dtype() == Dtype::F64);
        self.used.borrow().iter().any(is_double).then_some(ROUNDED)
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

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| *out = value(*bytes));
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
