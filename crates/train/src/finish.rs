//! From a training state to the dictionary on disk: fold the data's scale, write SAELens' form, say how it came about.

use crate::arch::gated;
use crate::architecture::Architecture;
use crate::calibrate::{Calibration, calibrate};
use crate::config::TrainPlan;
use crate::error::TrainError;
use crate::init::{DataScale, TargetScale};
use crate::log::Record;
use crate::place::Place;
use crate::run::{Finished, Job, Run, Trained, sample};
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::encode::EncoderWeights;
use untangle_sae::{Activation, Parts, Sae};
use untangle_schema::sae::files;
use untangle_schema::{CaptureManifest, Event, Observer, SaeConfig, SaeMetadata, TOOL_VERSION};
use untangle_store::durable;

/// The version of SAELens whose form is written.
const SAELENS_FORM: &str = "6.0.0";

/// Where the training rows came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataProvenance {
    /// File names of the store; none where the rows came straight from a model.
    pub stores: Vec<String>,
    /// Hash over manifests and row counts.
    pub content: String,
    /// The column that was trained on: a hook point, or a data set's name.
    pub column: String,
    /// The column that a transcoder predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_out: Option<String>,
    /// What `train` did not read and `evaluate` uses, as the store describes it.
    pub held_out: Value,
    /// What neither training nor the judge reads: rows for thresholds.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub calibration: Value,
    /// Whether rows of special tokens were trained on.
    pub keep_special: bool,
    /// Whether rows whose norm is an outlier (attention sinks) were trained on.
    #[serde(default)]
    pub keep_outliers: bool,
    /// Seed of the order of rows.
    pub order_seed: u64,
    /// Memory that rows were shuffled in; decides the order where the store is larger.
    pub shuffle_bytes: u64,
    /// Training rows of one epoch.
    pub rows_per_epoch: u64,
    /// Manifest of the capture, where the rows came from one, or of the one that would give the same rows.
    pub capture: Option<CaptureManifest>,
}

/// `training.json`: everything that decided the result, and what came of it. No clock, host or path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Version of the tool.
    pub tool_version: String,
    /// The plan.
    pub plan: TrainPlan,
    /// The data.
    pub data: DataProvenance,
    /// What rows were multiplied by in training; already folded into the weights.
    pub scale: f32,
    /// What the rows that a transcoder predicts were multiplied by; folded as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_out: Option<f32>,
    /// The last step's figures, without the clock.
    pub last_step: Value,
    /// Active features per row on the calibration rows, where thresholds were calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated_l0: Option<f64>,
}

/// The dictionary in units of the raw activations. With rows `z = s x` in training, `f' = f / s` decodes to
/// `x_hat = f' W_dec + b_dec / s`, and `f' = sigma(W_enc (x - b_dec / s) + b_enc / s)`: biases and thresholds are divided by
/// `s`, the matrices stay, decoder rows stay unit. `shift` is what calibration added to the thresholds.
///
/// A transcoder, whose `target` is multiplied by `t` and whose input is centred by `c`, has its features in units of the
/// target: `f' = f / t = sigma((s/t) W_enc x + (b_enc - W_enc c) / t)` and `y_hat = f' W_dec + (s/t) W_skip x + (b_dec -
/// W_skip c) / t`.
///
/// # Errors
/// When the parts do not fit together, which would be a defect of this crate.
pub fn folded(
    state: &TrainState,
    scale: &DataScale,
    target: Option<TargetScale>,
    shift: f32,
    metadata: SaeMetadata,
) -> Result<Sae, TrainError> {
    let out = target.map_or(scale.factor, |target| target.factor);
    let divided = |values: &[f32]| values.iter().map(|v| v / out).collect::<Vec<f32>>();
    let (name, activation) = match state.architecture {
        Architecture::TopK { k } => ("topk", Activation::TopK { k }),
        Architecture::BatchTopK { .. } | Architecture::Matryoshka { .. } => {
            ("jumprelu", Activation::JumpRelu { threshold: divided(&vec![shift; state.d_sae]) })
        }
        Architecture::Transcoder { .. } => {
            ("jumprelu_transcoder", Activation::JumpRelu { threshold: divided(&vec![shift; state.d_sae]) })
        }
        Architecture::SkipTranscoder { .. } => {
            ("jumprelu_skip_transcoder", Activation::JumpRelu { threshold: divided(&vec![shift; state.d_sae]) })
        }
        Architecture::JumpRelu { .. } => {
            let threshold: Vec<f32> = state.extras[0].value.iter().map(|theta| (theta + shift).max(0.0)).collect();
            ("jumprelu", Activation::JumpRelu { threshold: divided(&threshold) })
        }
        Architecture::Relu { .. } | Architecture::PAnneal { .. } => ("standard", Activation::Relu),
        Architecture::Gated { .. } => {
            let r_mag = state.extras[gated::R_MAG].value.to_vec();
            ("gated", Activation::Gated { r_mag, b_mag: divided(&state.extras[gated::B_MAG].value) })
        }
    };
    let k = if let Activation::TopK { k } = activation { Some(k) } else { None };
    let ratio = scale.factor / out;
    let (b_enc, b_dec) = match &state.input_centre {
        Some(centre) => (
            without_centre(&state.b_enc.value, Some(&state.w_enc.value), centre),
            without_centre(&state.b_dec.value, state.w_skip.as_ref().map(|w| &w.value[..]), centre),
        ),
        None => (state.b_enc.value.to_vec(), state.b_dec.value.to_vec()),
    };
    let parts = Parts {
        w_enc: multiplied(&state.w_enc.value, ratio),
        b_enc: divided(&b_enc),
        w_dec: state.w_dec.value.clone(),
        b_dec: divided(&b_dec),
        w_skip: state.w_skip.as_ref().map(|w_skip| multiplied(&w_skip.value, ratio)),
        activation,
    };
    let config = SaeConfig {
        d_in: state.d_in,
        d_sae: state.d_sae,
        d_out: target.map(|_| state.d_out),
        dtype: "float32".to_owned(),
        device: "cpu".to_owned(),
        apply_b_dec_to_input: target.is_none(),
        normalize_activations: "none".to_owned(),
        reshape_activations: "none".to_owned(),
        architecture: name.to_owned(),
        k,
        rescale_acts_by_decoder_norm: k.map(|_| false),
        metadata,
    };
    Ok(Sae::new(config, parts)?)
}

