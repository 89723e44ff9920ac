//! A whole run: claim the output, continue or begin, step to the end, give the result its name.
//!
//! A run has one dictionary or many. All see the same batches, each has a state of its own, and none knows of the others,
//! so every result is that of its own single run, to the bit.

use crate::begin::begin;
use crate::checkpoint;
use crate::error::{TrainError, refuse};
use crate::feed::Feed;
use crate::finish;
use crate::job::{Finished, Job, Run};
use crate::log::{Log, Mark, RECORDS};
use crate::pareto;
use crate::place::Place;
use crate::record::Record;
use crate::room::check_memory_of;
use crate::settle::{is_continued, settle};
use crate::step::StepReport;
use crate::together::Engines;
use crate::trained::Trained;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use untangle_schema::event::Compared;
use untangle_schema::{Event, Observer, Unit};
use untangle_store::{RowSource, StoreError};

/// Time between checkpoints where no number of steps is given. When checkpoints are written does not change the result.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(120);

/// Trains, or continues what an interrupted run of the same plans left.
///
/// # Errors
/// Settings that do not fit the source or each other, an output that is taken, rows that are not finite, a loss that is not,
/// and failures to read or write; [`TrainError::Interrupted`] when the observer asks to stop, after a checkpoint.
pub fn train(job: Job<'_>, observer: &dyn Observer) -> Result<Vec<Finished>, TrainError> {
    let mut runs = job.runs.to_vec();
    settle(job.out, &mut runs, job.engine);
    let Job { calibration, out, force, checkpoint_every, shown, engine, .. } = job;
    let mut job = Job { runs: &runs, source: job.source, calibration, out, force, checkpoint_every, shown, engine };
    check(&job)?;
    let place = Place::claim(&job, observer)?;
    let (mut trained, marks): (Vec<_>, Vec<_>) = match place.restored(&job, observer, || restore(&job, &place))? {
        Some(restored) => restored.into_iter().unzip(),
        None => begin(job.runs, job.source)?.into_iter().map(|trained| (trained, Mark::default())).unzip(),
    };
    let (job_runs, checkpoint_every, tensorboard) = (job.runs, job.checkpoint_every, job.shown.tensorboard);
    let mut engines = Engines::of(job.engine, &trained)?;
    let last = Steps { job_runs, place: &place, marks, checkpoint_every, tensorboard, observer }.run(
        job.source,
        &mut engines,
        &mut trained,
    )?;
    engines.store(&mut trained)?;
    drop(engines);
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
    match is_continued(job.out) {
        true => Ok(()),
        false => check_memory_of(&job.runs.iter().map(|run| &run.plan).collect::<Vec<_>>()),
    }
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
    fn run(
        &self,
        source: &mut dyn RowSource,
        engines: &mut Engines,
        trained: &mut [Trained],
    ) -> Result<Vec<Record>, TrainError> {
        let (steps, done) = (self.job_runs[0].plan.schedule.steps, trained[0].state.step);
        let events = |run: &Run| self.tensorboard.then(|| self.place.events(&run.name));
        let open = |(run, mark): (&Run, &Mark)| Log::open(&self.place.log(&run.name), events(run).as_deref(), *mark);
        let mut logs = self.job_runs.iter().zip(&self.marks).map(open).collect::<Result<Vec<_>, _>>()?;
        let (began, mut saved) = (Instant::now(), Instant::now());
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
                    self.save(engines, trained, &logs)?;
                    return Err(TrainError::Interrupted { step: trained[0].state.step });
                }
                let block = block?;
                let reports = engines.step(self.job_runs, &block, trained)?;
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
                    self.save(engines, trained, &logs)?;
                    saved = Instant::now();
                }
                if interrupted {
                    return Err(TrainError::Interrupted { step: done });
                }
            }
            Ok(last)
        })
    }

    /// Writes everything that the next step depends on.
    fn save(&self, engines: &Engines, trained: &mut [Trained], logs: &[Log]) -> Result<(), TrainError> {
        engines.store(trained)?;
        checkpoint::save(self.job_runs, trained, logs, &self.place.checkpoint())
    }

    /// Figures beside the bar: those of the only dictionary, or the Pareto fronts of many, one for each subject.
    fn report(&self, done: u64, last: &[Record]) {
        if let [only] = last {
            let figures = [("fvu", only.fvu), ("l0", only.l0), ("dead", only.dead as f64)];
            return self.observer.event(Event::Advanced { done, figures: &figures });
        }
        let subjects: Vec<String> = self.job_runs.iter().map(|run| run.data.subject()).collect();
        let place: Vec<(f64, f64)> = last.iter().map(|record| (record.l0, record.fvu)).collect();
        let groups = pareto::by_subject(&subjects, &place);
        let points: Vec<Compared<'_>> = (self.job_runs.iter().zip(last).enumerate())
            .map(|(at, (run, record))| Compared {
                name: &run.name,
                l0: record.l0,
                fvu: record.fvu,
                best: groups.iter().any(|group| group.front.contains(&at)),
            })
            .collect();
        self.observer.event(Event::Compared { done, points: &points });
    }
}
