//! Fields that several families read alike: head widths, non-linearities, token ids, windows.

use crate::config::{Activation, Windows};
use crate::error::ModelError;
use crate::fields::Fields;
use crate::validate::MAX_CONTEXT;
use serde_json::Value;

/// The model width over the heads; `field` names their number.
pub(super) fn head_width(fields: &Fields, d_model: usize, field: &str, n_heads: usize) -> Result<usize, ModelError> {
    let fits = d_model.is_multiple_of(n_heads);
    fits.then_some(d_model / n_heads)
        .ok_or_else(|| fields.refuse(field, format!("a divisor of the model width {d_model}")))
}

pub(super) fn activation(fields: &Fields, field: &str, default: &str) -> Result<Activation, ModelError> {
    match fields.text(field)?.unwrap_or(default) {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(fields.refuse(field, "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, relu")),
    }
}

/// Ids that are not below the vocabulary size are left out: small models often keep their class's default (50256).
pub(super) fn token_ids(fields: &Fields, field: &str, vocab_size: usize) -> Result<Vec<u32>, ModelError> {
    let ids = fields.ids(field)?;
    Ok(ids.into_iter().filter(|id| (*id as usize) < vocab_size).collect())
}

/// Keys that a query sees in the blocks with a window; none where null switches windows off.
pub(super) fn window_size(fields: &Fields, default: Option<usize>) -> Result<Option<usize>, ModelError> {
    const FIELD: &str = "sliding_window";
    if fields.has(FIELD) { fields.size_or_none(FIELD, MAX_CONTEXT) } else { Ok(default) }
}

/// The blocks with windows of `size`: those that `layer_types` names, or without it those of the class's `pattern`.
pub(super) fn windows(
    fields: &Fields,
    n_layers: usize,
    size: Option<usize>,
    pattern: impl Fn(usize) -> bool,
) -> Result<Option<Windows>, ModelError> {
    const FIELD: &str = "layer_types";
    let refuse = || fields.refuse(FIELD, format!("a list of {n_layers}, each sliding_attention or full_attention"));
    let is_sliding = |name: &Value| match name.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(refuse()),
    };
    let named = match fields.get(FIELD) {
        Some(Value::Array(names)) if names.len() == n_layers => {
            Some(names.iter().map(is_sliding).collect::<Result<Vec<_>, _>>()?)
        }
        Some(_) => return Err(refuse()),
        None => None,
    };
    let layers = match (named, size) {
        (Some(layers), _) => layers,
        (None, Some(_)) => (0..n_layers).map(pattern).collect(),
        (None, None) => return Ok(None),
    };
    if !layers.contains(&true) {
        return Ok(None);
    }
    let no_size = || fields.refuse("sliding_window", "a number of keys: layer_types names blocks with a window");
    Ok(Some(Windows { size: size.ok_or_else(no_size)?, layers, rotary: None }))
}
