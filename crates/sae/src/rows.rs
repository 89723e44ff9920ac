//! What is done to a row before a dictionary encodes it, and undone in what it decodes.
//!
//! ```text
//! centred         x' = x - mean(x)                           x_hat = x_hat' + mean(x)
//! layer_norm      z = (x - mean(x)) / (std(x) + 1e-5)        x_hat = z_hat std(x) + mean(x)      std over d_in - 1
//! constant norm   z = x sqrt(d_in) / |x|                     x_hat = z_hat |x| / sqrt(d_in)
//! ```
//!
//! Mean and standard deviation are over the coordinates of the row. The last two are SAELens' `layer_norm` and
//! `constant_norm_rescale`; its transcoders, which predict another place, undo neither.
//!
//! Rows are centred where the model's writing weights were (`center_writing_weights`): TransformerLens then
//! takes the mean over the width off every matrix and bias that writes to the residual stream. The stream is the sum of what
//! is written, and taking the mean off is linear, so every activation of the stream is the original one without its
//! mean; what reads the stream is unchanged, because LayerNorm takes the mean off anyway. In models with RMSNorm it would not be, and
//! TransformerLens leaves those as they are. Off the stream nothing changes.

use crate::description::{Description, RowScaling};
use crate::error::SaeError;
use untangle_schema::HookPoint;

/// Added to the standard deviation, as in SAELens.
const EPSILON: f64 = 1e-5;

/// Parts of the names of models with RMSNorm, whose weights TransformerLens does not centre.
const RMS_NORM: [&str; 36] = [
    "llama",
    "vicuna",
    "zephyr",
    "tulu",
    "gemma",
    "qwen",
    "qwq",
    "mistral",
    "ministral",
    "mixtral",
    "pixtral",
    "codestral",
    "devstral",
    "magistral",
    "mathstral",
    "phi-3",
    "phi3",
    "phi-4",
    "phi4",
    "olmo-2",
    "olmo2",
    "olmo-3",
    "olmo3",
    "olmoe",
    "yi-",
    "deepseek",
    "smollm",
    "gpt-oss",
    "gpt_oss",
    "apertus",
    "granite",
    "falcon3",
    "internlm",
    "minicpm",
    "glm-4",
    "exaone",
];

/// What happens to rows around a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowForm {
    /// Whether what is read is without its mean.
    centres: bool,
    /// The same of what a transcoder predicts.
    centres_target: bool,
    is_transcoder: bool,
    scaling: RowScaling,
}

impl RowForm {
    /// What the description of a dictionary asks for.
    ///
    /// # Errors
    /// When rows of one column are to be divided by their standard deviation.
    pub(crate) fn of(description: &Description) -> Result<Self, SaeError> {
        let Description { d_in, d_out, scaling, provenance, .. } = description;
        if *scaling == RowScaling::LayerNorm && *d_in < 2 {
            let (expected, found) = (vec![2], vec![*d_in]);
            return Err(SaeError::Shape { what: "columns of rows with a standard deviation", expected, found });
        }
        let centred_weights = provenance.centred_weights && !has_rms_norm(provenance.model());
        let centres = |hook: Option<&str>| centred_weights && hook.is_some_and(is_of_the_stream);
        Ok(RowForm {
            centres: centres(provenance.hook()),
            centres_target: d_out.is_some() && centres(provenance.predicts.as_deref()),
            is_transcoder: d_out.is_some(),
            scaling: *scaling,
        })
    }

    fn keeps_scale(&self) -> bool {
        matches!(self.scaling, RowScaling::None | RowScaling::AverageInTraining)
    }

    /// Whether rows are encoded as they are, and reconstructions as they are decoded.
    pub(crate) fn is_plain(&self) -> bool {
        !self.centres && self.keeps_scale()
    }

    /// Whether the mean over the width is taken off rows because the model's own activations have none.
    pub(crate) fn centres(&self) -> bool {
        self.centres
    }

    /// Whether what is predicted is compared without its mean.
    pub(crate) fn judges_centred(&self) -> bool {
        if self.is_transcoder { self.centres_target } else { self.centres }
    }

