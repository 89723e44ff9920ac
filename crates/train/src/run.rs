//! A whole run: claim the output, continue or begin, step to the end, give the result its name.

use crate::checkpoint;
use crate::config::TrainPlan;
use crate::error::TrainError;
use crate::feed::Feed;
use crate::finish::{self, DataProvenance};
use crate::init::{DataScale, initial};
use crate::log::{Log, Record};
use crate::state::TrainState;
use crate::step::{StepSettings, Workspace, step};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use untangle_sae::Sae;
use untangle_schema::sae::files;
use untangle_schema::{Event, Observer, Unit};
use untangle_store::{Lock, RowBlock, RowSource, differences, durable};

/// A run to do.
pub struct Job<'a> {
    /// What decides the result.
    pub plan: &'a TrainPlan,
    /// The rows; column 0 is trained on.
    pub source: &'a mut dyn RowSource,
    /// Where they came from.
    pub data: DataProvenance,
    /// The directory of the finished dictionary; work happens in `OUT.partial`.
    pub out: &'a Path,
    /// Replace a finished dictionary, and discard an unfinished run of other settings.
    pub force: bool,
    /// Steps between checkpoints; none for one every two minutes.
    pub checkpoint_every: Option<u64>,
}

/// Time between checkpoints where no number of steps is given. When checkpoints are written does not change the result.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(120);
/// Records of a run in `metrics.jsonl`.
const RECORDS: u64 = 500;
/// Rows from which scale and mean are taken.
const SAMPLE_ROWS: usize = 1 << 16;
const CHECKPOINT: &str = "checkpoint.safetensors";
const PLAN: &str = "plan.json";
const FINISHED: &str = "finished";

/// Trains, or continues what an interrupted run of the same plan left, and returns the finished dictionary.
///
/// # Errors
/// Settings that do not fit the source, an output that is taken, rows that are not finite, a loss that is not, and
/// failures to read or write; [`TrainError::Interrupted`] when the observer asks to stop, after a checkpoint.
pub fn train(job: Job<'_>, observer: &dyn Observer) -> Result<Sae, TrainError> {
    check_source(&job)?;
    let place = Place::claim(&job)?;
    let (mut state, scale) = match checkpoint::load(job.plan, &place.partial.join(CHECKPOINT))? {
        Some(restored) => restored,
        None => begin(job.plan, job.source)?,
    };
    let last = run_steps(job.plan, job.source, &mut state, &scale, job.checkpoint_every, &place, observer)?;
    let sae = finish::write(&state, &scale, job.plan, &job.data, &last, &place.prepare_output()?)?;
    place.finish(job.force)?;
    observer.event(Event::Finished);
    Ok(sae)
}

fn check_source(job: &Job<'_>) -> Result<(), TrainError> {
    let refuse = |setting, problem| Err(TrainError::Setting { setting, problem });
    let width = job.source.widths().first().copied().unwrap_or_default();
    if width != job.plan.d_in {
        return refuse("--hook", format!("rows have width {width}, the plan is for {}", job.plan.d_in));
    }
    if job.source.batch_rows() != job.plan.batch {
        return refuse(
            "--batch",
            format!("the source serves {} rows, the plan {}", job.source.batch_rows(), job.plan.batch),
        );
    }
    Ok(())
}

/// The unfinished directory, held under a lock.
struct Place {
    out: PathBuf,
    partial: PathBuf,
    _lock: Lock,
}

