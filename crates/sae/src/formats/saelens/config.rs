//! What `cfg.json` says in SAELens' v6 form, and how that is a [`Description`].

use crate::description::{Description, Kept, Place, Provenance, RowScaling};
use crate::parts::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name of the format.
pub(super) const NAME: &str = "saelens";
/// The version of SAELens whose form is written. Without a version of at least 6, SAELens takes a file for an older form and drops
/// all metadata.
const VERSION: (&str, &str) = ("sae_lens_version", "6.0.0");
/// What SAELens is to load a model as whose weights are known.
const MODEL_CLASS: (&str, &str) = ("model_class_name", "HookedTransformer");

/// Keys of metadata that a [`Provenance`] has a field for.
const MODEL_WEIGHTS: &str = "model_weights_sha256";
const TOOL_VERSION: &str = "untangle_version";
const TRAINED_AS: &str = "training_architecture";
/// The arguments of TransformerLens' loader, and the one among them that a [`Provenance`] has a field for.
pub(super) const LOADING: &str = "model_from_pretrained_kwargs";
const CENTRED: &str = "center_writing_weights";

/// Settings that are kept, because what is computed does not depend on them.
mod setting {
    pub(super) const DTYPE: &str = "dtype";
    pub(super) const DEVICE: &str = "device";
    pub(super) const RESHAPE: &str = "reshape_activations";
    pub(super) const RESCALE: &str = "rescale_acts_by_decoder_norm";
    pub(super) const K: &str = "k";
}

fn default_true() -> bool {
    true
}

fn default_dtype() -> String {
    "float32".to_owned()
}

fn default_device() -> String {
    "cpu".to_owned()
}

fn default_none() -> String {
    "none".to_owned()
}

/// The configuration of a dictionary for inference (SAELens `SAEConfig.to_dict`, version 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SaeConfig {
    /// Width of the activations.
    pub(super) d_in: usize,
    /// Number of features.
    pub(super) d_sae: usize,
    /// Width of what a transcoder predicts; none of autoencoders, which predict what they read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) d_out: Option<usize>,
    /// Element type of the tensors on file.
    #[serde(default = "default_dtype")]
    pub(super) dtype: String,
    /// Device that SAELens loads to.
    #[serde(default = "default_device")]
    pub(super) device: String,
    /// Whether `b_dec` is subtracted before encoding; absent means yes, as in SAELens. Never of transcoders, whose `b_dec`
    /// belongs elsewhere.
    #[serde(default = "default_true")]
    pub(super) apply_b_dec_to_input: bool,
    /// `none` in everything that Untangle writes: scaling is folded into the weights. `layer_norm` and
    /// `constant_norm_rescale` are done to every row on its own.
    #[serde(default = "default_none")]
    pub(super) normalize_activations: String,
    /// `none`, or `hook_z` where heads are flattened.
    #[serde(default = "default_none")]
    pub(super) reshape_activations: String,
    /// `standard`, `topk`, `jumprelu`, `gated`, `jumprelu_transcoder`, …
    pub(super) architecture: String,
    /// Active features per row, of `topk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) k: Option<usize>,
    /// Whether `topk` ranks by activation times decoder norm; false in everything that Untangle writes, where
    /// decoder rows are unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rescale_acts_by_decoder_norm: Option<bool>,
    /// Where the dictionary belongs.
    #[serde(default)]
    pub(super) metadata: SaeMetadata,
    /// Keys that are not known.
    #[serde(flatten)]
    pub(super) unknown: Map<String, Value>,
}

/// Where a dictionary belongs. Keys that Untangle does not know are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SaeMetadata {
    /// The model's name.
    #[serde(default)]
    pub(super) model_name: Option<String>,
    /// The hook point, TransformerLens form.
    #[serde(default)]
    pub(super) hook_name: Option<String>,
    /// The hook point that a transcoder predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hook_name_out: Option<String>,
    /// Tokens per context in training.
    #[serde(default)]
    pub(super) context_size: Option<usize>,
    /// Whether contexts began with a beginning-of-sequence token.
    #[serde(default)]
    pub(super) prepend_bos: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

impl SaeConfig {
    /// Whether it asks TransformerLens to centre the weights that write to the stream.
    pub(super) fn says_centred(&self) -> bool {
        self.metadata.other.get(LOADING).is_some_and(|given| given[CENTRED] == true)
    }

    /// What is done to the scale of rows.
    ///
    /// # Errors
    /// In words, where it asks for something that is not computed here.
    pub(super) fn scaling(&self) -> Result<RowScaling, String> {
        let known = [
            RowScaling::None,
            // The factor is folded into the weights when training ends, and the identity since.
            RowScaling::AverageInTraining,
            RowScaling::LayerNorm,
            RowScaling::ConstantNorm,
        ];
        let asked = &self.normalize_activations;
        let found = known.into_iter().find(|scaling| scaling.to_string() == *asked);
        found.filter(|scaling| *scaling != RowScaling::LayerNorm || self.d_in > 1).ok_or_else(|| refusal(asked))
    }

