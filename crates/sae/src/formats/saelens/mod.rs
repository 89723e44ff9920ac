//! Dictionaries as SAELens reads and writes them: `cfg.json` and `sae_weights.safetensors`.

mod config;
mod known;
mod older;

pub use config::Written;

use super::file::{self, Elements};
use super::format::{Folder, Format, Found};
use super::tensors::{Reader, is_too_large};
use crate::description::Description;
use crate::error::SaeError;
use crate::io::{transposed, transposed_buffer, write_json, write_tensors};
use crate::parts::{Activation, Parts};
use config::SaeConfig;
use serde_json::{Map, Value};
use std::path::Path;
use untangle_schema::sae::{files, tensors};

/// Whatever has a `cfg.json` and is of no other format is read as this, and refused by name.
pub(super) const FORMAT: Format =
    Format { name: config::NAME, marker: files::CONFIG, sniff: |_| true, of_several: false, read, write: Some(write) };

/// The architectures that are understood, as SAELens calls them: those that reconstruct what they read, and others.
const AUTOENCODERS: [&str; 5] = ["standard", "topk", "abstopk", "jumprelu", "gated"];
const TRANSCODERS: [&str; 4] = ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"];

fn architectures() -> impl Iterator<Item = &'static str> {
    AUTOENCODERS.into_iter().chain(TRANSCODERS)
}

/// What users of a dictionary whose activations have signs should know.
const BOTH_SIGNS: &str = "its features fire with either sign; `untangle features` describes their positive activations alone, in \
    densities, examples and labels";

fn read(folder: Folder<'_>) -> Result<Found, SaeError> {
    let Folder { dir, mut config } = folder;
    let path = dir.join(files::CONFIG);
    let wrong = |reason: String| SaeError::Config { path: path.clone(), reason };
    let Some(keys) = config.as_object_mut() else {
        return Err(wrong("is not a configuration: no object of keys and values".to_owned()));
    };
    no_other_configuration(keys).map_err(wrong)?;
    let finetuned = keys.get("finetuning_scaling_factor") == Some(&Value::Bool(true));
    older::bring_up_to_date(keys).map_err(wrong)?;
    let mut notes = known::unknown_keys(keys);
    let config: SaeConfig = serde_json::from_value(config).map_err(|error| wrong(error.to_string()))?;
    check_supported(&config).map_err(wrong)?;
    let scaling = config.scaling().map_err(wrong)?;
    let weights = dir.join(files::WEIGHTS);
    if !weights.exists() {
        return Err(SaeError::NoDictionary {
            path: dir.to_owned(),
            problem: format!("has {} and no {}", files::CONFIG, files::WEIGHTS),
            remedy: "copy its tensors as well, as safetensors under that name".to_owned(),
        });
    }
    let bytes = file::bytes(&weights, elements(&config))?;
    let reader = Reader::new(&weights, &bytes)?;
    let mut parts = parts(&reader, &config)?;
    apply_finetuning(&reader, &mut parts, finetuned)?;
    reader.refuse_others(&config.architecture)?;
    notes.extend(reader.note().map(str::to_owned));
    drop(bytes);
    notes.extend(known::notes(&config, dir));
    if config.architecture == "abstopk" {
        notes.push(BOTH_SIGNS.to_owned());
    }
    // Other architectures have no such setting in SAELens, which passes it over.
    if config.rescale_acts_by_decoder_norm == Some(true) && has_k(&config.architecture) {
        parts.fold_decoder_norms();
    }
    Ok(Found { description: config.described(scaling, &parts), parts, notes })
}

