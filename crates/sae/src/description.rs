//! What is known of a dictionary beside its tensors, whoever wrote it and in whatever format.
//!
//! Together with [`Parts`](crate::Parts), which has the matrices, the biases and the activation, it is all that a dictionary is: what a
//! format reads, and what it writes. Nothing here knows how a file calls it.

use serde_json::{Map, Value};
use std::fmt;

/// What a dictionary is beside its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Width of what is read; of a crosscoder, of all its activations side by side.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Width of what a transcoder predicts; none of dictionaries that reconstruct what they read.
    pub d_out: Option<usize>,
    /// Whether `b_dec` is subtracted from what is read. Never done by transcoders, whose `b_dec` belongs elsewhere.
    pub subtracts_b_dec: bool,
    /// What the encoder sees of a row's scale.
    pub scaling: RowScaling,
    /// Where it belongs.
    pub provenance: Provenance,
    /// What else its file says.
    pub kept: Kept,
}

impl Description {
    /// A dictionary of these sizes that takes rows as they are and belongs nowhere.
    pub fn new(d_in: usize, d_sae: usize) -> Self {
        Description {
            d_in,
            d_sae,
            d_out: None,
            subtracts_b_dec: false,
            scaling: RowScaling::None,
            provenance: Provenance::default(),
            kept: Kept::default(),
        }
    }
}

/// What is done to the scale of a row before it is encoded. Its text is the field's name for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowScaling {
    /// Nothing.
    #[default]
    None,
    /// Training multiplied all rows by one factor, which is folded into the weights or lost: nothing.
    AverageInTraining,
    /// Its mean is subtracted, and it is divided by its standard deviation.
    LayerNorm,
    /// It is made as long as the root of its width.
    ConstantNorm,
}

impl fmt::Display for RowScaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RowScaling::None => "none",
            RowScaling::AverageInTraining => "expected_average_only_in",
            RowScaling::LayerNorm => "layer_norm",
            RowScaling::ConstantNorm => "constant_norm_rescale",
        })
    }
}

/// Where a dictionary belongs: what it reads and predicts, of which model, and how it was trained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// The activations that are read: one, or those of a crosscoder in the order in which they lie side by side.
    pub reads: Vec<Place>,
    /// The hook point that a transcoder predicts, in TransformerLens form.
    pub predicts: Option<String>,
    /// Whether the weights with which the model writes to its residual stream were centred (see `rows.rs`).
    pub centred_weights: bool,
    /// Tokens per context in training.
    pub context_size: Option<usize>,
    /// Whether contexts began with a beginning-of-sequence token.
    pub prepend_bos: Option<bool>,
    /// The architecture that was trained, where it may be another than what it became.
    pub trained_as: Option<String>,
    /// The version of Untangle that trained it.
    pub tool_version: Option<String>,
}

impl Provenance {
    /// That of a dictionary of one hook point, of a model that is not known.
    pub fn at(hook: &str) -> Self {
        let place = Place { hook: Some(hook.to_owned()), ..Place::default() };
        Provenance { reads: vec![place], ..Provenance::default() }
    }

    /// What is read, where it is one activation.
    fn only(&self) -> Option<&Place> {
        if let [only] = &self.reads[..] { Some(only) } else { None }
    }

    /// The hook point that is read, where it is one and has a name.
    pub fn hook(&self) -> Option<&str> {
        self.only()?.hook.as_deref()
    }

    /// The name of the model of what is read, where that is one activation.
    pub fn model(&self) -> Option<&str> {
        self.only()?.model.as_deref()
    }

    /// SHA-256 of that model's weights, in hexadecimal.
    pub fn model_weights(&self) -> Option<&str> {
        self.only()?.model_weights.as_deref()
    }
}

/// An activation that is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The hook point in TransformerLens form, or the name of a matrix.
    pub hook: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// SHA-256 of the model's weights, in hexadecimal.
    pub model_weights: Option<String>,
    /// What these activations were multiplied by in training, so that all that a crosscoder reads are equally large; folded into
    /// the tensors. Norms of decoder rows are compared after multiplying by it.
    pub scale: f32,
    /// What else the file says of it and is not known.
    pub kept: Map<String, Value>,
}

impl Default for Place {
    fn default() -> Self {
        Place { hook: None, model: None, model_weights: None, scale: 1.0, kept: Map::new() }
    }
}

/// What a file says that no number depends on, or that is not known here. It is written again in the format that it was read from;
/// in another one it would mean something else, or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The name of that format; empty of dictionaries that were never in a file.
    pub format: &'static str,
    /// Settings.
    pub settings: Map<String, Value>,
    /// What it says of where the dictionary belongs.
    pub metadata: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_alone_has_a_hook_point() {
        let mut provenance = Provenance::at("blocks.0.hook_resid_pre");
        provenance.reads[0].model = Some("m".to_owned());
        assert_eq!((provenance.hook(), provenance.model()), (Some("blocks.0.hook_resid_pre"), Some("m")));
        assert_eq!(provenance.model_weights(), None);
        provenance.reads.push(provenance.reads[0].clone());
        assert_eq!((provenance.hook(), provenance.model()), (None, None), "a crosscoder");
        assert_eq!(Provenance::default().hook(), None);
    }
}
