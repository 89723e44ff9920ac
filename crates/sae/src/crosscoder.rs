//! A crosscoder for inference: features of several activations at once, of several hook points or of several models
//! (Lindsey et al. 2024).
//!
//! ```text
//! p       = sum_m W_enc^m x^m + b_enc               pre-activations, [d_sae]
//! f_i     = p_i where p_i > theta_i and p_i > 0, else 0
//! x_hat^m = sum_i f_i d_i^m + b_dec^m               for each of the M parts
//! ```
//!
//! It is a dictionary of the parts put side by side. The decoder row of a feature is unit over all parts together, never in
//! each, so its norms say where the feature lives: with the parts' scales `s_m`, which make them equally large,
//!
//! ```text
//! share of part m = s_m |d_i^m| / sum_m' s_m' |d_i^m'|        cosine of two parts = d_i^m · d_i^m' / (|d_i^m| |d_i^m'|)
//! ```
//!
//! Of two models, a share near 0 or 1 is a feature of one model alone, near 1/2 of both.

use crate::codes::Codes;
use crate::error::SaeError;
use crate::formats::file::{self, Elements};
use crate::formats::tensors::{Reader, is_too_large};
use crate::io::{io, transposed_buffer, write_tensors, write_whole};
use crate::sae::{Activation, Parts, Sae};
use std::fs;
use std::path::Path;
use untangle_schema::sae::{files, tensors};
use untangle_schema::{CROSSCODER, CrosscoderConfig, SaeConfig, SaeMetadata};

/// A crosscoder for inference. Nothing in it changes after construction.
#[derive(Debug)]
pub struct Crosscoder {
    config: CrosscoderConfig,
    joined: Sae,
}

impl Crosscoder {
    /// A crosscoder of these tensors, the parts side by side: both matrices `[d_sae, M d_in]`, `b_dec` `[M d_in]`.
    ///
    /// # Errors
    /// When a length does not follow from the configuration.
    pub fn new(config: CrosscoderConfig, parts: Parts) -> Result<Self, SaeError> {
        let joined = SaeConfig {
            d_in: config.parts.len() * config.d_in,
            d_sae: config.d_sae,
            d_out: None,
            dtype: config.dtype.clone(),
            device: "cpu".to_owned(),
            apply_b_dec_to_input: false,
            normalize_activations: "none".to_owned(),
            reshape_activations: "none".to_owned(),
            architecture: CROSSCODER.to_owned(),
            k: None,
            rescale_acts_by_decoder_norm: None,
            metadata: SaeMetadata::default(),
        };
        Ok(Crosscoder { config, joined: Sae::new(joined, parts)? })
    }

    /// Whether a directory holds a crosscoder, as far as its `cfg.json` says.
    pub fn is_at(dir: &Path) -> bool {
        file::json(&dir.join(files::CONFIG)).is_ok_and(|config| config["architecture"] == CROSSCODER)
    }

    /// Reads a crosscoder's directory.
    ///
    /// # Errors
    /// When a file is missing or broken, or the tensors are not what the configuration says.
    pub fn load(dir: &Path) -> Result<Self, SaeError> {
        let path = dir.join(files::CONFIG);
        let config = file::json(&path)?;
        let wrong = |reason: String| SaeError::Config { path: path.clone(), reason };
        let config: CrosscoderConfig = serde_json::from_value(config).map_err(|error| wrong(error.to_string()))?;
        let (m, d, f) = (config.parts.len(), config.d_in, config.d_sae);
        if config.architecture != CROSSCODER {
            return Err(wrong(format!("architecture `{}` is not `{CROSSCODER}`", config.architecture)));
        }
        if m < 2 || d == 0 || f == 0 || is_too_large(m.saturating_mul(d), f) {
            return Err(wrong(format!("{m} parts, d_in {d} and d_sae {f} are out of range")));
        }
        if let Some(part) = config.parts.iter().find(|part| !(part.scale.is_finite() && part.scale > 0.0)) {
            return Err(wrong(format!("the scale of {} is not a positive number", part.hook_name)));
        }
        let path = dir.join(files::WEIGHTS);
        let bytes = file::bytes(&path, elements(m, d, f))?;
        let file = Reader::new(&path, &bytes)?;
        // By itself, so that what was read is gone when the others are.
        let w_enc = transposed_buffer(&file.read(tensors::W_ENC, &[m, d, f])?, m * d, f);
        let parts = Parts {
            w_enc,
            b_enc: file.read(tensors::B_ENC, &[f])?,
            w_dec: file.matrix(tensors::W_DEC, &[f, m, d])?,
            b_dec: file.read(tensors::B_DEC, &[m, d])?,
            w_skip: None,
            activation: Activation::JumpRelu { threshold: file.read(tensors::THRESHOLD, &[f])? },
        };
        drop(bytes);
        Self::new(config, parts)
    }

