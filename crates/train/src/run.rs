//! A whole run: claim the output, continue or begin, step to the end, give the result its name.
//!
//! A run has one dictionary or many. All see the same batches, each has a state of its own, and none knows of the others,
//! so every result is that of its own single run, to the bit.

use crate::average;
use crate::checkpoint;
use crate::config::{TrainPlan, check_memory_of, refuse};
use crate::error::TrainError;
use crate::feed::Feed;
use crate::finish::{self, DataProvenance};
use crate::forward::{Batch, Scaled};
use crate::init::{Centre, DataScale, TargetScale, geometric_median, initial};
use crate::log::{Log, Mark, Record};
use crate::pareto;
use crate::place::Place;
use crate::state::TrainState;
use crate::step::{StepReport, StepSettings, Workspace, step};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use untangle_schema::event::Compared;
use untangle_schema::{Event, Observer, Unit};
use untangle_store::{RowBlock, RowSource, StoreError};

/// A dictionary to train.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of its folder in the output; empty for the only dictionary of a run, which is the output itself.
    pub name: String,
    /// The column of the source that it is trained on.
    pub column: usize,
    /// The columns that a crosscoder reads beside it.
    pub further: Vec<usize>,
    /// The column that a transcoder predicts; none of autoencoders.
    pub target: Option<usize>,
    /// What decides the result.
    pub plan: TrainPlan,
    /// Where the rows came from.
    pub data: DataProvenance,
}

impl Run {
    /// Width of what is read, of each part.
    pub(crate) fn part_width(&self) -> usize {
        self.plan.d_in / self.plan.architecture.parts()
    }

    /// What a step learns from, of a block of the source.
    pub(crate) fn batch<'a>(&self, trained: &Trained, block: &'a RowBlock) -> Batch<'a> {
        let scaled = |column: usize, factor| Scaled { rows: &block.columns[column], factor };
        let target = self.target.zip(trained.target).map(|(column, target)| scaled(column, target.factor));
        let inputs =
            self.columns().zip(trained.scale.factors()).map(|(column, factor)| scaled(column, factor)).collect();
        Batch { inputs, target }
    }

    /// The columns that are read, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.column).chain(self.further.iter().copied())
    }
}

/// Gives the rows of columns, `[n, d]` each, the same rows of all.
pub type CalibrationRows<'a> = dyn Fn(&[usize]) -> Result<Vec<Vec<f32>>, StoreError> + 'a;

/// What is to be done.
pub struct Job<'a> {
    /// The dictionaries; of one batch size and number of steps.
    pub runs: &'a [Run],
    /// The rows.
    pub source: &'a mut dyn RowSource,
    /// Rows of columns that neither training reads nor the judge of the result will, `[n, d]` each, for thresholds; where
    /// there are none, thresholds are calibrated on rows of training.
    pub calibration: &'a CalibrationRows<'a>,
    /// The directory of the finished dictionary or dictionaries; work happens in `OUT.partial`.
    pub out: &'a Path,
    /// Replace a finished dictionary, and discard an unfinished run of other settings.
    pub force: bool,
    /// Steps between checkpoints; none for one every two minutes.
    pub checkpoint_every: Option<u64>,
    /// What is written for people to look at.
    pub shown: Shown<'a>,
}

/// Calls its second argument with blocks of rows of columns, `[n, d]` each, the same rows of all, and with which of them are
/// ordinary.
pub type ReadRows<'a> = dyn Fn(&[usize], &mut dyn FnMut(&[Vec<f32>], &[bool])) -> Result<(), StoreError> + 'a;

/// What is written for people to look at. None of it changes a result.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// Whether logged steps are also written as an event file of TensorBoard.
    pub tensorboard: bool,
    /// Whether a report is written.
    pub report: bool,
    /// Rows that training did not read, for the figures of the report; none for rows of training.
    pub held_out: Option<&'a ReadRows<'a>>,
}

/// A finished dictionary.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Name of its folder in the output.
    pub name: String,
    /// Its `cfg.json`.
    pub config: serde_json::Value,
    /// The last step's figures.
    pub last: Record,
    /// Active features per row on the calibration rows, where thresholds were calibrated.
    pub calibrated_l0: Option<f64>,
}