/// `b - W c`, summed in f64; `b` where there is no `W`.
fn without_centre(b: &[f32], w: Option<&[f32]>, centre: &[f32]) -> Vec<f32> {
    let Some(w) = w else { return b.to_vec() };
    let product = |row: &[f32]| row.iter().zip(centre).map(|(w, c)| f64::from(*w) * f64::from(*c)).sum::<f64>();
    b.iter().zip(w.chunks_exact(centre.len())).map(|(b, row)| (f64::from(*b) - product(row)) as f32).collect()
}

fn multiplied(matrix: &Buffer<f32>, factor: f32) -> Buffer<f32> {
    let mut matrix = matrix.clone();
    if factor != 1.0 {
        matrix.iter_mut().for_each(|w| *w *= factor);
    }
    matrix
}

/// What `cfg.json` says about where the dictionary belongs.
pub fn metadata(data: &DataProvenance, architecture: &Architecture) -> SaeMetadata {
    let mut other = Map::new();
    other.insert("untangle_version".to_owned(), TOOL_VERSION.into());
    // Without a version of at least 6, SAELens takes the file for an older form and drops all metadata.
    other.insert("sae_lens_version".to_owned(), SAELENS_FORM.into());
    // What it was trained as, where it is saved as something else.
    other.insert("training_architecture".to_owned(), architecture.name().into());
    let capture = data.capture.as_ref();
    if let Some(capture) = capture {
        other.insert("model_weights_sha256".to_owned(), capture.model.weights_sha256.clone().into());
        other.insert("model_class_name".to_owned(), "HookedTransformer".into());
    }
    SaeMetadata {
        model_name: capture.map(|c| c.model.name.clone()),
        hook_name: Some(data.column.clone()),
        hook_name_out: data.column_out.clone(),
        context_size: capture.map(|c| c.context),
        prepend_bos: capture.map(|c| c.bos_token.is_some()),
        other,
    }
}

/// Calibrates, folds and writes every dictionary into the output that is being prepared.
pub(crate) fn write_all(
    job: &mut Job<'_>,
    trained: Vec<Trained>,
    last: Vec<Record>,
    place: &Place,
    observer: &dyn Observer,
) -> Result<Vec<Finished>, TrainError> {
    let mut finished = Vec::with_capacity(job.runs.len());
    let runs = job.runs;
    for ((run, trained), last) in runs.iter().zip(trained).zip(last) {
        let calibration = match run.plan.architecture.target_l0().filter(|_| run.plan.architecture.is_calibrated()) {
            Some(l0) => Some(thresholds(run, &trained, &calibration_rows(job, run, observer)?, l0)?),
            None => None,
        };
        let shift = calibration.map_or(0.0, |c| c.shift);
        let metadata = metadata(&run.data, &run.plan.architecture);
        let sae = folded(&trained.state, &trained.scale, trained.target, shift, metadata)?;
        let calibrated_l0 = calibration.map(|c| c.l0);
        write(&sae, run, &trained, &last, calibrated_l0, &place.prepare_output(&run.name)?)?;
        finished.push(Finished { name: run.name.clone(), config: sae.config().clone(), last, calibrated_l0 });
    }
    Ok(finished)
}