    /// Writes `cfg.json` and `sae_weights.safetensors` into `dir`, which is made where it is missing. Each file appears
    /// whole, by rename.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, dir: &Path) -> Result<(), SaeError> {
        fs::create_dir_all(dir).map_err(io(dir))?;
        let (m, d, f, parts) = (self.parts(), self.config.d_in, self.config.d_sae, self.joined.parts());
        let w_enc = crate::io::transposed(&parts.w_enc, f, m * d);
        let silent = vec![0f32; f];
        let threshold = match &parts.activation {
            Activation::JumpRelu { threshold } => threshold,
            _ => &silent,
        };
        let views: [(&str, Vec<usize>, &[f32]); 5] = [
            (tensors::W_ENC, vec![m, d, f], &w_enc),
            (tensors::W_DEC, vec![f, m, d], &parts.w_dec),
            (tensors::B_ENC, vec![f], &parts.b_enc),
            (tensors::B_DEC, vec![m, d], &parts.b_dec),
            (tensors::THRESHOLD, vec![f], threshold),
        ];
        write_tensors(&dir.join(files::WEIGHTS), &views)?;
        let path = dir.join(files::CONFIG);
        let wrong = |error: serde_json::Error| SaeError::Config { path: path.clone(), reason: error.to_string() };
        let mut text = serde_json::to_string_pretty(&self.config).map_err(wrong)?;
        text.push('\n');
        write_whole(&path, text.as_bytes())
    }

    /// What `cfg.json` says.
    pub fn config(&self) -> &CrosscoderConfig {
        &self.config
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.config.parts.len()
    }

    /// The dictionary of the parts side by side: it encodes and decodes rows `[n, M d_in]`.
    pub fn joined(&self) -> &Sae {
        &self.joined
    }

    /// What a feature writes into a part, `[d_in]`.
    pub fn decoder_row(&self, feature: usize, part: usize) -> &[f32] {
        let d = self.config.d_in;
        &self.joined.decoder_row(feature)[part * d..(part + 1) * d]
    }

    /// The share of every part in a feature's decoder norms, `[M]`, each 0 to 1; zeros of a feature that writes nothing.
    pub fn shares(&self, feature: usize) -> Vec<f64> {
        let norm = |part: usize| {
            f64::from(self.config.parts[part].scale)
                * dot(self.decoder_row(feature, part), self.decoder_row(feature, part)).sqrt()
        };
        let norms: Vec<f64> = (0..self.parts()).map(norm).collect();
        let total: f64 = norms.iter().sum();
        norms.iter().map(|norm| if total > 0.0 { norm / total } else { 0.0 }).collect()
    }

    /// The cosine of what a feature writes into two parts, -1 to 1; none where it writes nothing into one.
    pub fn cosine(&self, feature: usize, first: usize, second: usize) -> Option<f64> {
        let (a, b) = (self.decoder_row(feature, first), self.decoder_row(feature, second));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        (lengths > 0.0).then(|| dot(a, b) / lengths)
    }

    /// Replaces `codes` by the active features of rows of all parts side by side, `[n, M d_in]`.
    ///
    /// # Errors
    /// When the slice is not a number of whole rows.
    pub fn encode(&self, rows: &[f32], codes: &mut Codes) -> Result<(), SaeError> {
        self.joined.encode(rows, codes)
    }

    /// Writes the reconstructions of all rows of `codes`, all parts side by side, to `out`, `[n_rows, M d_in]`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn decode(&self, codes: &Codes, out: &mut [f32]) -> Result<(), SaeError> {
        self.joined.decode(codes, out)
    }
}

