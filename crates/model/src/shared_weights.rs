//! How does a second model use the weights of a first: in another arithmetic, or on another thread?

use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::names::Module;
use crate::parameters::{Parameters, Slot};
use std::collections::BTreeMap;
use tch::Tensor;

/// The parameters of a decoder that exists, as further handles to the same memory.
pub(crate) struct SharedWeights<'a>(BTreeMap<String, &'a Tensor>);

impl<'a> SharedWeights<'a> {
    pub(crate) fn of(decoder: &'a Decoder) -> Self {
        Self(decoder.parameters().into_iter().collect())
    }
}

impl Parameters for SharedWeights<'_> {
    fn take(&mut self, module: Module, slot: Slot, _: &[i64]) -> Result<Tensor, ModelError> {
        let tensor = self.0.get(&format!("{}.{}", module.name(), slot.name()));
        Ok(tensor.expect("a decoder has every parameter of its own configuration").shallow_clone())
    }
}
