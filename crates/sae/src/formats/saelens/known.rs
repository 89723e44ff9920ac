//! What does `cfg.json` say that a user should know, because it changes numbers and is not used, or is unknown?

use super::config::{LOADING, SaeConfig};
use crate::rows::{has_rms_norm, is_of_the_stream};
use serde_json::{Map, Value};
use std::path::Path;
use untangle_schema::HookPoint;

/// What is read.
const READ: [&str; 12] = [
    "d_in",
    "d_sae",
    "d_out",
    "dtype",
    "device",
    "apply_b_dec_to_input",
    "normalize_activations",
    "reshape_activations",
    "architecture",
    "k",
    "rescale_acts_by_decoder_norm",
    "metadata",
];

/// What SAELens' trainers of all versions leave in `cfg.json` and no activation depends on: settings of data, optimiser, schedules,
/// losses, and logs.
const OF_TRAINING: [&str; 96] = [
    "act_store_device",
    "activations_mixing_fraction",
    "adam_beta1",
    "adam_beta2",
    "adam_beta_1",
    "adam_beta_2",
    "autocast",
    "autocast_lm",
    "autocast_sae",
    "aux_loss_coefficient",
    "b_dec_init_method",
    "cached_activations_path",
    "checkpoint_path",
    "compile_llm",
    "compile_sae",
    "d_sae_expansion",
    "data_column",
    "dataset_trust_remote_code",
    "dead_feature_threshold",
    "dead_feature_window",
    "decoder_heuristic_init",
    "decoder_init_norm",
    "decoder_orthogonal_init",
    "disable_concat_sequences",
    "eval_batch_size_prompts",
    "eval_every_n_wandb_logs",
    "expansion_factor",
    "feature_sampling_method",
    "feature_sampling_window",
    "finetuning_method",
    "finetuning_tokens",
    "from_pretrained_path",
    "ghost_grads",
    "hook_eval",
    "hook_point_eval",
    "hook_point_layer",
    "init_encoder_as_decoder_transpose",
    "is_dataset_tokenized",
    "jumprelu_bandwidth",
    "jumprelu_init_threshold",
    "jumprelu_sparsity_loss_mode",
    "jumprelu_tanh_scale",
    "l0_coefficient",
    "l0_warm_up_steps",
    "l1_coefficient",
    "l1_warm_up_steps",
    "llm_compilation_mode",
    "llm_device",
    "log_activations_store_to_wandb",
    "log_optimizer_state_to_wandb",
    "log_to_wandb",
    "logger",
    "lp_norm",
    "lr",
    "lr_decay_steps",
    "lr_end",
    "lr_scheduler_name",
    "lr_warm_up_steps",
    "model_kwargs",
    "mse_loss_normalization",
    "n_batches_for_norm_estimate",
    "n_batches_in_buffer",
    "n_checkpoints",
    "n_eval_batches",
    "n_restart_cycles",
    "noise_scale",
    "normalize_sae_decoder",
    "output_path",
    "pre_act_loss_coefficient",
    "prefetch_llm_batches",
    "resume_from_checkpoint",
    "run_name",
    "sae_compilation_mode",
    "sae_lens_training_version",
    "save_final_checkpoint",
    "scale_sparsity_penalty_by_decoder_norm",
    "seed",
    "sequence_separator_token",
    "sparse_loss_function",
    "store_batch_size",
    "store_batch_size_prompts",
    "streaming",
    "tokens_per_buffer",
    "topk_threshold_lr",
    "train_batch_size",
    "train_batch_size_tokens",
    "training_tokens",
    "total_training_steps",
    "total_training_tokens",
    "use_cached_activations",
    "use_chat_formatting",
    "use_ghost_grads",
    "use_sparse_activations",
    "verbose",
    "wandb_entity",
    "wandb_project",
];