/// Two matrices and the biases, as far as the sizes say.
fn elements(m: usize, d: usize, f: usize) -> Elements {
    let (width, f) = ((m as u64) * (d as u64), f as u64);
    Elements::with_transposed((2 * width + 2) * f + width, width * f)
}

/// A product summed in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::buffer::Buffer;
    use untangle_schema::CrosscoderPart;

    /// Two parts of width 2; feature 0 lives in the first, feature 1 in both alike but for the scale of the second.
    fn two_parts() -> Crosscoder {
        let part = |scale| CrosscoderPart {
            model_name: Some("m".to_owned()),
            model_weights_sha256: None,
            hook_name: "blocks.0.hook_resid_post".to_owned(),
            scale,
        };
        let config = CrosscoderConfig {
            architecture: CROSSCODER.to_owned(),
            d_in: 2,
            d_sae: 2,
            dtype: "float32".to_owned(),
            parts: vec![part(1.0), part(2.0)],
            metadata: Default::default(),
        };
        let parts = Parts {
            w_enc: Buffer::copy_of(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]),
            b_enc: vec![0.5, -1.0],
            w_dec: Buffer::copy_of(&[0.0, 1.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.4]),
            b_dec: vec![0.0, 0.0, 0.0, 10.0],
            w_skip: None,
            activation: Activation::JumpRelu { threshold: vec![0.0, 2.0] },
        };
        Crosscoder::new(config, parts).expect("fits")
    }

    #[test]
    fn parts_are_read_together_and_written_apart() {
        let crosscoder = two_parts();
        let (mut codes, mut out) = (Codes::new(), vec![0f32; 8]);
        // p = (1 + 0.5, 2 + 3 - 1) and (-0.5, 1 + 2 - 1 = 2, which does not exceed 2).
        crosscoder.encode(&[1.0, 2.0, 9.0, 3.0, -1.0, 1.0, 0.0, 2.0], &mut codes).expect("fits");
        crosscoder.decode(&codes, &mut out).expect("fits");
        assert_eq!(out, [4.0f32 * 0.8, 1.5, 0.0, 4.0 * 0.4 + 10.0, 0.0, 0.0, 0.0, 10.0]);
    }

    #[test]
    fn shares_are_of_equally_large_parts() {
        let crosscoder = two_parts();
        assert_eq!(crosscoder.shares(0), [1.0, 0.0]);
        let shares = crosscoder.shares(1);
        assert!((shares[0] - 0.5).abs() < 1e-7 && (shares[1] - 0.5).abs() < 1e-7, "{shares:?}");
        assert_eq!((crosscoder.cosine(0, 0, 1), crosscoder.cosine(1, 0, 1)), (None, Some(0.0)));
    }

    #[test]
    fn it_survives_saving_and_loading_and_no_autoencoder_is_made_of_it() {
        let (dir, crosscoder) = (tempfile::tempdir().expect("dir"), two_parts());
        crosscoder.save(dir.path()).expect("saves");
        assert!(Crosscoder::is_at(dir.path()));
        let again = Crosscoder::load(dir.path()).expect("loads");
        assert_eq!(again.config(), crosscoder.config());
        let (a, b) = (again.joined().parts(), crosscoder.joined().parts());
        assert_eq!((&a.w_enc[..], &a.w_dec[..], &a.b_dec, &a.b_enc), (&b.w_enc[..], &b.w_dec[..], &b.b_dec, &b.b_enc));
        assert_eq!(a.activation, b.activation);
        let message = Sae::load(dir.path()).expect_err("not an autoencoder").to_string();
        assert!(message.contains("is a crosscoder") && message.contains("inspect and evaluate"), "{message}");
        let path = dir.path().join(files::CONFIG);
        let text = fs::read_to_string(&path).expect("read").replace("\"d_in\": 2", "\"d_in\": 3");
        fs::write(&path, text).expect("written");
        let message = Crosscoder::load(dir.path()).expect_err("3 is not 2").to_string();
        assert!(message.contains("`W_enc` has shape [2, 2, 2] where [2, 3, 2] is expected"), "{message}");
    }
}
