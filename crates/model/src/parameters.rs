//! Where a decoder's parameters come from: a checkpoint, each shape asserted, or a seeded generator.

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::names::{BlockPart, Layout, Module, Names};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;
use tch::Tensor;

/// Which of a module's two tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Weight,
    Bias,
}

impl Slot {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Slot::Weight => "weight",
            Slot::Bias => "bias",
        }
    }
}

/// Gives the parameters that a decoder is built of.
pub(crate) trait Parameters {
    /// The tensor of a module in our layout, of exactly this shape.
    fn take(&mut self, module: Module, slot: Slot, shape: &[i64]) -> Result<Tensor, ModelError>;
}

/// Parameters out of weight files.
pub(crate) struct Stored<'a> {
    checkpoint: Checkpoint,
    names: Names<'a>,
    /// The family's prefix, or nothing where the checkpoint has none.
    prefix: &'static str,
}

impl<'a> Stored<'a> {
    pub(crate) fn new(checkpoint: Checkpoint, names: Names<'a>) -> Self {
        let prefix = names.prefix_among(checkpoint.tensors.keys());
        Self { checkpoint, names, prefix }
    }

    /// Asserts that nothing of the decoder is left over; the hash of the files, and the names of what is beside it.
    pub(crate) fn finish(self) -> Result<(String, Vec<String>), ModelError> {
        let mut beside = Vec::new();
        for (name, (_, path)) in self.checkpoint.tensors {
            if self.names.is_of_decoder(&name, self.prefix) {
                return Err(ModelError::UnexpectedTensor { path: path.to_path_buf(), name });
            }
            beside.push(name);
        }
        Ok((self.checkpoint.sha256, beside))
    }
}

impl Parameters for Stored<'_> {
    fn take(&mut self, module: Module, slot: Slot, shape: &[i64]) -> Result<Tensor, ModelError> {
        let path = || self.checkpoint.path.clone();
        let Some((place, layout)) = self.names.place(module) else {
            let name = format!("{}.{}", module.name(), slot.name());
            return Err(ModelError::MissingTensor { path: path(), name, expected: shape.to_vec() });
        };
        let prefix = if module == Module::Unembed { "" } else { self.prefix };
        let name = format!("{prefix}{place}.{}", slot.name());
        let expected = stored_shape(layout, shape);
        let Some((tensor, path)) = self.checkpoint.tensors.get(&name) else {
            return Err(ModelError::MissingTensor { path: path(), name, expected });
        };
        if tensor.size() != expected {
            let found = tensor.size();
            return Err(ModelError::WrongShape { path: path.to_path_buf(), name, expected, found });
        }
        let ours = in_our_layout(layout, tensor, shape);
        if layout.is_last_use(shape[0] as usize) {
            self.checkpoint.tensors.remove(&name); // so that a layout's copies never add up to a second model
        }
        Ok(ours)
    }
}

/// The shape in the file of a tensor whose shape with us is `shape`.
fn stored_shape(layout: Layout, shape: &[i64]) -> Vec<i64> {
    match (layout, shape) {
        (Layout::Transposed, &[d_out, d_in]) => vec![d_in, d_out],
        (Layout::Columns { total, .. }, &[_, d_in]) => vec![d_in, total as i64],
        (Layout::Columns { total, .. } | Layout::Rows { total, .. }, &[_]) => vec![total as i64],
        (Layout::Rows { total, .. }, &[_, d_in]) => vec![total as i64, d_in],
        (Layout::InHeads { of, .. }, &[d_out, ref d_in @ ..]) => [&[of as i64 * d_out], d_in].concat(),
        _ => shape.to_vec(),
    }
}

fn in_our_layout(layout: Layout, stored: &Tensor, shape: &[i64]) -> Tensor {
    let rows = |tensor: &Tensor, start: usize| tensor.narrow(0, start as i64, shape[0]);
    match (layout, shape) {
        (Layout::Transposed, [_, _]) => stored.tr().contiguous(),
        (Layout::Columns { start, .. }, [_, _]) => rows(&stored.tr(), start).contiguous(),
        (Layout::Columns { start, .. } | Layout::Rows { start, .. }, _) => rows(stored, start),
        (Layout::InHeads { index, of, n_heads }, _) => {
            let heads = stored.view([n_heads as i64, of as i64, shape[0] / n_heads as i64, -1]);
            heads.select(1, index as i64).reshape(shape) // a copy
        }
        _ => stored.shallow_clone(),
    }
}

/// Parameters out of a seeded generator, as GPT-2 was initialised: weights N(0, 0.02), those that write to the
/// residual stream divided by sqrt(2 * n_layers), norms 1, biases 0.
pub(crate) struct Seeded {
    rng: ChaCha8Rng,
    n_layers: usize,
    /// The weight of a norm that changes nothing.
    norm_weight: f32,
}

/// Standard deviation of initial weights (Radford et al. 2019, section 2.3).
const INITIAL_STD: f64 = 0.02;

impl Seeded {
    pub(crate) fn new(config: &ModelConfig, seed: u64) -> Self {
        let norm_weight = (1.0 - config.norm.offset) as f32;
        Self { rng: ChaCha8Rng::seed_from_u64(seed), n_layers: config.n_layers, norm_weight }
    }

    /// Two independent standard normal numbers (Box and Muller 1958).
    fn normal_pair(&mut self) -> [f64; 2] {
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt(); // 1 - [0, 1) is never 0
        let (sin, cos) = (TAU * self.rng.random::<f64>()).sin_cos();
        [radius * cos, radius * sin]
    }
}

impl Parameters for Seeded {
    fn take(&mut self, module: Module, slot: Slot, shape: &[i64]) -> Result<Tensor, ModelError> {
        let n = shape.iter().product::<i64>() as usize;
        let std = match (module, slot) {
            (_, Slot::Bias) => return Ok(constant(0.0, n, shape)),
            (module, _) if module.is_norm() => return Ok(constant(self.norm_weight, n, shape)),
            (Module::Block(_, BlockPart::Out | BlockPart::MlpDown), _) => {
                INITIAL_STD / (2.0 * self.n_layers as f64).sqrt()
            }
            _ => INITIAL_STD,
        };
        let mut values = Vec::with_capacity(n + 1);
        while values.len() < n {
            values.extend(self.normal_pair().map(|z| (z * std) as f32));
        }
        Ok(Tensor::from_slice(&values[..n]).view(shape))
    }
}

fn constant(value: f32, n: usize, shape: &[i64]) -> Tensor {
    Tensor::from_slice(&vec![value; n]).view(shape)
}