/// Rows for thresholds: those set aside, else the first of training.
fn calibration_rows(job: &mut Job<'_>, run: &Run, observer: &dyn Observer) -> Result<Vec<f32>, TrainError> {
    /// Rows of training that are calibrated on where none were set aside.
    const FROM_TRAINING: usize = 1 << 14;
    let rows = (job.calibration)(run.column)?;
    if !rows.is_empty() {
        return Ok(rows);
    }
    observer.event(Event::Warning("no rows were set aside for thresholds; they are calibrated on rows of training"));
    Ok(sample(job.source, FROM_TRAINING)?.swap_remove(run.column))
}

/// The calibration of a dictionary on raw rows.
fn thresholds(run: &Run, trained: &Trained, rows: &[f32], l0: f64) -> Result<Calibration, TrainError> {
    let (state, factor) = (&trained.state, trained.scale.factor);
    let centre = state.centre().iter().cycle();
    let centred: Vec<f32> = rows.iter().zip(centre).map(|(x, c)| factor * x - c).collect();
    debug_assert_eq!(state.d_in, run.plan.d_in);
    let weights = state.encoder();
    let Architecture::JumpRelu { .. } = state.architecture else {
        return calibrate(&weights, &centred, l0, state.carried.threshold as f32);
    };
    // Measured from below the lowest threshold, so that the shift that is searched for is positive.
    let theta = &state.extras[0].value;
    let highest = theta.iter().copied().fold(0f32, f32::max);
    let shifted: Vec<f32> = state.b_enc.value.iter().zip(theta.iter()).map(|(b, theta)| b - theta + highest).collect();
    let found = calibrate(&EncoderWeights { b_enc: &shifted, ..weights }, &centred, l0, 2.0 * highest)?;
    Ok(Calibration { shift: found.shift - highest, ..found })
}

/// Writes the finished dictionary's files into `dir`.
fn write(
    sae: &Sae,
    run: &Run,
    trained: &Trained,
    last: &Record,
    calibrated_l0: Option<f64>,
    dir: &Path,
) -> Result<(), TrainError> {
    sae.save(dir)?;
    let mut last_step = serde_json::to_value(last).unwrap_or_default();
    if let Some(fields) = last_step.as_object_mut() {
        fields.remove("seconds");
    }
    let record = TrainingRecord {
        tool_version: TOOL_VERSION.to_owned(),
        plan: run.plan.clone(),
        data: run.data.clone(),
        scale: trained.scale.factor,
        scale_out: trained.target.map(|target| target.factor),
        last_step,
        calibrated_l0,
    };
    let path = dir.join(files::TRAINING);
    let mut text =
        serde_json::to_string_pretty(&record).map_err(|e| TrainError::Io { path: path.clone(), source: e.into() })?;
    text.push('\n');
    Ok(durable::replace(&path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adam::Optimiser;
    use crate::init::initial;
    use untangle_sae::{Codes, Precision};

    #[test]
    fn folding_the_scale_changes_units_and_nothing_else() {
        let mut state = initial(6, 12, &Architecture::TopK { k: 3 }, Optimiser::Adam, 1, &[0.3; 6], Precision::F32);
        state.b_enc.value.iter_mut().zip([0.2f32, -0.1, 0.05].into_iter().cycle()).for_each(|(b, v)| *b = v);
        // A power of two, so that the two ways round alike.
        let factor = 0.25;
        let dictionary = |factor| {
            let scale = DataScale { factor, mean: vec![0.0; 6], spread: vec![1.0; 6], variance: 1.0 };
            folded(&state, &scale, None, 0.0, SaeMetadata::default()).expect("the parts fit")
        };
        let x: Vec<f32> = (0..60).map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0).collect();
        let z: Vec<f32> = x.iter().map(|x| factor * x).collect();
        let run = |sae: Sae, rows: &[f32]| {
            let (mut codes, mut out) = (Codes::new(), vec![0f32; rows.len()]);
            sae.encode(rows, &mut codes).expect("rows fit");
            sae.decode(&codes, &mut out).expect("rows fit");
            (codes, out)
        };
        let ((raw, x_hat), (normalised, z_hat)) = (run(dictionary(factor), &x), run(dictionary(1.0), &z));
        assert_eq!(raw.features(), normalised.features());
        assert!(raw.nnz() > 20);
        assert!(raw.activations().iter().zip(normalised.activations()).all(|(raw, z)| raw * factor == *z));
        assert!(x_hat.iter().zip(&z_hat).all(|(x, z)| x * factor == *z));
    }
}