impl Place {
    fn claim(job: &Job<'_>) -> Result<Self, TrainError> {
        let (out, partial) = (job.out.to_owned(), durable::with_suffix(job.out, ".partial"));
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(Self::io(folder))?;
        }
        let lock = Lock::take(&durable::with_suffix(&partial, ".lock"), &out)?;
        if out.exists() && !job.force {
            return Err(TrainError::Exists { path: out });
        }
        let place = Place { out, partial, _lock: lock };
        place.clear_remains()?;
        place.keep_or_discard(&json!({"plan": job.plan, "data": job.data}), job.force)?;
        Ok(place)
    }

    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
        let path = path.to_owned();
        move |source| TrainError::Io { path, source }
    }

    /// Removes what a run that was killed while finishing left behind.
    fn clear_remains(&self) -> Result<(), TrainError> {
        let replaced = self.replaced();
        if replaced.exists() && self.out.exists() {
            fs::remove_dir_all(&replaced).map_err(Self::io(&replaced))?;
        }
        durable::remove(&durable::with_suffix(&self.partial.join(CHECKPOINT), ".new"))?;
        let finished = self.partial.join(FINISHED);
        match fs::remove_dir_all(&finished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Self::io(&finished)(error)),
            _ => Ok(()),
        }
    }

    /// Makes sure that the partial directory is one of these settings: continued, or empty.
    fn keep_or_discard(&self, settings: &Value, force: bool) -> Result<(), TrainError> {
        let plan_path = self.partial.join(PLAN);
        match fs::read_to_string(&plan_path) {
            Ok(text) => {
                let found: Value = serde_json::from_str(&text)
                    .map_err(|e| TrainError::Checkpoint { path: plan_path.clone(), reason: e.to_string() })?;
                let differing = differences(&found, settings);
                if differing.is_empty() {
                    return Ok(());
                }
                if !force {
                    let differing = differing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    return Err(TrainError::OtherRun { path: self.partial.clone(), differing });
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Self::io(&plan_path)(error)),
        }
        // The checkpoint goes first: a kill in between must not leave one whose settings are unknown or others.
        durable::remove(&self.partial.join(CHECKPOINT))?;
        durable::remove(&self.partial.join(files::METRICS))?;
        fs::create_dir_all(&self.partial).map_err(Self::io(&self.partial))?;
        durable::sync_folder(&plan_path)?;
        let text = serde_json::to_string_pretty(settings).map_err(|e| Self::io(&plan_path)(e.into()))?;
        Ok(durable::replace(&plan_path, text.as_bytes())?)
    }

    fn replaced(&self) -> PathBuf {
        durable::with_suffix(&self.out, ".replaced")
    }

    /// The directory that becomes the output: within the partial one, so that checkpoint and plan stay usable until the
    /// output has its name.
    fn prepare_output(&self) -> Result<PathBuf, TrainError> {
        let finished = self.partial.join(FINISHED);
        fs::create_dir_all(&finished).map_err(Self::io(&finished))?;
        let log = finished.join(files::METRICS);
        fs::copy(self.partial.join(files::METRICS), &log).map_err(Self::io(&log))?;
        Ok(finished)
    }

    /// Gives the output its name, then removes what only a continuation needs. A finished dictionary that is replaced goes
    /// first to a name of its own, because a folder cannot be renamed over another.
    fn finish(self, force: bool) -> Result<(), TrainError> {
        let replaced = self.replaced();
        if force && self.out.exists() {
            fs::rename(&self.out, &replaced).map_err(Self::io(&self.out))?;
        }
        durable::place(&self.partial.join(FINISHED), &self.out, false)?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced).map_err(Self::io(&replaced))?;
        }
        fs::remove_dir_all(&self.partial).map_err(Self::io(&self.partial))
    }
}

/// The first state: scale and mean of the first rows that the plan serves, which are in random order.
fn begin(plan: &TrainPlan, source: &mut dyn RowSource) -> Result<(TrainState, DataScale), TrainError> {
    let wanted = SAMPLE_ROWS.min(source.rows_per_epoch() as usize);
    let (mut sample, mut block) = (Vec::new(), RowBlock::default());
    for index in 0..wanted.div_ceil(plan.batch).max(1) as u64 {
        source.read(index, &mut block)?;
        sample.extend_from_slice(&block.columns[0]);
    }
    let scale = DataScale::of(&sample, plan.d_in, plan.normalise);
    let mut state = initial(plan.d_in, plan.d_sae, plan.k, plan.seed, &scale.mean, plan.precision());
    state.narrow_encoder(&scale.spread);
    Ok((state, scale))
}

fn run_steps(
    plan: &TrainPlan,
    source: &mut dyn RowSource,
    state: &mut TrainState,
    scale: &DataScale,
    checkpoint_every: Option<u64>,
    place: &Place,
    observer: &dyn Observer,
) -> Result<Record, TrainError> {
    let steps = plan.schedule.steps;
    let settings = StepSettings {
        factor: scale.factor,
        clip_norm: plan.clip_norm.map_or(f32::INFINITY, |norm| norm as f32),
        aux_coefficient: plan.aux_coefficient as f32,
        dead_after: plan.dead_after,
    };
    observer.event(Event::Started { task: "train", unit: Unit::Steps, done: state.step, total: steps });
    let mut log = Log::open(&place.partial.join(files::METRICS), state.step)?;
    let checkpoint_path = place.partial.join(CHECKPOINT);
    let (began, mut saved) = (Instant::now(), Instant::now());
    let mut workspace = Workspace::default();
    let mut last = Record::new(state.step, state.tokens, &Default::default(), scale.variance, 0.0, 0.0);
    std::thread::scope(|scope| {
        let feed = Feed::start(scope, source, state.step..steps);
        while let Some(block) = feed.next() {
            let block = block?;
            let lr = plan.schedule.at(state.step);
            let report = step(state, &block.columns[0], lr, &settings, &mut workspace)?;
            feed.recycle(block);
            if !(report.loss + report.grad_norm).is_finite() {
                return Err(TrainError::Diverged { step: state.step - 1, lr });
            }
            let done = state.step;
            last = Record::new(done, state.tokens, &report, scale.variance, lr, began.elapsed().as_secs_f64());
            if done.is_multiple_of((steps / RECORDS).max(1)) || done == steps {
                log.write(&last)?;
            }
            let figures = [("fvu", last.fvu), ("l0", last.l0), ("dead", last.dead as f64)];
            observer.event(Event::Advanced { done, figures: &figures });
            let due = checkpoint_every
                .map_or(saved.elapsed() >= CHECKPOINT_PERIOD, |every| done.is_multiple_of(every.max(1)));
            let interrupted = observer.interrupted() && done < steps;
            if (due || interrupted) && done < steps {
                log.flush()?;
                checkpoint::save(state, scale, &checkpoint_path)?;
                saved = Instant::now();
            }
            if interrupted {
                return Err(TrainError::Interrupted { step: done });
            }
        }
        log.flush()?;
        Ok(last)
    })
}
