//! Which configurations contradict themselves or are absurdly large, before anything is allocated on their word.

use crate::config::{ModelConfig, Positions, Rotary, RotaryScaling};
use crate::error::ModelError;
use std::path::Path;

/// Largest accepted value of any width or count. A header beyond it is damaged: the largest public models stay two
/// orders of magnitude below.
pub(crate) const MAX_SIZE: usize = 1 << 24;
/// Largest accepted number of blocks.
pub(crate) const MAX_LAYERS: usize = 1 << 12;
/// Largest accepted number of positions.
pub(crate) const MAX_CONTEXT: usize = 1 << 31;
/// Largest accepted number of heads, and width of one.
pub(crate) const MAX_HEAD: usize = 1 << 16;

impl ModelConfig {
    /// Checks every relation between the fields. `path` is the file that errors name.
    ///
    /// # Errors
    /// [`ModelError::Field`] on the first field that is out of range, zero, or does not fit another.
    pub fn validate(&self, path: &Path) -> Result<(), ModelError> {
        let a = &self.attention;
        let sizes = [
            ("number of layers", self.n_layers, MAX_LAYERS),
            ("model width", self.d_model, MAX_SIZE),
            ("MLP width", self.d_mlp, MAX_SIZE),
            ("vocabulary size", self.vocab_size, MAX_SIZE),
            ("context length", self.max_context, MAX_CONTEXT),
            ("number of attention heads", a.n_heads, MAX_HEAD),
            ("number of key-value heads", a.n_kv_heads, MAX_HEAD),
            ("head width", a.d_head, MAX_HEAD),
        ];
        for (field, value, max) in sizes {
            check(path, (1..=max).contains(&value), field, value, || format!("1 to {max}"))?;
        }
        check(path, a.n_heads.is_multiple_of(a.n_kv_heads), "number of key-value heads", a.n_kv_heads, || {
            format!("a divisor of the {} attention heads", a.n_heads)
        })?;
        let factors = [
            ("attention scale", Some(a.scale)),
            ("epsilon of the norm", Some(self.norm.eps)),
            ("cap of the attention scores", a.softcap),
            ("cap of the logits", self.logit_softcap),
            ("scale of the embeddings", self.embed_scale),
        ];
        for (field, value) in factors {
            let Some(value) = value else { continue };
            check(path, is_positive(value), field, value, positive)?;
        }
        check(path, self.norm.offset.is_finite(), "offset of the norm", self.norm.offset, || "numbers".into())?;
        self.validate_windows(path)?;
        if let Positions::Rotary(rotary) = &self.positions {
            validate_rotary(rotary, a.d_head, path)?;
        }
        for id in self.bos_token.iter().chain(&self.eos_tokens) {
            check(path, (*id as usize) < self.vocab_size, "bos_token_id or eos_token_id", id, || {
                format!("ids below the vocabulary size {}", self.vocab_size)
            })?;
        }
        Ok(())
    }

    fn validate_windows(&self, path: &Path) -> Result<(), ModelError> {
        let Some(windows) = &self.windows else { return Ok(()) };
        let (size, n) = (windows.size, windows.layers.len());
        check(path, (1..=MAX_CONTEXT).contains(&size), "sliding_window", size, || format!("1 to {MAX_CONTEXT}"))?;
        check(path, n == self.n_layers, "layer_types", format!("a list of {n}"), || {
            format!("one entry for each of the {} layers", self.n_layers)
        })?;
        windows.rotary.as_ref().map_or(Ok(()), |rotary| validate_rotary(rotary, self.attention.d_head, path))
    }
}

fn validate_rotary(rotary: &Rotary, d_head: usize, path: &Path) -> Result<(), ModelError> {
    let (d_rotary, n_pairs) = (rotary.d_rotary, rotary.n_pairs());
    let whole = d_rotary < d_head || d_head.is_multiple_of(2);
    check(path, whole, "head width", d_head, || "an even number, for rotary positions".into())?;
    check(path, n_pairs > 0 && 2 * n_pairs <= d_head, "rotary width", d_rotary, || {
        format!("1 to {d_head}, the head width, an odd number rounded up")
    })?;
    let theta_is_base = rotary.theta.is_finite() && rotary.theta > 1.0;
    check(path, theta_is_base, "rope_theta", rotary.theta, || "numbers above 1".into())?;
    let factors = match &rotary.scaling {
        RotaryScaling::Unscaled => vec![],
        RotaryScaling::Linear { factor } => vec![*factor],
        RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let ordered = low_freq_factor < high_freq_factor;
            check(path, ordered, "high_freq_factor of rope_scaling", high_freq_factor, || {
                format!("numbers above low_freq_factor, {low_freq_factor}")
            })?;
            vec![*factor, *low_freq_factor, *high_freq_factor, *original_context]
        }
        RotaryScaling::Long { short, long, original_context, amplitude } => {
            for (field, list) in [("short_factor", short), ("long_factor", long)] {
                let field = format!("{field} of rope_scaling");
                check(path, list.len() == n_pairs, &field, format!("a list of {}", list.len()), || {
                    format!("one number for each of the {n_pairs} pairs that turn")
                })?;
            }
            let field = "original_max_position_embeddings";
            check(path, (1..=MAX_CONTEXT).contains(original_context), field, original_context, || {
                format!("1 to {MAX_CONTEXT}")
            })?;
            [&short[..], &long[..], &[*amplitude]].concat()
        }
    };
    let bad = factors.into_iter().find(|factor| !is_positive(*factor));
    bad.map_or(Ok(()), |factor| check(path, false, "factor of rope_scaling", factor, positive))
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn positive() -> String {
    "positive numbers".into()
}

fn check(
    path: &Path,
    holds: bool,
    field: &str,
    found: impl ToString,
    supported: impl FnOnce() -> String,
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    Err(ModelError::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        found: found.to_string(),
        supported: supported(),
    })
}
