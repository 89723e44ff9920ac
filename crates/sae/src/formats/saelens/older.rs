//! How is `cfg.json` of SAELens 2 to 5 written today?
//!
//! Before version 6, hook, model and activation function stood at the top level under names that changed. What follows is
//! what SAELens 6 does when it reads such a file (`handle_pre_6_0_config`), with two differences: an activation function that it would
//! pass over is refused, and `metadata` of a file that names no version is kept.

use serde_json::{Map, Value, json};

/// What is now called otherwise.
const RENAMED: [(&str, &str); 3] =
    [("hook_point", "hook_name"), ("hook_point_head_index", "hook_head_index"), ("activation_fn_str", "activation_fn")];

/// What now stands in `metadata`.
const METADATA: [&str; 21] = [
    "model_name",
    "hook_name",
    "model_class_name",
    "hook_head_index",
    "model_from_pretrained_kwargs",
    "prepend_bos",
    "exclude_special_tokens",
    "neuronpedia_id",
    "context_size",
    "seqpos_slice",
    "dataset_path",
    "sae_lens_version",
    "sae_lens_training_version",
    "hook_name_out",
    "hook_head_index_out",
    "hf_hook_name",
    "hf_hook_name_out",
    "hook_layer",
    "hook_layer_out",
    "use_error_term",
    "ignore_tokens",
];

/// The key under which a file names the version that wrote it, and the one from which on nothing is to be done.
const VERSION: (&str, &str) = ("sae_lens_version", "6.0.0");

/// Rewrites a configuration of any version as one of version 6.
///
/// # Errors
/// In words, where it contradicts itself or names an activation function that is not computed.
pub(super) fn bring_up_to_date(config: &mut Map<String, Value>) -> Result<(), String> {
    for (older, name) in RENAMED {
        if let Some(value) = config.remove(older) {
            config.entry(name).or_insert(value);
        }
    }
    let lacks_keys = ["architecture", "metadata"].iter().any(|key| !config.contains_key(*key));
    let form = OlderForm { lacks_keys, is_before_6: move_metadata(config)? };
    default_settings(config);
    activation_function(config, form)?;
    config.remove("finetuning_scaling_factor");
    Ok(())
}

/// By what an older form is known.
#[derive(Clone, Copy)]
struct OlderForm {
    /// It lacks keys that every file of today has.
    lacks_keys: bool,
    /// It names an older version, or none.
    is_before_6: bool,
}

/// Moves what belongs there into `metadata`, and says whether the file is of a version before 6.
fn move_metadata(config: &mut Map<String, Value>) -> Result<bool, String> {
    let mut metadata = match config.remove("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return Err("`metadata` is not an object of keys and values".to_owned()),
    };
    for key in METADATA {
        if let Some(value) = config.remove(key) {
            let of_metadata = metadata.entry(key).or_insert(Value::Null);
            if of_metadata.is_null() {
                *of_metadata = value;
            }
        }
    }
    // Without a version of at least 6, SAELens would take the file for an older form again and drop all metadata.
    let version = metadata.get(VERSION.0).and_then(Value::as_str).unwrap_or_default();
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < 6 {
        metadata.insert(VERSION.0.to_owned(), VERSION.1.into());
    }
    config.insert("metadata".to_owned(), Value::Object(metadata));
    Ok(major < 6)
}

/// Defaults of files that do not say, and earlier spellings of values.
fn default_settings(config: &mut Map<String, Value>) {
    let nothing = |value: Option<&Value>| value.is_none_or(Value::is_null);
    if nothing(config.get("architecture")) {
        config.insert("architecture".to_owned(), "standard".into());
    }
    if nothing(config.get("reshape_activations")) {
        let hook = config["metadata"]["hook_name"].as_str().unwrap_or_default();
        let reshape = if hook.contains("hook_z") { "hook_z" } else { "none" };
        config.insert("reshape_activations".to_owned(), reshape.into());
    }
    let normalize = match config.get("normalize_activations") {
        None | Some(Value::Null | Value::Bool(false)) => Some("none"),
        Some(Value::Bool(true)) => Some("expected_average_only_in"),
        Some(_) => None,
    };
    if let Some(normalize) = normalize {
        config.insert("normalize_activations".to_owned(), normalize.into());
    }
    for key in ["apply_b_dec_to_input", "dtype", "device", "k", "d_out", "rescale_acts_by_decoder_norm"] {
        if config.get(key).is_some_and(Value::is_null) {
            config.remove(key);
        }
    }
    let is_transcoder = config["architecture"].as_str().is_some_and(|name| name.contains("transcoder"));
    if is_transcoder && !config.contains_key("apply_b_dec_to_input") {
        config.insert("apply_b_dec_to_input".to_owned(), false.into());
    }
    if let Some(dtype) = config.get("dtype").and_then(Value::as_str).and_then(|name| name.strip_prefix("torch.")) {
        config.insert("dtype".to_owned(), dtype.to_owned().into());
    }
}

