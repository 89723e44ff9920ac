//! Dictionaries on disk: `cfg.json` and `sae_weights.safetensors`, as SAELens reads and writes them.

use crate::error::SaeError;
use crate::kernels::buffer::Buffer;
use crate::sae::{Activation, Parts, Sae};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use untangle_schema::sae::{files, tensors};
use untangle_schema::{CROSSCODER, SaeConfig};

/// The architectures that are understood, as SAELens calls them: those that reconstruct what they read, and others.
const AUTOENCODERS: [&str; 4] = ["standard", "topk", "jumprelu", "gated"];
const TRANSCODERS: [&str; 4] = ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"];

/// Largest `d_in * d_sae` that is believed: 2^36 elements, 256 GiB in f32.
const MAX_ELEMENTS: usize = 1 << 36;

impl Sae {
    /// Reads a dictionary's directory. SAELens' architectures `standard`, `topk`, `jumprelu`, `gated` and its four transcoders are
    /// understood; others, and settings that would change the numbers, are refused by name rather than guessed at.
    ///
    /// # Errors
    /// When a file is missing, broken, or asks for something that is not supported.
    pub fn load(dir: &Path) -> Result<Self, SaeError> {
        let config_path = dir.join(files::CONFIG);
        let text = fs::read_to_string(&config_path).map_err(io(&config_path))?;
        let wrong = |e: serde_json::Error| SaeError::Config { path: config_path.clone(), reason: e.to_string() };
        let value: Value = serde_json::from_str(&text).map_err(wrong)?;
        refuse_crosscoder(&value, &config_path)?;
        refuse_older_form(&value, &config_path)?;
        let mut config: SaeConfig = serde_json::from_value(value).map_err(wrong)?;
        check_supported(&config, &config_path)?;
        let path = dir.join(files::WEIGHTS);
        let bytes = fs::read(&path).map_err(io(&path))?;
        let mut parts = Reader::new(&path, &bytes)?.parts(&config)?;
        if config.rescale_acts_by_decoder_norm == Some(true) {
            fold_decoder_norms(&mut parts, config.d_in);
            config.rescale_acts_by_decoder_norm = Some(false);
        }
        Sae::new(config, parts)
    }

    /// Writes `cfg.json` and `sae_weights.safetensors` into `dir`, which is made where it is missing. Each file appears whole,
    /// by rename.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, dir: &Path) -> Result<(), SaeError> {
        fs::create_dir_all(dir).map_err(io(dir))?;
        let (d, f, d_out) = (self.d_in(), self.d_sae(), self.d_out());
        let parts = self.parts();
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
        let config_path = dir.join(files::CONFIG);
        let mut text = serde_json::to_string_pretty(self.config())
            .map_err(|e| SaeError::Config { path: config_path.clone(), reason: e.to_string() })?;
        text.push('\n');
        write_whole(&config_path, text.as_bytes())
    }
}

/// The bias of the pre-activations: gated dictionaries have one for the gate.
fn bias_name(activation: &Activation) -> &'static str {
    if matches!(activation, Activation::Gated { .. }) { tensors::B_GATE } else { tensors::B_ENC }
}

/// Writes a file under a temporary name, syncs it and renames it, so that a reader never sees half of it; when any of this
/// fails, nothing lies under the final name that was not there before.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SaeError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        // Anew, so that nothing is written through a link or a second name that lies there.
        let _ = fs::remove_file(&temporary);
        let mut file = File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        // What is half written only takes space; that it cannot be removed is the lesser news.
        let _ = fs::remove_file(&temporary);
        SaeError::Io { path: path.to_owned(), source }
    })
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SaeError + '_ {
    move |source| SaeError::Io { path: path.to_owned(), source }
}

/// Before version 6, SAELens kept the hook and the activation function at the top level. Read as version 6 such a file would
/// lose them, and a top-k dictionary would become a ReLU.
fn refuse_older_form(config: &Value, path: &Path) -> Result<(), SaeError> {
    const OLDER: [&str; 6] = [
        "activation_fn",
        "activation_fn_str",
        "activation_fn_kwargs",
        "hook_point",
        "hook_name",
        "finetuning_scaling_factor",
    ];
    match OLDER.into_iter().find(|key| config.get(key).is_some()) {
        None => Ok(()),
        Some(key) => Err(SaeError::Config {
            path: path.to_owned(),
            reason: format!(
                "`{key}` belongs to SAELens' form of before version 6; load and save the dictionary with SAELens 6"
            ),
        }),
    }
}

/// A crosscoder has features of several activations, and no verb that takes those of one can take it.
fn refuse_crosscoder(config: &Value, path: &Path) -> Result<(), SaeError> {
    match config["architecture"] == CROSSCODER {
        false => Ok(()),
        true => Err(SaeError::Config {
            path: path.to_owned(),
            reason:
                "is a crosscoder, whose features belong to several activations at once; inspect and evaluate take it"
                    .to_owned(),
        }),
    }
}

