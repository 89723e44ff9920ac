//! From a training state to the dictionary on disk: fold the data's scale, write SAELens' form, say how it came about.

use crate::arch::gated;
use crate::architecture::Architecture;
use crate::average;
use crate::calibrate::{Calibration, calibrate};
use crate::config::TrainPlan;
use crate::crosscoder;
use crate::error::TrainError;
use crate::init::{DataScale, TargetScale};
use crate::log::{self, Record};
use crate::place::Place;
use crate::report;
use crate::run::{Finished, Job, Run, Trained, sample};
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::encode::EncoderWeights;
use untangle_sae::{Activation, Crosscoder, Parts, Sae};
use untangle_schema::sae::files;
use untangle_schema::{CaptureManifest, Event, ModelIdentity, Observer, SaeConfig, SaeMetadata, TOOL_VERSION};
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
    /// What a crosscoder reads, in order; empty of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartOrigin>,
    /// Where stores were read side by side, rows without a pair: of the first store, and of each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpaired: Vec<[u64; 2]>,
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

/// Where one of the activations comes from that a crosscoder reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartOrigin {
    /// The column: a hook point, or a data set's name.
    pub column: String,
    /// The model, where the rows were captured.
    pub model: Option<ModelIdentity>,
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
    let (name, activation) = activation_of(state, out, shift);
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

/// SAELens' name of what was trained, and its non-linearity in units of rows that were multiplied by `factor`. A crosscoder
/// has a form of its own and does not come here.
fn activation_of(state: &TrainState, factor: f32, shift: f32) -> (&'static str, Activation) {
    let divided = |values: &[f32]| values.iter().map(|v| v / factor).collect::<Vec<f32>>();
    let jump_relu = |threshold: Vec<f32>| Activation::JumpRelu { threshold: divided(&threshold) };
    let one_for_all = || jump_relu(vec![shift; state.d_sae]);
    match state.architecture {
        Architecture::TopK { k } => ("topk", Activation::TopK { k }),
        Architecture::BatchTopK { .. } | Architecture::Matryoshka { .. } => ("jumprelu", one_for_all()),
        Architecture::Transcoder { .. } => ("jumprelu_transcoder", one_for_all()),
        Architecture::SkipTranscoder { .. } => ("jumprelu_skip_transcoder", one_for_all()),
        Architecture::JumpRelu { .. } => {
            let thresholds = state.extras[0].value.iter().map(|theta| (theta + shift).max(0.0));
            ("jumprelu", jump_relu(thresholds.collect()))
        }
        Architecture::Gated { .. } => {
            let r_mag = state.extras[gated::R_MAG].value.to_vec();
            ("gated", Activation::Gated { r_mag, b_mag: divided(&state.extras[gated::B_MAG].value) })
        }
        Architecture::Relu { .. }
        | Architecture::PAnneal { .. }
        | Architecture::Crosscoder { .. }
        | Architecture::CrosscoderL1 { .. } => ("standard", Activation::Relu),
    }
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
    let (runs, mut trained, mut members) = (job.runs, trained, Vec::new());
    trained.iter_mut().for_each(|trained| trained.state.drop_moments());
    for ((run, mut trained), last) in runs.iter().zip(trained).zip(last) {
        if let Some(decay) = run.plan.ema {
            average::take(&mut trained.state, decay, &trained.scale.spread);
        }
        let calibration = match run.plan.architecture.target_l0().filter(|_| run.plan.architecture.is_calibrated()) {
            Some(l0) => Some(thresholds(run, &trained, &calibration_rows(job, run, observer)?, l0)?),
            None => None,
        };
        let shift = calibration.map_or(0.0, |c| c.shift);
        let dictionary = Dictionary::of(run, &trained, shift)?;
        let scales = (trained.scale.factor, trained.target.map(|target| target.factor));
        drop(trained);
        let calibrated_l0 = calibration.map(|c| c.l0);
        let folder = place.prepare_output(&run.name)?;
        let config = dictionary.save(&folder)?;
        write_record(run, scales, &last, calibrated_l0, &folder)?;
        if job.shown.report {
            let member = member(job, run, dictionary.sae(), &place.log(&run.name))?;
            write_text(&folder.join(files::REPORT), &report::single(&member))?;
            members.push(member);
        }
        finished.push(Finished { name: run.name.clone(), config, last, calibrated_l0 });
    }
    if members.iter().any(|member| !member.name.is_empty()) {
        write_text(&place.prepared(files::REPORT), &report::grid(&members))?;
    }
    Ok(finished)
}

/// A finished dictionary.
pub(crate) enum Dictionary {
    Sae(Sae),
    Crosscoder(Crosscoder),
}

impl Dictionary {
    /// What was trained, in units of the raw activations; `shift` is what calibration added to the thresholds.
    pub(crate) fn of(run: &Run, trained: &Trained, shift: f32) -> Result<Self, TrainError> {
        let Trained { state, scale, target } = trained;
        if run.plan.architecture.parts() > 1 {
            return crosscoder::folded(state, scale, shift, &run.data).map(Dictionary::Crosscoder);
        }
        folded(state, scale, *target, shift, metadata(&run.data, &run.plan.architecture)).map(Dictionary::Sae)
    }

    /// The dictionary, of a crosscoder that of its parts side by side.
    pub(crate) fn sae(&self) -> &Sae {
        match self {
            Dictionary::Sae(sae) => sae,
            Dictionary::Crosscoder(crosscoder) => crosscoder.joined(),
        }
    }