/// Writes so that SAELens loads the directory unmodified.
fn write(description: &Description, parts: &Parts, dir: &Path) -> Result<(), SaeError> {
    let config_path = dir.join(files::CONFIG);
    let config = SaeConfig::of(description, parts);
    if !architectures().any(|known| known == config.architecture) {
        let reason = format!("SAELens has no architecture `{}`", config.architecture);
        return Err(SaeError::Config { path: config_path, reason });
    }
    let (d, f, d_out) = (config.d_in, config.d_sae, config.d_out.unwrap_or(config.d_in));
    let w_enc = transposed(&parts.w_enc, f, d);
    let further = match &parts.activation {
        Activation::JumpRelu { threshold } => vec![(tensors::THRESHOLD, threshold)],
        Activation::Gated { r_mag, b_mag } => vec![(tensors::R_MAG, r_mag), (tensors::B_MAG, b_mag)],
        _ => Vec::new(),
    };
    let mut views: Vec<(&str, Vec<usize>, &[f32])> = vec![
        (tensors::W_ENC, vec![d, f], &w_enc),
        (tensors::W_DEC, vec![f, d_out], &parts.w_dec),
        (bias_name(&parts.activation), vec![f], &parts.b_enc),
        (tensors::B_DEC, vec![d_out], &parts.b_dec),
    ];
    views.extend(further.into_iter().map(|(name, values)| (name, vec![f], &values[..])));
    views.extend(parts.w_skip.iter().map(|w_skip| (tensors::W_SKIP, vec![d_out, d], &w_skip[..])));
    write_tensors(&dir.join(files::WEIGHTS), &views)?;
    write_json(&config_path, &config)
}

/// The bias of the pre-activations: gated dictionaries have one for the gate.
fn bias_name(activation: &Activation) -> &'static str {
    if matches!(activation, Activation::Gated { .. }) { tensors::B_GATE } else { tensors::B_ENC }
}

/// Refuses what is no configuration of SAELens, by the sizes that each of those has.
fn no_other_configuration(config: &Map<String, Value>) -> Result<(), String> {
    let Some(missing) = ["d_in", "d_sae"].into_iter().find(|key| !config.contains_key(*key)) else { return Ok(()) };
    let whose = match config.contains_key("dict_size") || config.contains_key("act_size") {
        true => "it is of another tool (act_size and dict_size are those of BatchTopK's and hook_z's first trainers)",
        false => "it is of another tool than SAELens, or of none",
    };
    Err(format!(
        "has no `{missing}`: {whose}; a dictionary's has d_in, d_sae and architecture, and beside it lies {} with W_enc \
         [d_in, d_sae], b_enc, W_dec [d_sae, d_in] and b_dec",
        files::WEIGHTS
    ))
}

/// Elements of the tensors, as far as the sizes say. One to four biases, thresholds and scales of features are counted as three.
fn elements(config: &SaeConfig) -> Elements {
    let (d, f, d_out) = (config.d_in as u64, config.d_sae as u64, config.d_out.unwrap_or(config.d_in) as u64);
    let skip = if config.architecture.contains("skip") { d.saturating_mul(d_out) } else { 0 };
    let all = d.saturating_add(d_out).saturating_add(3).saturating_mul(f).saturating_add(skip).saturating_add(d_out);
    Elements::with_transposed(all, d.saturating_mul(f))
}

/// Refuses what is not supported, in words.
fn check_supported(config: &SaeConfig) -> Result<(), String> {
    let is_transcoder = TRANSCODERS.contains(&config.architecture.as_str());
    if !is_transcoder && !AUTOENCODERS.contains(&config.architecture.as_str()) {
        return Err(unsupported(&config.architecture));
    }
    check_sizes(config)?;
    if is_transcoder != config.d_out.is_some() {
        let problem = if is_transcoder { "needs `d_out`" } else { "has no `d_out`" };
        return Err(format!("architecture `{}` {problem}", config.architecture));
    }
    if is_transcoder && config.apply_b_dec_to_input {
        return Err("a transcoder needs `apply_b_dec_to_input` false: its b_dec belongs to what it predicts".to_owned());
    }
    if !["none", "hook_z"].contains(&config.reshape_activations.as_str()) {
        return Err(format!(
            "reshape_activations `{}` is not supported; none and hook_z are",
            config.reshape_activations
        ));
    }
    config.scaling()?;
    match config.k {
        _ if !has_k(&config.architecture) => Ok(()),
        None => Err(format!("architecture `{}` needs `k`", config.architecture)),
        Some(k) if k == 0 || k > config.d_sae => Err(format!("k = {k} is not between 1 and d_sae = {}", config.d_sae)),
        _ => Ok(()),
    }
}

/// Whether a number of features is chosen of every row.
fn has_k(architecture: &str) -> bool {
    ["topk", "abstopk"].contains(&architecture)
}