fn check_supported(config: &SaeConfig, path: &Path) -> Result<(), SaeError> {
    let refuse = |reason: String| Err(SaeError::Config { path: path.to_owned(), reason });
    let is_transcoder = TRANSCODERS.contains(&config.architecture.as_str());
    if !is_transcoder && !AUTOENCODERS.contains(&config.architecture.as_str()) {
        let (known, found) = ([&AUTOENCODERS[..], &TRANSCODERS].concat().join(", "), &config.architecture);
        return refuse(format!("architecture `{found}` is not supported; {known} are"));
    }
    let out_of_range = |d: usize| d == 0 || is_too_large(d, config.d_sae.max(config.d_in));
    if config.d_sae == 0 || out_of_range(config.d_in) || config.d_out.is_some_and(out_of_range) {
        return refuse(format!("d_in {} and d_sae {} are out of range", config.d_in, config.d_sae));
    }
    if is_transcoder != config.d_out.is_some() {
        let problem = if is_transcoder { "needs `d_out`" } else { "has no `d_out`" };
        return refuse(format!("architecture `{}` {problem}", config.architecture));
    }
    if is_transcoder && config.apply_b_dec_to_input {
        return refuse(
            "a transcoder needs `apply_b_dec_to_input` false: its b_dec belongs to what it predicts".to_owned(),
        );
    }
    // `expected_average_only_in` is folded into the weights by SAELens when it saves, and the identity afterwards.
    if !["none", "expected_average_only_in"].contains(&config.normalize_activations.as_str()) {
        let found = &config.normalize_activations;
        return refuse(format!(
            "normalize_activations `{found}` works row by row and is not supported; only `none` is"
        ));
    }
    match (config.architecture.as_str(), config.k) {
        ("topk", None) => refuse("architecture `topk` needs `k`".to_owned()),
        ("topk", Some(k)) if k == 0 || k > config.d_sae => {
            refuse(format!("k = {k} is not between 1 and d_sae = {}", config.d_sae))
        }
        _ => Ok(()),
    }
}

/// The tensors of a file.
pub(crate) struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, SaeError> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| SaeError::Weights { path: path.to_owned(), reason: e.to_string() })?;
        Ok(Reader { path, tensors })
    }

    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SaeError> {
        let wrong =
            |problem: String| SaeError::Tensor { path: PathBuf::from(self.path), tensor: name.to_owned(), problem };
        let tensor = self.tensors.tensor(name).map_err(|_| wrong("is missing".to_owned()))?;
        if tensor.shape() != shape {
            return Err(wrong(format!("has shape {:?} where {shape:?} is expected", tensor.shape())));
        }
        let bytes = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(wrong(format!("has type {other:?}; F32, F64, F16 and BF16 are supported"))),
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(wrong(format!("holds a value that is not finite (element {at})"))),
            None => Ok(values),
        }
    }

    fn parts(&self, config: &SaeConfig) -> Result<Parts, SaeError> {
        let (d, f, d_out) = (config.d_in, config.d_sae, config.d_out.unwrap_or(config.d_in));
        let w_enc = Buffer::copy_of(&transposed(&self.read(tensors::W_ENC, &[d, f])?, d, f));
        let w_dec = Buffer::copy_of(&self.read(tensors::W_DEC, &[f, d_out])?);
        let b_dec = self.read(tensors::B_DEC, &[d_out])?;
        let activation = match (config.architecture.as_str(), config.k) {
            ("topk", Some(k)) => Activation::TopK { k },
            ("jumprelu" | "jumprelu_transcoder" | "jumprelu_skip_transcoder", _) => {
                Activation::JumpRelu { threshold: self.read(tensors::THRESHOLD, &[f])? }
            }
            ("gated", _) => {
                Activation::Gated { r_mag: self.read(tensors::R_MAG, &[f])?, b_mag: self.read(tensors::B_MAG, &[f])? }
            }
            _ => Activation::Relu,
        };
        let b_enc = self.read(bias_name(&activation), &[f])?;
        let w_skip = match config.architecture.as_str() {
            "skip_transcoder" | "jumprelu_skip_transcoder" => Some(self.read(tensors::W_SKIP, &[d_out, d])?),
            _ => None,
        };
        Ok(Parts { w_enc, b_enc, w_dec, b_dec, w_skip: w_skip.map(|w| Buffer::copy_of(&w)), activation })
    }
}

/// Makes ranking and activations "times decoder norm" a property of the weights: with n_i = |d_i|, `(n_i w_i) · x` and `d_i / n_i`
/// give the same codes and the same reconstruction as SAELens' `rescale_acts_by_decoder_norm`.
fn fold_decoder_norms(parts: &mut Parts, d: usize) {
    let rows = parts.w_enc.chunks_exact_mut(d).zip(parts.w_dec.chunks_exact_mut(d));
    for ((w_enc, w_dec), b_enc) in rows.zip(&mut parts.b_enc) {
        let norm = w_dec.iter().map(|v| v * v).sum::<f32>().sqrt();
        if norm > 0.0 {
            w_enc.iter_mut().for_each(|w| *w *= norm);
            w_dec.iter_mut().for_each(|w| *w /= norm);
            *b_enc *= norm;
        }
    }
}

/// The transpose of a row-major `[rows, columns]` matrix, in blocks that stay in cache.
pub(crate) fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0f32; matrix.len()];
    for r0 in (0..rows).step_by(BLOCK) {
        for c0 in (0..columns).step_by(BLOCK) {
            for r in r0..rows.min(r0 + BLOCK) {
                for c in c0..columns.min(c0 + BLOCK) {
                    out[c * rows + r] = matrix[r * columns + c];
                }
            }
        }
    }
    out
}

/// Whether a matrix of this size is not to be believed.
pub(crate) fn is_too_large(rows: usize, columns: usize) -> bool {
    rows.saturating_mul(columns) > MAX_ELEMENTS
}

/// Writes tensors in f32, given with their shapes, to `path`, whole.
pub(crate) fn write_tensors(path: &Path, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<(), SaeError> {
    let wrong = |e: safetensors::SafeTensorError| SaeError::Weights { path: path.to_owned(), reason: e.to_string() };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| le_bytes(values)).collect();
    let views = tensors.iter().zip(&bytes);
    let views = views
        .map(|((name, shape, _), bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    write_whole(path, &safetensors::serialize(views, None).map_err(wrong)?)
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