/// `topk` was an activation function of the architecture `standard`.
fn activation_function(config: &mut Map<String, Value>, form: OlderForm) -> Result<(), String> {
    let function = config.remove("activation_fn").unwrap_or(Value::Null);
    let settings = match config.remove("activation_fn_kwargs") {
        None | Some(Value::Null) => Value::Null,
        Some(settings @ Value::Object(_)) => settings,
        Some(_) => return Err("`activation_fn_kwargs` is not an object of keys and values".to_owned()),
    };
    let architecture = config["architecture"].as_str().unwrap_or_default().to_owned();
    if settings["signed"] == true {
        return Err("`activation_fn_kwargs.signed` keeps negative activations, which is not supported".to_owned());
    }
    if !["null", "\"relu\""].contains(&settings["postact_fn"].to_string().to_lowercase().as_str()) {
        return Err(format!("`activation_fn_kwargs.postact_fn` {} is not supported; relu is", settings["postact_fn"]));
    }
    // Of two that differ, SAELens takes this one in files of older versions, and the other in today's, which have no such settings.
    if architecture == "topk" && (form.is_before_6 || !config.contains_key("k")) && !settings["k"].is_null() {
        config.insert("k".to_owned(), settings["k"].clone());
    }
    match (function.as_str(), architecture.as_str()) {
        (None, _) if function.is_null() => Ok(()),
        (Some("relu"), _) | (Some("topk"), "topk") => Ok(()),
        (Some("topk"), "standard") if form.lacks_keys || !settings["k"].is_null() => {
            let k = if settings["k"].is_null() { config.get("k").cloned() } else { Some(settings["k"].clone()) };
            let Some(k) = k else { return Err("activation function `topk` needs `activation_fn_kwargs.k`".to_owned()) };
            config.insert("architecture".to_owned(), json!("topk"));
            config.insert("k".to_owned(), k);
            Ok(())
        }
        _ => Err(format!(
            "activation function {function} of the architecture `{architecture}` is not supported; relu is, and topk of standard"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(text: &str) -> Result<Value, String> {
        let mut config: Map<String, Value> = serde_json::from_str(text).expect("json");
        bring_up_to_date(&mut config).map(|()| Value::Object(config))
    }

    #[test]
    fn what_stood_at_the_top_is_metadata_now() {
        let text = r#"{"hook_point": "blocks.2.attn.hook_z", "hook_point_head_index": null, "model_name": "gpt2-small",
            "dtype": "torch.float16", "d_in": 4, "neuronpedia_id": "gpt2-small/2-att", "normalize_activations": true,
            "prepend_bos": false, "apply_b_dec_to_input": null}"#;
        let found = current(text).expect("an older form");
        assert_eq!(found["metadata"]["hook_name"], "blocks.2.attn.hook_z");
        assert_eq!(found["metadata"]["neuronpedia_id"], "gpt2-small/2-att");
        assert_eq!((&found["metadata"]["prepend_bos"], &found["dtype"]), (&json!(false), &json!("float16")));
        assert_eq!((&found["architecture"], &found["reshape_activations"]), (&json!("standard"), &json!("hook_z")));
        assert_eq!(found["normalize_activations"], "expected_average_only_in");
        assert!(found.get("apply_b_dec_to_input").is_none(), "absent means the default");
    }

    #[test]
    fn top_k_was_an_activation_function() {
        for text in [
            r#"{"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 7}}"#,
            r#"{"activation_fn": "topk", "activation_fn_kwargs": {"k": 7}, "architecture": "standard"}"#,
            r#"{"architecture": "topk", "activation_fn_kwargs": {"k": 7}}"#,
            r#"{"architecture": "topk", "k": 3, "activation_fn_kwargs": {"k": 7}}"#,
            r#"{"architecture": "topk", "k": 3, "activation_fn_kwargs": {"k": 7}, "metadata": {"sae_lens_version": "5.9.1"}}"#,
            r#"{"architecture": "topk", "k": 7, "activation_fn_kwargs": {"k": 3}, "metadata": {"sae_lens_version": "6.1.0"}}"#,
        ] {
            let found = current(text).expect("an older form");
            assert_eq!((&found["architecture"], &found["k"]), (&json!("topk"), &json!(7)), "{text}");
        }
        for (text, said) in [
            (r#"{"activation_fn_str": "tanh-relu"}"#, "tanh-relu"),
            (r#"{"activation_fn": "topk"}"#, "needs `activation_fn_kwargs.k`"),
            (r#"{"activation_fn": "topk", "architecture": "jumprelu", "activation_fn_kwargs": {"k": 7}}"#, "jumprelu"),
            (r#"{"activation_fn": "topk", "activation_fn_kwargs": {"k": 7, "signed": true}}"#, "signed"),
            (r#"{"activation_fn": "topk", "activation_fn_kwargs": {"k": 7, "postact_fn": "tanh"}}"#, "postact_fn"),
            (r#"{"activation_fn_kwargs": 7}"#, "not an object"),
            (r#"{"activation_fn": 7}"#, "activation function 7"),
        ] {
            let message = current(text).expect_err("refused");
            assert!(message.contains(said), "`{message}` does not say `{said}`");
        }
    }

    #[test]
    fn metadata_that_stands_in_its_place_is_kept() {
        let found =
            current(r#"{"architecture": "topk", "k": 3, "metadata": {"hook_name": "a", "x": 1}}"#).expect("new");
        assert_eq!((&found["metadata"]["hook_name"], &found["metadata"]["x"]), (&json!("a"), &json!(1)));
    }
}