/// A dictionary in training.
pub(crate) struct Trained {
    pub(crate) state: TrainState,
    pub(crate) scale: DataScale,
    /// Of what a transcoder predicts.
    pub(crate) target: Option<TargetScale>,
}

impl Trained {
    /// Variance of what is reconstructed, in units of training.
    fn variance(&self) -> f64 {
        self.target.map_or(self.scale.variance, |target| target.variance)
    }
}

/// Time between checkpoints where no number of steps is given. When checkpoints are written does not change the result.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(120);
/// Records of a run in `metrics.jsonl`.
pub(crate) const RECORDS: u64 = 500;
/// Rows from which scale and mean are taken.
pub(crate) const SAMPLE_ROWS: usize = 1 << 16;

/// Trains, or continues what an interrupted run of the same plans left.
///
/// # Errors
/// Settings that do not fit the source or each other, an output that is taken, rows that are not finite, a loss that is not,
/// and failures to read or write; [`TrainError::Interrupted`] when the observer asks to stop, after a checkpoint.
pub fn train(mut job: Job<'_>, observer: &dyn Observer) -> Result<Vec<Finished>, TrainError> {
    check(&job)?;
    let place = Place::claim(&job, observer)?;
    let (mut trained, marks): (Vec<_>, Vec<_>) = match place.restored(&job, observer, || restore(&job, &place))? {
        Some(restored) => restored.into_iter().unzip(),
        None => begin(job.runs, job.source)?.into_iter().map(|trained| (trained, Mark::default())).unzip(),
    };
    let (job_runs, checkpoint_every, tensorboard) = (job.runs, job.checkpoint_every, job.shown.tensorboard);
    let last = Steps { job_runs, place: &place, marks, checkpoint_every, tensorboard, observer }
        .run(job.source, &mut trained)?;
    let finished = finish::write_all(&mut job, trained, last, &place, observer)?;
    place.finish(job.force)?;
    observer.event(Event::Finished);
    Ok(finished)
}

/// What the last checkpoint has, with how far the logs were; none where there is none.
fn restore(job: &Job<'_>, place: &Place) -> Result<Option<Vec<(Trained, Mark)>>, TrainError> {
    let restored = checkpoint::load(job.runs, &place.checkpoint())?;
    for (run, (_, mark)) in job.runs.iter().zip(restored.iter().flatten()) {
        crate::log::begins_with(&place.log(&run.name), *mark)?;
    }
    Ok(restored)
}

fn check(job: &Job<'_>) -> Result<(), TrainError> {
    let Some(first) = job.runs.first() else { return refuse("--grid", "holds no dictionary".to_owned()) };
    let mut names = BTreeSet::new();
    for run in job.runs {
        let width_of = |column: usize| job.source.widths().get(column).copied().unwrap_or_default();
        let parts = run.plan.architecture.parts();
        let planned = vec![run.plan.d_in / parts; parts];
        let widths: Vec<usize> = run.columns().map(width_of).collect();
        if widths != planned {
            return refuse("--hook", format!("rows have widths {widths:?}, the plan is for {planned:?}"));
        }
        let width = run.target.map(width_of);
        if width != run.plan.d_out {
            let (width, planned) = (width.unwrap_or_default(), run.plan.d_out.unwrap_or_default());
            return refuse("--hook-out", format!("rows have width {width}, the plan is for {planned}"));
        }
        if job.source.batch_rows() != run.plan.batch {
            let rows = job.source.batch_rows();
            return refuse("--batch", format!("the source serves {rows} rows, the plan {}", run.plan.batch));
        }
        if run.plan.schedule.steps != first.plan.schedule.steps {
            return refuse("--tokens", "dictionaries of one grid have one number of steps".to_owned());
        }
        if !names.insert(&run.name) {
            return refuse("--grid", format!("two dictionaries are called `{}`", run.name));
        }
    }
    check_memory_of(&job.runs.iter().map(|run| &run.plan).collect::<Vec<_>>())
}