/// Further keys of metadata that no activation depends on.
const OF_METADATA: [&str; 25] = [
    "model_class_name",
    "neuronpedia_id",
    "dataset_path",
    "sae_lens_version",
    "sae_lens_training_version",
    "hook_layer",
    "hook_layer_out",
    "hf_hook_name",
    "hf_hook_name_out",
    "model_weights_sha256",
    "untangle_version",
    "training_architecture",
    "training_architecture_details",
    "release",
    "sae_id",
    "n_training_samples",
    "training_tokens",
    "use_error_term",
    "repo_id",
    "folder_name",
    "description",
    "license",
    "author",
    "created_by",
    "hook_head_index_out",
];

/// Arguments of TransformerLens' loader that change no activation.
const OF_LOADING: [&str; 22] = [
    "center_unembed",
    "n_ctx",
    "dtype",
    "torch_dtype",
    "device",
    "device_map",
    "n_devices",
    "trust_remote_code",
    "local_files_only",
    "tokenizer",
    "hf_model",
    "move_to_device",
    "default_padding_side",
    "default_prepend_bos",
    "cache_dir",
    "token",
    "attn_implementation",
    "first_n_layers",
    "no_processing",
    "use_attn_result",
    "fold_ln_final",
    "low_cpu_mem_usage",
];

/// Keys at the top level that are neither read nor known not to matter.
pub(super) fn unknown_keys(config: &Map<String, Value>) -> Vec<String> {
    let harmless = |key: &str, value: &Value| {
        let named = READ.contains(&key) || OF_TRAINING.contains(&key) || OF_METADATA.contains(&key);
        named || key.starts_with("wandb_") || is_nothing(value)
    };
    let unknown = config.iter().filter(|(key, value)| !harmless(key, value)).map(|(key, _)| key.as_str()).collect();
    unknown_note("", unknown).into_iter().collect()
}

fn unknown_note(place: &str, unknown: Vec<&str>) -> Option<String> {
    let (verb, them) = if unknown.len() == 1 { ("is", "it") } else { ("are", "them") };
    let list = unknown.iter().map(|key| format!("`{place}{key}`")).collect::<Vec<_>>().join(", ");
    (!unknown.is_empty()).then(|| {
        format!(
            "{list} of cfg.json {verb} not known and not used; if activations depend on {them}, the numbers are wrong"
        )
    })
}

/// Absent, false, zero or empty: the feature that a key names is not used.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "none",
        Value::Array(items) => items.iter().all(Value::is_null),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) => false,
    }
}

/// What the configuration says and a user should know.
pub(super) fn notes(config: &SaeConfig, dir: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if config.rescale_acts_by_decoder_norm == Some(true) && config.architecture != "topk" {
        let architecture = &config.architecture;
        notes.push(format!(
            "`rescale_acts_by_decoder_norm` is not used, as in SAELens: `{architecture}` has no such setting"
        ));
    }
    if config.normalize_activations == "expected_average_only_in" {
        let scaler = dir.join("activation_scaler.json");
        let seen = if scaler.exists() { " (activation_scaler.json beside it has the factor)" } else { "" };
        notes.push(format!(
            "`normalize_activations` is expected_average_only_in, whose factor is not in the file: rows are taken as they are, as SAELens \
             does; a training state must be saved for inference first{seen}"
        ));
    }
    for (key, value) in config.metadata.other.iter().filter(|(_, value)| !is_nothing(value)) {
        notes.extend(metadata_note(key, value));
    }
    notes.extend(loading_notes(config));
    let known = |key: &str| OF_METADATA.contains(&key) || OF_TRAINING.contains(&key) || NOTED.contains(&key);
    let other = config.metadata.other.iter().filter(|(key, value)| !known(key) && !is_nothing(value));
    notes.extend(unknown_note("metadata.", other.map(|(key, _)| key.as_str()).collect()));
    notes
}

/// Metadata that has a note of its own.
const NOTED: [&str; 6] = [
    "hook_head_index",
    "seqpos_slice",
    "exclude_special_tokens",
    "ignore_tokens",
    "model_from_pretrained_kwargs",
    "activation_fn",
];

