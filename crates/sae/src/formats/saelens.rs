//! Dictionaries as SAELens reads and writes them: `cfg.json` and `sae_weights.safetensors`.

use super::file::{self, Elements};
use super::tensors::{Reader, is_too_large};
use super::{known, older};
use crate::error::SaeError;
use crate::io::{bias_name, transposed_buffer};
use crate::rows::RowForm;
use crate::sae::{Activation, Parts, Sae};
use serde_json::{Map, Value};
use std::path::Path;
use untangle_schema::sae::{files, tensors};
use untangle_schema::{CROSSCODER, SaeConfig};

/// The architectures that are understood, as SAELens calls them: those that reconstruct what they read, and others.
const AUTOENCODERS: [&str; 5] = ["standard", "topk", "abstopk", "jumprelu", "gated"];
const TRANSCODERS: [&str; 4] = ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"];

/// What users of a dictionary whose activations have signs should know.
const BOTH_SIGNS: &str = "its features fire with either sign; examples and labels are made for positive activations, and take negative \
    ones for weak ones";

/// Reads the directory whose `cfg.json` is `config`.
pub(super) fn read(mut config: Value, dir: &Path) -> Result<Sae, SaeError> {
    let path = dir.join(files::CONFIG);
    let wrong = |reason: String| SaeError::Config { path: path.clone(), reason };
    if config["architecture"] == CROSSCODER {
        return Err(wrong(
            "is a crosscoder, whose features belong to several activations at once; inspect and evaluate take it"
                .to_owned(),
        ));
    }
    let Some(keys) = config.as_object_mut() else {
        return Err(wrong("is not a configuration: no object of keys and values".to_owned()));
    };
    no_other_configuration(keys).map_err(wrong)?;
    let finetuned = keys.get("finetuning_scaling_factor") == Some(&Value::Bool(true));
    older::bring_up_to_date(keys).map_err(wrong)?;
    let mut notes = known::unknown_keys(keys);
    let mut config: SaeConfig = serde_json::from_value(config).map_err(|error| wrong(error.to_string()))?;
    check_supported(&config).map_err(wrong)?;
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
    if config.rescale_acts_by_decoder_norm == Some(true) && has_k(&config.architecture) {
        parts.fold_decoder_norms(config.d_in, config.d_in);
    }
    // Other architectures have no such setting in SAELens, which passes it over.
    config.rescale_acts_by_decoder_norm = config.rescale_acts_by_decoder_norm.map(|_| false);
    Ok(Sae::new(config, parts)?.with_notes(notes))
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
    RowForm::of(config)?;
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
    let known = [&AUTOENCODERS[..], &TRANSCODERS].concat().join(", ");
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

impl Parts {
    /// Makes ranking and activations "times decoder norm" a property of the weights: with n_i = |d_i|, `(n_i w_i) · x`, biases and
    /// thresholds times n_i, and `d_i / n_i` give n_i times the activations and the same reconstruction. It is SAELens'
    /// `rescale_acts_by_decoder_norm`.
    pub(crate) fn fold_decoder_norms(&mut self, d_in: usize, d_out: usize) {
        let (mut none, mut nothing) = (Vec::new(), Vec::new());
        // The scale of a gated feature's copy stays: it is of the pre-activation, which has grown.
        let further = match &mut self.activation {
            Activation::JumpRelu { threshold } => threshold,
            Activation::Gated { b_mag, .. } => b_mag,
            Activation::Relu | Activation::TopK { .. } | Activation::AbsTopK { .. } => &mut none,
        };
        if further.is_empty() {
            nothing.resize(self.b_enc.len(), 0.0);
        }
        let further = if further.is_empty() { &mut nothing } else { further };
        let rows = self.w_enc.chunks_exact_mut(d_in).zip(self.w_dec.chunks_exact_mut(d_out));
        for (((w_enc, w_dec), b_enc), further) in rows.zip(&mut self.b_enc).zip(further.iter_mut()) {
            let norm = w_dec.iter().map(|v| v * v).sum::<f32>().sqrt();
            if norm > 0.0 {
                w_enc.iter_mut().for_each(|w| *w *= norm);
                w_dec.iter_mut().for_each(|w| *w /= norm);
                *b_enc *= norm;
                *further *= norm;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Codes;
    use crate::kernels::buffer::Buffer;

    /// Three features that read a row of 2 and write one of 3, with decoder norms 5, 2 and 0.
    fn parts(activation: Activation) -> Parts {
        Parts {
            w_enc: Buffer::copy_of(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
            b_enc: vec![0.5, -0.25, 1.0],
            w_dec: Buffer::copy_of(&[3.0, 4.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]),
            b_dec: vec![0.0, 1.0, 0.0],
            w_skip: None,
            activation,
        }
    }

    #[test]
    fn folding_norms_multiplies_activations_and_keeps_reconstructions() {
        let text =
            r#"{"d_in": 2, "d_sae": 3, "d_out": 3, "architecture": "transcoder", "apply_b_dec_to_input": false}"#;
        let config: SaeConfig = serde_json::from_str(text).expect("a configuration");
        let x = [1.0f32, 2.0, -0.25, 0.5, 0.75, -1.0];
        let run = |parts: Parts| {
            let sae = Sae::new(config.clone(), parts).expect("fits");
            let (mut codes, mut out) = (Codes::new(), vec![0f32; 9]);
            sae.encode(&x, &mut codes).expect("rows fit");
            sae.reconstruct(&x, &codes, &mut out).expect("rows fit");
            (codes, out)
        };
        let gated = Activation::Gated { r_mag: vec![0.25, -0.5, 0.0], b_mag: vec![0.125, 0.5, -0.25] };
        for activation in [Activation::Relu, Activation::JumpRelu { threshold: vec![1.0, 0.2, 0.0] }, gated] {
            let mut folded = parts(activation.clone());
            folded.fold_decoder_norms(2, 3);
            let ((before, x_hat), (after, again)) = (run(parts(activation)), run(folded));
            assert_eq!(before.features(), after.features());
            for row in 0..3 {
                for (feature, norm) in [5.0, 2.0, 1.0].into_iter().enumerate() {
                    let (f, folded) = (before.activation(row, feature), after.activation(row, feature));
                    assert!((folded - norm * f).abs() < 1e-5, "{row} {feature}: {folded} is not {norm} times {f}");
                }
            }
            assert!(x_hat.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