    /// Makes a row what the encoder reads.
    pub(crate) fn enter(&self, row: &mut [f32]) {
        if self.is_plain() {
            return;
        }
        let mean = if self.takes_mean() { mean(row) } else { 0.0 };
        let scale = match self.scaling {
            RowScaling::None | RowScaling::AverageInTraining => 1.0,
            RowScaling::LayerNorm => deviation(row, mean) + EPSILON,
            RowScaling::ConstantNorm => length(row, mean) / (row.len() as f64).sqrt(),
        };
        // A row of zeros stays one.
        let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        row.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * factor) as f32);
    }

    /// Scale and offset that make what is decoded for `row` its reconstruction.
    pub(crate) fn leave(&self, row: &[f32]) -> (f32, f32) {
        if self.is_plain() || self.is_transcoder {
            return (1.0, 0.0);
        }
        let mean = if self.takes_mean() { mean(row) } else { 0.0 };
        let scale = match self.scaling {
            RowScaling::None | RowScaling::AverageInTraining => 1.0,
            RowScaling::LayerNorm => deviation(row, mean),
            RowScaling::ConstantNorm => length(row, mean) / (row.len() as f64).sqrt(),
        };
        (scale as f32, mean as f32)
    }

    fn takes_mean(&self) -> bool {
        self.centres || self.scaling == RowScaling::LayerNorm
    }
}

/// Whether a model's name is one of a family with RMSNorm.
pub(crate) fn has_rms_norm(model: Option<&str>) -> bool {
    let name = model.unwrap_or_default().to_lowercase();
    RMS_NORM.iter().any(|part| name.contains(part))
}

/// Whether a hook point is one of the residual stream, or of what is added to it.
pub(crate) fn is_of_the_stream(hook: &str) -> bool {
    match hook.parse() {
        Ok(HookPoint::Embed) => true,
        Ok(HookPoint::Block { site, .. }) => site.is_of_the_stream(),
        _ => false,
    }
}

/// The mean of a row's coordinates.
pub(crate) fn mean(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x)).sum::<f64>() / row.len() as f64
}

fn length(row: &[f32], mean: f64) -> f64 {
    row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>().sqrt()
}

fn deviation(row: &[f32], mean: f64) -> f64 {
    length(row, mean) / (row.len() as f64 - 1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Place, Provenance};

    fn form(scaling: RowScaling, provenance: Provenance) -> RowForm {
        RowForm::of(&Description { scaling, provenance, ..Description::new(4, 1) }).expect("known")
    }

    fn scaled(scaling: RowScaling) -> RowForm {
        form(scaling, Provenance::default())
    }

    fn entered(form: RowForm, mut row: [f32; 4]) -> [f32; 4] {
        form.enter(&mut row);
        row
    }

    const X: [f32; 4] = [1.0, 3.0, 5.0, 7.0];

    #[test]
    fn layer_norm_by_hand() {
        // Mean 4, squares 9 + 1 + 1 + 9 = 20, deviation (20/3)^(1/2).
        let (form, std) = (scaled(RowScaling::LayerNorm), (20.0f64 / 3.0).sqrt());
        let expected = [-3.0, -1.0, 1.0, 3.0].map(|x: f64| (x / (std + 1e-5)) as f32);
        assert_eq!(entered(form, X), expected);
        assert_eq!(form.leave(&X), (std as f32, 4.0));
        assert_eq!(entered(form, [2.0; 4]), [0.0; 4], "a row without deviation");
    }

    #[test]
    fn constant_norm_by_hand() {
        // |x|^2 = 84, sqrt(d_in) = 2.
        let (form, norm) = (scaled(RowScaling::ConstantNorm), 84.0f64.sqrt());
        assert_eq!(entered(form, X), X.map(|x| (f64::from(x) * 2.0 / norm) as f32));
        assert_eq!(form.leave(&X), ((norm / 2.0) as f32, 0.0));
        assert_eq!((entered(form, [0.0; 4]), form.leave(&[0.0; 4])), ([0.0; 4], (0.0, 0.0)));
    }

    #[test]
    fn rows_are_centred_where_the_stream_was_and_nowhere_else() {
        let at = |hook: &str, model: &str| {
            let place = Place { hook: Some(hook.to_owned()), model: Some(model.to_owned()), ..Place::default() };
            let provenance = Provenance { reads: vec![place], centred_weights: true, ..Provenance::default() };
            form(RowScaling::None, provenance)
        };
        for hook in ["blocks.0.hook_resid_pre", "blocks.3.hook_mlp_out", "blocks.3.hook_attn_out", "hook_embed"] {
            assert_eq!(entered(at(hook, "gpt2-small"), X), [-3.0, -1.0, 1.0, 3.0], "{hook}");
            assert_eq!(at(hook, "gpt2-small").leave(&X), (1.0, 4.0), "{hook}");
            for model in
                ["gemma-2b", "openai/gpt-oss-20b", "allenai/Olmo-3-1025-7B", "Ministral-8B", "swiss-ai/Apertus-8B-2509"]
            {
                assert!(at(hook, model).is_plain(), "TransformerLens leaves RMSNorm alone: {model}");
            }
        }
        for hook in ["blocks.0.attn.hook_z", "blocks.0.mlp.hook_post", "ln_final.hook_normalized"] {
            assert!(at(hook, "gpt2-small").is_plain(), "{hook}");
        }
    }
}
