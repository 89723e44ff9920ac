//! From what a model is loaded, and how.

use tch::{Device, Kind};

/// Arithmetic of the forward pass and where it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadOptions {
    /// Kind of the parameters and activations: [`Kind::Float`] or [`Kind::BFloat16`].
    pub kind: Kind,
    /// Where the parameters lie.
    pub device: Device,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { kind: Kind::Float, device: Device::Cpu }
    }
}

/// The files of a model in memory.
#[derive(Clone, Copy, Debug)]
pub struct ModelFiles<'a> {
    /// Name that the model goes by.
    pub name: &'a str,
    /// `config.json`.
    pub config: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: Option<&'a [u8]>,
    /// `chat_template.jinja`.
    pub chat_template: Option<&'a [u8]>,
    /// `model.safetensors`.
    pub weights: &'a [u8],
}