    /// The description of a dictionary of this configuration, whose rows are scaled so and whose tensors are `parts`.
    pub(super) fn described(self, scaling: RowScaling, parts: &Parts) -> Description {
        let centred_weights = self.says_centred();
        let SaeMetadata { model_name, hook_name, hook_name_out, context_size, prepend_bos, mut other } = self.metadata;
        let mut text = |key: &str| {
            let found = other.get(key)?.as_str()?.to_owned();
            other.remove(key);
            Some(found)
        };
        let model_weights = text(MODEL_WEIGHTS);
        let (tool_version, trained_as) = (text(TOOL_VERSION), text(TRAINED_AS));
        if let Some(given) = other.get_mut(LOADING).and_then(Value::as_object_mut).filter(|_| centred_weights) {
            given.remove(CENTRED);
        }
        let mut settings = self.unknown;
        settings.insert(setting::DTYPE.to_owned(), self.dtype.into());
        settings.insert(setting::DEVICE.to_owned(), self.device.into());
        settings.insert(setting::RESHAPE.to_owned(), self.reshape_activations.into());
        // What it asks for is folded into the tensors, or is no setting of the architecture: SAELens passes it over.
        settings.extend(self.rescale_acts_by_decoder_norm.map(|_| (setting::RESCALE.to_owned(), false.into())));
        settings.extend(self.k.filter(|_| parts.k().is_none()).map(|k| (setting::K.to_owned(), k.into())));
        let place = Place { hook: hook_name, model: model_name, model_weights, ..Place::default() };
        Description {
            d_out: self.d_out,
            subtracts_b_dec: self.apply_b_dec_to_input,
            scaling,
            provenance: Provenance {
                reads: vec![place],
                predicts: hook_name_out,
                centred_weights,
                context_size,
                prepend_bos,
                trained_as,
                tool_version,
            },
            kept: Kept { format: NAME, settings, metadata: other },
            ..Description::new(self.d_in, self.d_sae)
        }
    }

    /// The configuration of a dictionary that is so described and has these tensors.
    pub(super) fn of(description: &Description, parts: &Parts) -> Self {
        let Description { d_in, d_sae, d_out, subtracts_b_dec, scaling, provenance, kept } = description;
        let own = kept.format == NAME;
        let mut settings = if own { kept.settings.clone() } else { Map::new() };
        let mut text = |key: &str, usual: fn() -> String| {
            settings.remove(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_else(usual)
        };
        let (dtype, device) = (text(setting::DTYPE, default_dtype), text(setting::DEVICE, default_device));
        let reshape_activations = text(setting::RESHAPE, default_none);
        let rescale = settings.remove(setting::RESCALE).map(|_| false);
        let k = settings.remove(setting::K).and_then(|k| k.as_u64()).map(|k| k as usize);
        SaeConfig {
            d_in: *d_in,
            d_sae: *d_sae,
            d_out: *d_out,
            dtype,
            device,
            apply_b_dec_to_input: *subtracts_b_dec,
            normalize_activations: scaling.to_string(),
            reshape_activations,
            architecture: parts.architecture(d_out.is_some()),
            k: parts.k().or(k),
            rescale_acts_by_decoder_norm: if own { rescale } else { parts.k().map(|_| false) },
            metadata: metadata_of(provenance, own.then(|| kept.metadata.clone())),
            unknown: settings,
        }
    }
}

/// Metadata of this provenance, with what was kept of a file of this format.
fn metadata_of(provenance: &Provenance, kept: Option<Map<String, Value>>) -> SaeMetadata {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let model_weights = provenance.model_weights();
    let mut other = kept.unwrap_or_else(|| {
        let class = model_weights.map(|_| MODEL_CLASS);
        [VERSION].into_iter().chain(class).map(|(key, value)| (key.to_owned(), value.into())).collect()
    });
    for (key, text) in [
        (MODEL_WEIGHTS, model_weights),
        (TOOL_VERSION, provenance.tool_version.as_deref()),
        (TRAINED_AS, provenance.trained_as.as_deref()),
    ] {
        other.extend(text.map(|text| (key.to_owned(), text.into())));
    }
    if provenance.centred_weights {
        let given = other.entry(LOADING).or_insert(Value::Null);
        if !given.is_object() {
            *given = Map::new().into();
        }
        given[CENTRED] = true.into();
    }
    SaeMetadata {
        model_name: owned(provenance.model()),
        hook_name: owned(provenance.hook()),
        hook_name_out: provenance.predicts.clone(),
        context_size: provenance.context_size,
        prepend_bos: provenance.prepend_bos,
        other,
    }
}

fn refusal(normalize_activations: &str) -> String {
    let remedy = match normalize_activations {
        "covariance_whitening" => {
            "belongs to a training state; save it for inference with SAELens (`save_inference_model`), which folds it in"
        }
        "constant_scalar_rescale" => "belongs to SAELens' temporal dictionaries, which are not supported",
        "layer_norm" => "needs rows of more than one column",
        _ => {
            "is not supported; none, expected_average_only_in, layer_norm and constant_norm_rescale are. Fold it into the \
             weights and say none"
        }
    };
    format!("normalize_activations `{normalize_activations}` {remedy}")
}

/// What a dictionary's `cfg.json` says in this form, but for keys that are not known: to be shown, recorded and compared, not to be
/// asked. What it means is in the [`Description`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Written(SaeConfig);

impl Written {
    pub(crate) fn of(description: &Description, parts: &Parts) -> Self {
        Written(SaeConfig { unknown: Map::new(), ..SaeConfig::of(description, parts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saelens_v6_configuration_is_read_and_unknown_metadata_is_kept() {
        let text = r#"{"d_in": 4, "d_sae": 8, "k": 2, "dtype": "float32", "device": "cpu", "architecture": "topk",
            "metadata": {"hook_name": "blocks.1.hook_resid_post", "sae_lens_version": "6.37.6"}}"#;
        let config: SaeConfig = serde_json::from_str(text).expect("valid");
        assert!(config.apply_b_dec_to_input);
        assert_eq!(config.k, Some(2));
        assert_eq!(config.metadata.other["sae_lens_version"], "6.37.6");
        let again: SaeConfig = serde_json::from_str(&serde_json::to_string(&config).expect("json")).expect("valid");
        assert_eq!(again, config);
    }
}