fn unsupported(architecture: &str) -> String {
    let known = architectures().collect::<Vec<_>>().join(", ");
    let remedy = match architecture {
        "batchtopk" | "matryoshka_batchtopk" => {
            "; it is a training state: save it for inference with SAELens (`save_inference_model`), which makes it a jumprelu"
        }
        _ => "",
    };
    format!("architecture `{architecture}` is not supported; {known} are{remedy}")
}

/// Before anything is allocated.
fn check_sizes(config: &SaeConfig) -> Result<(), String> {
    let (d, f) = (config.d_in, config.d_sae);
    let zero = [("d_in", d), ("d_sae", f), ("d_out", config.d_out.unwrap_or(1))];
    if let Some((name, _)) = zero.into_iter().find(|(_, size)| *size == 0) {
        return Err(format!("`{name}` is 0, which is out of range"));
    }
    let too_large = |width: usize| is_too_large(width, f.max(d));
    if too_large(d) || config.d_out.is_some_and(too_large) {
        let d_out = config.d_out.map(|d_out| format!(", d_out {d_out}")).unwrap_or_default();
        return Err(format!("d_in {d}{d_out} and d_sae {f} are out of range"));
    }
    Ok(())
}

fn parts(reader: &Reader<'_>, config: &SaeConfig) -> Result<Parts, SaeError> {
    let (d, f, d_out) = (config.d_in, config.d_sae, config.d_out.unwrap_or(config.d_in));
    let w_enc = transposed_buffer(&reader.read(tensors::W_ENC, &[d, f])?, d, f);
    let w_dec = reader.matrix(tensors::W_DEC, &[f, d_out])?;
    let b_dec = reader.read(tensors::B_DEC, &[d_out])?;
    let activation = match (config.architecture.as_str(), config.k) {
        ("topk", Some(k)) => Activation::TopK { k },
        ("abstopk", Some(k)) => Activation::AbsTopK { k },
        ("jumprelu" | "jumprelu_transcoder" | "jumprelu_skip_transcoder", _) => {
            Activation::JumpRelu { threshold: threshold(reader, f)? }
        }
        ("gated", _) => {
            Activation::Gated { r_mag: reader.read(tensors::R_MAG, &[f])?, b_mag: reader.read(tensors::B_MAG, &[f])? }
        }
        _ => Activation::Relu,
    };
    let b_enc = reader.read(bias_name(&activation), &[f])?;
    let w_skip = match config.architecture.as_str() {
        "skip_transcoder" | "jumprelu_skip_transcoder" => Some(reader.matrix(tensors::W_SKIP, &[d_out, d])?),
        _ => None,
    };
    Ok(Parts { w_enc, b_enc, w_dec, b_dec, w_skip, activation })
}

/// A training state has the logarithm.
fn threshold(reader: &Reader<'_>, f: usize) -> Result<Vec<f32>, SaeError> {
    if reader.has(tensors::THRESHOLD) || !reader.has(tensors::LOG_THRESHOLD) {
        return reader.read(tensors::THRESHOLD, &[f]);
    }
    Ok(reader.read(tensors::LOG_THRESHOLD, &[f])?.into_iter().map(f32::exp).collect())
}

/// SAELens 2 to 5 multiply activations by this before they decode them, where `finetuning_scaling_factor` is true. That is the same as
/// longer decoder rows.
fn apply_finetuning(reader: &Reader<'_>, parts: &mut Parts, finetuned: bool) -> Result<(), SaeError> {
    for name in [tensors::SCALING, tensors::FINETUNING] {
        if !reader.has(name) {
            continue;
        }
        let factors = reader.read(name, &[parts.b_enc.len()])?;
        let of_ones = factors.iter().all(|factor| (factor - 1.0).abs() <= 1e-5);
        match (of_ones, finetuned) {
            (true, _) => {}
            (false, false) => {
                let problem = "scales activations, but `finetuning_scaling_factor` is not true; say whether it is used";
                return Err(reader.wrong(name, problem.to_owned()));
            }
            (false, true) => {
                let d_out = parts.b_dec.len();
                let rows = parts.w_dec.chunks_exact_mut(d_out).zip(&factors);
                rows.for_each(|(row, factor)| row.iter_mut().for_each(|w| *w *= factor));
            }
        }
    }
    Ok(())
}
