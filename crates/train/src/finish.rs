//! From training states to dictionaries on disk: calibrated, folded (`fold.rs`), written, measured, with how they came about.

use crate::artefact::GridRecord;
use crate::average;
use crate::begin::sample;
use crate::calibrate::{Calibration, calibrate};
use crate::error::TrainError;
use crate::fold::Dictionary;
use crate::job::{Finished, Job, Run};
use crate::log;
use crate::place::Place;
use crate::provenance::TrainingRecord;
use crate::record::Record;
use crate::report;
use crate::trained::Trained;
use std::path::Path;
use untangle_sae::kernels::encode::EncoderWeights;
use untangle_schema::sae::files;
use untangle_schema::{Event, Observer, TOOL_VERSION};
use untangle_store::durable;

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
            let member = member(job, run, &dictionary, &place.log(&run.name))?;
            write_text(&folder.join(files::REPORT), &report::single(&member))?;
            members.push(member);
        }
        finished.push(Finished { name: run.name.clone(), config, k: dictionary.sae().k(), last, calibrated_l0 });
    }
    if members.iter().any(|member| !member.name.is_empty()) {
        write_text(&place.prepared(files::REPORT), &report::grid(&members))?;
    }
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).filter(|name| !name.is_empty()).collect();
    if !names.is_empty() {
        let record = GridRecord { tool_version: TOOL_VERSION.to_owned(), dictionaries: names };
        write_text(&place.prepared(files::GRID), &format!("{}\n", serde_json::json!(record)))?;
    }
    Ok(finished)
}

/// Measures a finished dictionary for its report.
fn member(job: &mut Job<'_>, run: &Run, dictionary: &Dictionary, log: &Path) -> Result<report::Member, TrainError> {
    let columns: Vec<usize> = run.columns().chain(run.target).collect();
    let mut measured = report::Measured::new(dictionary.sae(), dictionary.judge());
    if let Some(held_out) = job.shown.held_out {
        let mut failed = None;
        held_out(&columns, &mut |rows, ordinary| {
            failed = failed.take().or_else(|| measure(&mut measured, run, rows.to_vec(), ordinary).err());
        })?;
        failed.map_or(Ok(()), Err)?;
    }
    let of_training = measured.ordinary_rows() == 0;
    if of_training {
        // Training reads the rows that it is to learn from, and no others.
        let sampled = sample(job.source, FROM_TRAINING)?;
        let rows: Vec<Vec<f32>> = columns.iter().map(|column| sampled[*column].clone()).collect();
        let n = rows[0].len() / run.part_width();
        measured = report::Measured::new(dictionary.sae(), dictionary.judge());
        measure(&mut measured, run, rows, &vec![true; n])?;
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
fn measure(
    measured: &mut report::Measured<'_>,
    run: &Run,
    mut rows: Vec<Vec<f32>>,
    ordinary: &[bool],
) -> Result<(), TrainError> {
    let target = run.target.and_then(|_| rows.pop());
    measured.add(&side_by_side(rows, run.part_width()), target.as_deref(), ordinary)
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
    let Some(theta) = run.plan.architecture.thresholds(state) else {
        return calibrate(&weights, &state.norm_sums, &centred, l0, state.carried.threshold as f32);
    };
    // Measured from below the lowest threshold, so that the shift that is searched for is positive.
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
