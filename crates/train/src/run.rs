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
    let sae = finish::write(&state, &scale, job.plan, &job.data, &last, &place.partial)?;
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
        return refuse("--batch", format!("the source serves {} rows, the plan {}", job.source.batch_rows(), job.plan.batch));
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
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { path, source }
        };
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(io(folder))?;
        }
        let lock = Lock::take(&durable::with_suffix(&partial, ".lock"), &out)?;
        if out.exists() && !job.force {
            return Err(TrainError::Exists { path: out });
        }
        let settings = json!({"plan": job.plan, "data": job.data});
        let plan_path = partial.join(PLAN);
        if let Ok(text) = fs::read_to_string(&plan_path) {
            let found: Value = serde_json::from_str(&text)
                .map_err(|e| TrainError::Checkpoint { path: plan_path.clone(), reason: e.to_string() })?;
            let differing = differences(&found, &settings);
            if !differing.is_empty() && !job.force {
                let differing = differing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(TrainError::OtherRun { path: partial, differing });
            }
            if !differing.is_empty() {
                fs::remove_dir_all(&partial).map_err(io(&partial))?;
            }
        }
        fs::create_dir_all(&partial).map_err(io(&partial))?;
        let text = serde_json::to_string_pretty(&settings).map_err(|e| io(&plan_path)(e.into()))?;
        durable::replace(&plan_path, text.as_bytes())?;
        Ok(Place { out, partial, _lock: lock })
    }

    /// Removes what only a continuation needs, and renames. A finished dictionary that is replaced goes first to a name
    /// of its own, because a folder cannot be renamed over another.
    fn finish(self, force: bool) -> Result<(), TrainError> {
        for name in [CHECKPOINT, PLAN] {
            durable::remove(&self.partial.join(name))?;
        }
        let replaced = durable::with_suffix(&self.out, ".replaced");
        let io = |source| TrainError::Io { path: self.out.clone(), source };
        if force && self.out.exists() {
            fs::rename(&self.out, &replaced).map_err(io)?;
        }
        durable::place(&self.partial, &self.out, false)?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced).map_err(io)?;
        }
        Ok(())
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
    let state = initial(plan.d_in, plan.d_sae, plan.k, plan.seed, &scale.mean, plan.precision());
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
            if done % (steps / RECORDS).max(1) == 0 || done == steps {
                log.write(&last)?;
            }
            let figures = [("fvu", last.fvu), ("l0", last.l0), ("dead", last.dead as f64)];
            observer.event(Event::Advanced { done, figures: &figures });
            let due = checkpoint_every.map_or(saved.elapsed() >= CHECKPOINT_PERIOD, |every| done % every.max(1) == 0);
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