/// The first states: scale and mean of the first rows that the plan serves, which are in random order.
fn begin(runs: &[Run], source: &mut dyn RowSource) -> Result<Vec<Trained>, TrainError> {
    let sample = sample(source, SAMPLE_ROWS)?;
    Ok(begin_from(runs, &sample))
}

/// The first states from a sample of rows of every column.
pub(crate) fn begin_from(runs: &[Run], sample: &[Vec<f32>]) -> Vec<Trained> {
    let start = |run: &Run| {
        let plan = &run.plan;
        let width = plan.d_in / plan.architecture.parts();
        let scale_of = |column: usize| DataScale::of(&sample[column], width, plan.normalise);
        let further = run.further.iter().map(|column| scale_of(*column));
        let scale = further.fold(scale_of(run.column), DataScale::beside);
        // What is reconstructed: of a transcoder something else than what is read.
        let d_out = plan.widths().1;
        let of_target = run.target.map(|column| DataScale::of(&sample[column], d_out, plan.normalise));
        let DataScale { factor, mean, .. } = of_target.as_ref().unwrap_or(&scale);
        let median = |(column, factor): (usize, f32)| geometric_median(&sample[column], width, factor);
        let centre = match (plan.centre, run.target) {
            (Centre::Mean, _) => mean.clone(),
            (Centre::GeometricMedian, Some(column)) => geometric_median(&sample[column], d_out, *factor),
            (Centre::GeometricMedian, None) => run.columns().zip(scale.factors()).flat_map(median).collect(),
        };
        let (optimiser, precision) = (plan.optimiser, plan.precision());
        let mut state = initial(plan.d_in, plan.d_sae, &plan.architecture, optimiser, plan.seed, &centre, precision);
        state.narrow_encoder(&scale.spread);
        state.input_centre = of_target.as_ref().map(|_| scale.mean.clone());
        if plan.ema.is_some() {
            average::begin(&mut state);
        }
        let target = of_target.map(|scale| TargetScale { factor: scale.factor, variance: scale.variance });
        Trained { state, scale, target }
    };
    runs.iter().map(start).collect()
}

/// The first rows that the source serves, by column.
pub(crate) fn sample(source: &mut dyn RowSource, rows: usize) -> Result<Vec<Vec<f32>>, TrainError> {
    let wanted = rows.min(source.rows_per_epoch() as usize);
    let (mut sample, mut block) = (vec![Vec::new(); source.widths().len()], RowBlock::default());
    for index in 0..wanted.div_ceil(source.batch_rows()).max(1) as u64 {
        source.read(index, &mut block)?;
        sample.iter_mut().zip(&block.columns).for_each(|(all, column)| all.extend_from_slice(column));
    }
    Ok(sample)
}

/// The steps of a run.
struct Steps<'a> {
    job_runs: &'a [Run],
    place: &'a Place,
    /// How far the logs were at the last checkpoint.
    marks: Vec<Mark>,
    checkpoint_every: Option<u64>,
    tensorboard: bool,
    observer: &'a dyn Observer,
}