    /// Writes it in its form; returns its `cfg.json`.
    fn save(&self, dir: &Path) -> Result<Value, TrainError> {
        let config = match self {
            Dictionary::Sae(sae) => {
                sae.save(dir)?;
                serde_json::to_value(sae.config())
            }
            Dictionary::Crosscoder(crosscoder) => {
                crosscoder.save(dir)?;
                serde_json::to_value(crosscoder.config())
            }
        };
        Ok(config.unwrap_or_default())
    }
}

/// Measures a finished dictionary for its report.
fn member(job: &mut Job<'_>, run: &Run, sae: &Sae, log: &Path) -> Result<report::Member, TrainError> {
    let columns: Vec<usize> = run.columns().chain(run.target).collect();
    let mut measured = report::Measured::new(sae);
    if let Some(held_out) = job.shown.held_out {
        let mut failed = None;
        held_out(&columns, &mut |rows| {
            failed = failed.take().or_else(|| measure(&mut measured, run, rows.to_vec()).err());
        })?;
        failed.map_or(Ok(()), Err)?;
    }
    let of_training = measured.rows() == 0;
    if of_training {
        let sampled = sample(job.source, FROM_TRAINING)?;
        measure(&mut measured, run, columns.iter().map(|column| sampled[*column].clone()).collect())?;
    }
    Ok(report::Member {
        name: run.name.clone(),
        plan: run.plan.clone(),
        data: run.data.clone(),
        records: log::read(log),
        figures: measured.finish(of_training),
    })
}

/// Adds rows of a run's columns, and of its target behind them where it has one.
fn measure(measured: &mut report::Measured<'_>, run: &Run, mut rows: Vec<Vec<f32>>) -> Result<(), TrainError> {
    let target = run.target.and_then(|_| rows.pop());
    measured.add(&side_by_side(rows, run.part_width()), target.as_deref())
}

fn write_text(path: &Path, text: &str) -> Result<(), TrainError> {
    Ok(durable::replace(path, text.as_bytes())?)
}

/// Rows of training that stand in where none were set aside.
pub const FROM_TRAINING: usize = 1 << 14;

/// Rows for thresholds, all parts side by side: those set aside, else the first of training.
fn calibration_rows(job: &mut Job<'_>, run: &Run, observer: &dyn Observer) -> Result<Vec<f32>, TrainError> {
    let columns = run.columns().collect::<Vec<_>>();
    let rows = (job.calibration)(&columns)?;
    if rows.first().is_some_and(|rows| !rows.is_empty()) {
        return Ok(side_by_side(rows, run.part_width()));
    }
    observer.event(Event::Warning("no rows were set aside for thresholds; they are calibrated on rows of training"));
    let mut sampled = sample(job.source, FROM_TRAINING)?;
    Ok(side_by_side(columns.iter().map(|column| std::mem::take(&mut sampled[*column])).collect(), run.part_width()))
}

/// Rows of several parts, each of this width, as rows of one.
pub(crate) fn side_by_side(mut parts: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let n = parts.first().map_or(0, |rows| rows.len() / width);
    (0..n).flat_map(|row| parts.iter().flat_map(move |rows| &rows[row * width..(row + 1) * width])).copied().collect()
}

/// The calibration of a dictionary on raw rows.
pub(crate) fn thresholds(run: &Run, trained: &Trained, rows: &[f32], l0: f64) -> Result<Calibration, TrainError> {
    let (state, width) = (&trained.state, run.part_width());
    let factors: Vec<f32> = trained.scale.factors().flat_map(|factor| vec![factor; width]).collect();
    let units = factors.iter().zip(state.centre()).cycle();
    let centred: Vec<f32> = rows.iter().zip(units).map(|(x, (factor, c))| factor * x - c).collect();
    debug_assert_eq!(state.d_in, run.plan.d_in);
    let weights = state.encoder();
    let Architecture::JumpRelu { .. } = state.architecture else {
        return calibrate(&weights, &state.norm_sums, &centred, l0, state.carried.threshold as f32);
    };
    // Measured from below the lowest threshold, so that the shift that is searched for is positive.
    let theta = &state.extras[0].value;
    let highest = theta.iter().copied().fold(0f32, f32::max);
    let shifted: Vec<f32> = state.b_enc.value.iter().zip(theta.iter()).map(|(b, theta)| b - theta + highest).collect();
    let found = calibrate(&EncoderWeights { b_enc: &shifted, ..weights }, &[], &centred, l0, 2.0 * highest)?;
    Ok(Calibration { shift: found.shift - highest, ..found })
}

/// Writes beside the finished dictionary how it came about.
fn write_record(
    run: &Run,
    (scale, scale_out): (f32, Option<f32>),
    last: &Record,
    calibrated_l0: Option<f64>,
    dir: &Path,
) -> Result<(), TrainError> {
    let mut last_step = serde_json::to_value(last).unwrap_or_default();
    if let Some(fields) = last_step.as_object_mut() {
        fields.remove("seconds");
        fields.remove("time");
    }
    let record = TrainingRecord {
        tool_version: TOOL_VERSION.to_owned(),
        plan: run.plan.clone(),
        data: run.data.clone(),
        scale,
        scale_out,
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
            let scale =
                DataScale { factor, further: Vec::new(), mean: vec![0.0; 6], spread: vec![1.0; 6], variance: 1.0 };
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