fn metadata_note(key: &str, value: &Value) -> Option<String> {
    match key {
        "hook_head_index" => Some(format!("reads head {value} of its hook point alone: give it that head's rows")),
        "seqpos_slice" => {
            Some(format!("was trained on positions {value} of its contexts alone; rows of all positions are taken"))
        }
        "exclude_special_tokens" if *value != true => {
            Some(format!("was trained without the tokens {value}; rows of all tokens are taken"))
        }
        "ignore_tokens" => Some(format!("was trained without the tokens {value}; rows of all tokens are taken")),
        "activation_fn" => Some(format!("metadata says activation_fn {value}, which is not used")),
        _ => None,
    }
}

/// What TransformerLens was told when it loaded the model, where activations depend on it.
fn loading_notes(config: &SaeConfig) -> Vec<String> {
    let Some(Value::Object(given)) = config.metadata.other.get(LOADING) else {
        return Vec::new();
    };
    let hook = config.metadata.hook_name.as_deref().unwrap_or_default();
    let mut notes = Vec::new();
    let mut unknown = Vec::new();
    for (key, value) in given.iter().filter(|(key, value)| !OF_LOADING.contains(&key.as_str()) && !is_nothing(value)) {
        match key.as_str() {
            "center_writing_weights" => notes.extend(centring_notes(config)),
            "fold_ln" if !hook.contains("hook_normalized") && !hook.contains("ln") => {}
            "fold_value_biases" if !hook.contains("hook_z") && !hook.contains("hook_v") => {}
            "refactor_factored_attn_matrices" if !hook.contains(".attn.") => {}
            "fold_ln" | "fold_value_biases" | "refactor_factored_attn_matrices" => notes.push(format!(
                "belongs to a model that TransformerLens loaded with {key}, whose activations at {hook} are others; rows are taken as they are"
            )),
            "revision" | "checkpoint_index" | "checkpoint_value" => {
                notes.push(format!("belongs to a checkpoint of its model: {key} {value}"));
            }
            _ => unknown.push(key.as_str()),
        }
    }
    notes.extend(unknown_note("metadata.model_from_pretrained_kwargs.", unknown));
    notes
}

/// What becomes of rows, and of what is predicted, where the model's writing weights were centred.
fn centring_notes(config: &SaeConfig) -> Vec<String> {
    if !config.says_centred() {
        return Vec::new();
    }
    let reads = config.metadata.hook_name.as_deref();
    let writes = config.metadata.hook_name_out.as_deref().filter(|_| config.d_out.is_some());
    let unknown = reads.into_iter().chain(writes).filter(|hook| hook.parse::<HookPoint>().is_err());
    let mut notes: Vec<String> = unknown
        .map(|hook| {
            format!(
                "belongs to a model with centred writing weights (center_writing_weights), and whether activations at {hook} were \
                 centred with them is not known: they are taken as they are"
            )
        })
        .collect();
    let of_the_stream = |hook: Option<&str>| hook.is_some_and(is_of_the_stream);
    let (reads, writes) = (of_the_stream(reads), of_the_stream(writes));
    if !reads && !writes {
        return notes;
    }
    if has_rms_norm(config.metadata.model_name.as_deref()) {
        let passed = "center_writing_weights is passed over: TransformerLens leaves models with RMSNorm as they are";
        notes.push(passed.to_owned());
        return notes;
    }
    let rows = "the mean over the width is taken off every row before it is encoded";
    let done = match (reads, writes, config.d_out.is_some()) {
        (true, false, false) => format!("{rows}, and FVU is that of rows without it"),
        (true, false, true) => rows.to_owned(),
        (true, true, _) => format!("{rows}, and what is predicted is compared without its own"),
        (false, ..) => "what is predicted is compared without its mean over the width".to_owned(),
    };
    notes.push(format!("belongs to a model with centred writing weights (center_writing_weights): {done}"));
    notes
}