impl Steps<'_> {
    fn run(&self, source: &mut dyn RowSource, trained: &mut [Trained]) -> Result<Vec<Record>, TrainError> {
        let (steps, done) = (self.job_runs[0].plan.schedule.steps, trained[0].state.step);
        let events = |run: &Run| self.tensorboard.then(|| self.place.events(&run.name));
        let open = |(run, mark): (&Run, &Mark)| Log::open(&self.place.log(&run.name), events(run).as_deref(), *mark);
        let mut logs = self.job_runs.iter().zip(&self.marks).map(open).collect::<Result<Vec<_>, _>>()?;
        let (began, mut saved) = (Instant::now(), Instant::now());
        let workspaces = Mutex::new(Vec::new());
        let nothing = StepReport::default();
        let record = |trained: &Trained, report: &StepReport, lr: f64, seconds: f64| {
            Record::new(trained.state.step, trained.state.tokens, report, trained.variance(), lr, seconds)
        };
        let mut last: Vec<Record> = trained.iter().map(|t| record(t, &nothing, 0.0, 0.0)).collect();
        std::thread::scope(|scope| {
            let feed = Feed::start(scope, source, done..steps);
            // A source that takes long to begin shows how far it is; the bar of the training comes behind that.
            let mut first = feed.next();
            self.observer.event(Event::Started { task: "train", unit: Unit::Steps, done, total: steps });
            while let Some(block) = first.take().or_else(|| feed.next()) {
                if let Err(StoreError::Interrupted) = block {
                    checkpoint::save(self.job_runs, trained, &logs, &self.place.checkpoint())?;
                    return Err(TrainError::Interrupted { step: trained[0].state.step });
                }
                let block = block?;
                let reports = step_all(self.job_runs, &block, trained, &workspaces)?;
                feed.recycle(block);
                let (done, seconds) = (trained[0].state.step, began.elapsed().as_secs_f64());
                for (at, report) in reports.iter().enumerate() {
                    let lr = self.job_runs[at].plan.schedule.at(done - 1);
                    last[at] = record(&trained[at], report, lr, seconds);
                    if done.is_multiple_of((steps / RECORDS).max(1)) || done == steps {
                        logs[at].write(&last[at])?;
                    }
                }
                self.report(done, &last);
                let due = self
                    .checkpoint_every
                    .map_or(saved.elapsed() >= CHECKPOINT_PERIOD, |every| done.is_multiple_of(every.max(1)));
                let interrupted = self.observer.interrupted() && done < steps;
                if (due || interrupted) && done < steps {
                    checkpoint::save(self.job_runs, trained, &logs, &self.place.checkpoint())?;
                    saved = Instant::now();
                }
                if interrupted {
                    return Err(TrainError::Interrupted { step: done });
                }
            }
            Ok(last)
        })
    }

    /// Figures beside the bar: those of the only dictionary, or the Pareto front of many.
    fn report(&self, done: u64, last: &[Record]) {
        if let [only] = last {
            let figures = [("fvu", only.fvu), ("l0", only.l0), ("dead", only.dead as f64)];
            return self.observer.event(Event::Advanced { done, figures: &figures });
        }
        let front = pareto::front(&last.iter().map(|record| (record.l0, record.fvu)).collect::<Vec<_>>());
        let points: Vec<Compared<'_>> = (self.job_runs.iter().zip(last).enumerate())
            .map(|(at, (run, record))| Compared {
                name: &run.name,
                l0: record.l0,
                fvu: record.fvu,
                best: front.contains(&at),
            })
            .collect();
        self.observer.event(Event::Compared { done, points: &points });
    }
}

/// One step of every dictionary. They run side by side, so that what one does alone overlaps with another's work; as every
/// sum has a fixed order, that changes no bit. All of it runs inside the pool, also what a pool's user would do on his own
/// thread because there is a single piece of it: libtorch's products round differently there.
pub(crate) fn step_all(
    runs: &[Run],
    block: &RowBlock,
    trained: &mut [Trained],
    workspaces: &Mutex<Vec<Workspace>>,
) -> Result<Vec<StepReport>, TrainError> {
    let idle = || workspaces.lock().unwrap_or_else(PoisonError::into_inner);
    let one = |(trained, run): (&mut Trained, &Run)| {
        let mut workspace = idle().pop().unwrap_or_default();
        let batch = run.batch(trained, block);
        let state = &mut trained.state;
        let lr = run.plan.schedule.at(state.step);
        let report = step(state, &batch, lr, &settings(&run.plan), &mut workspace)?;
        if let Some(decay) = run.plan.ema {
            average::follow(state, decay);
        }
        idle().push(workspace);
        match (report.loss + report.penalty + report.grad_norm).is_finite() {
            true => Ok(report),
            false => Err(TrainError::Diverged { name: run.name.clone(), step: state.step - 1, lr }),
        }
    };
    rayon::scope(|_| trained.par_iter_mut().zip(runs).map(one).collect())
}

/// What does not change from step to step.
fn settings(plan: &TrainPlan) -> StepSettings {
    StepSettings {
        clip_norm: plan.clip_norm.map_or(f32::INFINITY, |norm| norm as f32),
        aux_coefficient: plan.aux_coefficient as f32,
        dead_after: plan.dead_after,
    }
}
