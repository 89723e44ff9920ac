//! How long a run will take, from a few real steps of the real dictionaries on rows of the real source, with nothing
//! written.
//!
//! ```text
//! T = start + s t_first + (N - s) t_settled + s ln(N / s) (t_fresh - t_settled) + end
//! ```
//!
//! with `s` steps until what begins dense is sparse. Of JumpReLU, whose entries then fall as one over the number of steps
//! (690 after 160 steps, 318 after 287, 202 after 543 at 768 and 16384), `t_fresh` is a step with as many entries as are just
//! taken sparsely, timed as well; of all others it is `t_settled`.
//!
//! Architectures with a penalty begin with half of all latents active and are stepped densely until few enough are. They are
//! timed twice, standing still: as they begin, and where biases are lowered so far that as many latents fire as is aimed at.
//! (In training from there, untrained weights would fire more and more.) How long they are dense follows from how fast Adam
//! moves: by the learning rate at every step, `sum_t lr_t = B`, with `B = 0.11 (128 / d_in)^0.3`; and, where L0 is steered,
//! from its aim, ahead of which it falls: 0.7 of the steps until that is sparse. The later of both counts. Steps that were
//! dense ([`crate::arch`] says where that ends) in runs of the default learning rate and warm-up, on activations of
//! the bundled organism (d_in 128) and on rows with the spectrum of activations:
//!
//! | | d_in | d_sae | steps of the run | dense | by the formula |
//! |---|---|---|---|---|---|
//! | relu | 128 | 1024 | 100 | 15 | 15 |
//! | relu (gated: 40) | 128 | 1024 | 300 | 37 | 33 |
//! | relu | 128 | 2048 | 781 | 62 | 72 |
//! | relu | 128 | 1024 | 2000 | 228 | 222 |
//! | relu | 768 | 3072 | 200 | 21 | 23 |
//! | relu | 768 | 16384 | 60 | 21 | 21 |
//!
//! JumpReLU's entries are those near a threshold, too, which become few only when thresholds have moved away from most
//! pre-activations. Entries pass the bound slowly, so that `2 B` is a compromise: at d_in 768 and d_sae 16384, 51, 76 and 72 of
//! 150, 400 and 800 steps were dense where it gives 52, 70 and 99; of d_sae 3072, 59 of 200 (33); at d_in 128 and d_sae 1024, 30,
//! 55 and 114 of 100, 300 and 1000 (25, 40 and 73), of 2048, 20 of 781 (76). A step near the bound takes as long either way.

use crate::activity::{Activity, Scratches};
use crate::aux_k::aux_gradients;
use crate::begin::{SAMPLE_ROWS, begin_from};
use crate::density;
use crate::error::TrainError;
use crate::feed::Feed;
use crate::finish::{side_by_side, thresholds};
use crate::fold::Dictionary;
use crate::footprint::{DEAD, RowsAtTheEnd};
use crate::forward::forward;
use crate::job::{EngineKind, Run};
use crate::plan::TrainPlan;
use crate::together::Engines;
use crate::trained::Trained;
use serde::Serialize;
use std::time::{Duration, Instant};
use untangle_sae::Codes;
use untangle_schema::Observer;
use untangle_store::{RowBlock, RowSource, StoreError};

/// What a rehearsal found, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Until the first step: rows that scale and mean are taken from, the first weights.
    pub start: f64,
    /// A step as the run begins.
    pub first_step: f64,
    /// A step when as much fires as is aimed at; as the first where nothing begins dense.
    pub settled_step: f64,
    /// A step when entries have just become few enough to be taken as such; as the settled one but for JumpReLU.
    pub fresh_step: f64,
    /// Steps that are like the first.
    pub dense_steps: f64,
    /// What the number of these may be wrong by, as a factor.
    pub unsure: f64,
    /// Steps of the run.
    pub steps: f64,
    /// Thresholds, figures and folded weights at the end.
    pub end: f64,
    /// What a step takes longer where a tenth of the latents is dead and to be revived.
    pub revival: f64,
    /// Steps before which nothing can be dead.
    pub immortal_steps: f64,
}

/// `B` at a width of 128, and how it falls with the width.
const MOVED: f64 = 0.11;
const MOVED_AT: f64 = 128.0;
const MOVED_FALLS: f64 = 0.3;
/// L0 falls ahead of its aim, and is sparse after this part of the steps that the aim takes.
const AHEAD: f64 = 0.7;
/// Of JumpReLU, in which entries near thresholds count.
const JUMP: f64 = 2.0;
/// Entries of a row for each that is aimed at, in JumpReLU dictionaries that are trained: 2.8 after 800 steps of 16384 latents at
/// d_in 768 and 2.2 after 400 of smaller batches; 2.0 to 2.5 of 1024 and 2048 latents at 128.
const ENTRIES_WHEN_TRAINED: f64 = 2.5;
/// With so many times the entries that dense products are worth, JumpReLU is never sparse.
const NEVER_SPARSE: f64 = 1.5;
/// What the number of dense steps may be wrong by, as a factor; of JumpReLU, more.
const UNSURE: f64 = 1.6;
const UNSURE_OF_JUMP: f64 = 2.5;
/// A search for thresholds costs about as much as encoding twice: candidates are found, then ranked.
const SEARCH: f64 = 2.0;
/// Steps before the clock is looked at: memory is touched for the first time.
const WARM_UP: usize = 2;
/// Steps that are timed at least, and what they take together unless one takes longer.
const TIMED_STEPS: usize = 4;
const TIMED: Duration = Duration::from_secs(4);
/// Reading rows for scale and mean ends after this time; the rest is extrapolated.
const READING: Duration = Duration::from_secs(3);

impl Rehearsal {
    /// Seconds of the run.
    pub fn expected(&self) -> f64 {
        self.total(self.dense_steps)
    }

    /// The least and the most that it may be: what begins dense may be so for fewer or more steps, and at the most a tenth of
    /// the latents is dead from the first moment that it can be.
    pub fn range(&self) -> (f64, f64) {
        let (few, many) = self.dense_range();
        let (few, many) = (self.total(few), self.total(many));
        (few.min(many), few.max(many) + (self.steps - self.immortal_steps).max(0.0) * self.revival)
    }

    /// The fewest and the most steps that may be dense.
    pub fn dense_range(&self) -> (f64, f64) {
        (self.dense_steps / self.unsure, (self.dense_steps * self.unsure).min(self.steps))
    }

    fn total(&self, dense: f64) -> f64 {
        let dense = dense.min(self.steps);
        let sparse = (self.steps - dense) * self.settled_step;
        let falling = if dense > 0.0 { dense * (self.steps / dense).ln() } else { 0.0 };
        let falling = falling * (self.fresh_step - self.settled_step).max(0.0);
        self.start + dense * self.first_step + sparse + falling + self.end
    }
}

/// Does the beginning of a run of these dictionaries, and steps of it, and writes nothing.
///
/// # Errors
/// As [`crate::train()`].
pub fn rehearse(
    runs: &[Run],
    source: &mut dyn RowSource,
    at_the_end: RowsAtTheEnd,
    engine: EngineKind,
    observer: &dyn Observer,
) -> Result<Rehearsal, TrainError> {
    let Some(first) = runs.first() else { return Ok(Rehearsal::default()) };
    let (sample, reading) = read_sample(source)?;
    let began = Instant::now();
    let mut trained = begin_from(runs, &sample);
    let start = reading + began.elapsed().as_secs_f64();
    drop(sample);
    let still: Vec<Run> = runs.iter().map(standing_still).collect();
    let first_step = time_steps(&still, source, engine, &mut trained, observer)?;
    let mut rows = RowBlock::default();
    source.read(0, &mut rows)?;
    let jumps = runs.iter().any(|run| run.plan.architecture.half_window().is_some());
    let mut sparse_step = |at: fn(&Run) -> Settled| {
        runs.iter().zip(&mut trained).try_for_each(|(run, trained)| settle(run, trained, &rows, at(run)))?;
        time_steps(&still, source, engine, &mut trained, observer)
    };
    let (mut settled_step, mut fresh_step) = (first_step, first_step);
    if runs.iter().any(|run| run.plan.architecture.sparsity().is_some()) {
        let fresh = if jumps { Some(sparse_step(Settled::barely)?) } else { None };
        settled_step = sparse_step(Settled::as_aimed)?;
        fresh_step = fresh.unwrap_or(settled_step);
    }
    let (mut end, mut revival) = (0.0, 0.0);
    let steps = first.plan.schedule.steps as f64;
    let immortal_steps = first.plan.dead_after as f64 / first.plan.batch as f64;
    for (run, trained) in runs.iter().zip(&mut trained) {
        if immortal_steps < steps {
            revival += time_revival(run, trained, &rows)?;
        }
        end += time_end(run, trained, &rows, at_the_end)?;
    }
    let unsure = if jumps { UNSURE_OF_JUMP } else { UNSURE };
    let dense_steps = dense_steps(runs);
    Ok(Rehearsal {
        start,
        first_step,
        settled_step,
        fresh_step,
        dense_steps,
        unsure,
        steps,
        end,
        revival,
        immortal_steps,
    })
}

/// The rows that scale and mean are taken from, by column, and the seconds that reading all of them takes.
fn read_sample(source: &mut dyn RowSource) -> Result<(Vec<Vec<f32>>, f64), TrainError> {
    let (mut sample, mut block) = (vec![Vec::new(); source.widths().len()], RowBlock::default());
    let wanted = SAMPLE_ROWS.min(source.rows_per_epoch() as usize);
    let batches = wanted.div_ceil(source.batch_rows()).max(1);
    let (began, mut first) = (Instant::now(), 0.0);
    for index in 0..batches {
        source.read(index as u64, &mut block)?;
        sample.iter_mut().zip(&block.columns).for_each(|(all, column)| all.extend_from_slice(column));
        if index == 0 {
            // With the first batch comes the window that it lies in.
            first = began.elapsed().as_secs_f64();
        } else if began.elapsed().as_secs_f64() - first > READING.as_secs_f64() {
            let each = (began.elapsed().as_secs_f64() - first) / index as f64;
            return Ok((sample, first + each * (batches - 1) as f64));
        }
    }
    Ok((sample, began.elapsed().as_secs_f64()))
}

/// A run whose weights do not move where that would change what a step takes.
fn standing_still(run: &Run) -> Run {
    let mut run = run.clone();
    if run.plan.architecture.sparsity().is_some() {
        run.plan.schedule.lr = 0.0;
    }
    run
}

/// Seconds of a step, with its reading beside it as in a run: of the later half of those that fit into the time.
fn time_steps(
    runs: &[Run],
    source: &mut dyn RowSource,
    engine: EngineKind,
    trained: &mut [Trained],
    observer: &dyn Observer,
) -> Result<f64, TrainError> {
    let mut engines = Engines::of(engine, trained)?;
    std::thread::scope(|scope| {
        let feed = Feed::start(scope, source, 0..u64::MAX);
        let (began, mut ends) = (Instant::now(), Vec::new());
        while ends.len() < WARM_UP + TIMED_STEPS || began.elapsed() < TIMED {
            let Some(block) = feed.next() else { return Err(TrainError::Store(StoreError::Interrupted)) };
            let block = block?;
            engines.step(runs, &block, trained)?;
            feed.recycle(block);
            ends.push(began.elapsed().as_secs_f64());
            if observer.interrupted() {
                return Err(TrainError::Store(StoreError::Interrupted));
            }
        }
        let (first, last) = ((ends.len() / 2).clamp(WARM_UP - 1, ends.len() - 2), ends.len() - 1);
        Ok((ends[last] - ends[first]) / (last - first) as f64)
    })
}

/// What a dictionary with a penalty is brought to before its steps are timed.
struct Settled {
    /// Latents of a row above what `below` is subtracted from.
    l0: f64,
    /// How far below a latent's threshold it counts as one of them.
    below: f32,
    /// Entries that the last step is taken to have had.
    entries: f64,
}

impl Settled {
    /// What is aimed at; of JumpReLU with as many entries as it then has, since untrained weights have more near a threshold.
    fn as_aimed(run: &Run) -> Self {
        let aimed = run.plan.aimed_l0();
        let Some(half) = run.plan.architecture.half_window() else {
            return Settled { l0: aimed, below: 0.0, entries: run.plan.entries() };
        };
        let entries = (ENTRIES_WHEN_TRAINED * aimed).min(run.plan.d_sae as f64);
        Settled { l0: entries, below: half as f32, entries }
    }

    /// Of JumpReLU as many entries as are just taken sparsely; else what is aimed at.
    fn barely(run: &Run) -> Self {
        let plan = &run.plan;
        let Some(half) = plan.architecture.half_window() else { return Self::as_aimed(run) };
        let most = density::dense_above(plan.precision(), plan.d_in) * plan.d_sae as f64;
        Settled { l0: most, below: half as f32, entries: most }
    }
}

/// Lowers the biases of what has a penalty until as many latents fire on `rows` as that says.
fn settle(run: &Run, trained: &mut Trained, rows: &RowBlock, at: Settled) -> Result<(), TrainError> {
    if run.plan.architecture.sparsity().is_none() {
        return Ok(());
    }
    let shift = thresholds(run, trained, &read_by(run, rows), at.l0)?.shift + at.below;
    trained.state.b_enc.value.iter_mut().for_each(|b| *b -= shift);
    trained.state.carried.entries = at.entries;
    // In the middle of the run, where learning rate and penalty have their full size.
    trained.state.step = run.plan.schedule.steps / 2;
    Ok(())
}

/// Seconds that the auxiliary loss of a batch takes where some latents are dead.
fn time_revival(run: &Run, trained: &mut Trained, rows: &RowBlock) -> Result<f64, TrainError> {
    let (batch, mut activity) = (trained.batch(run, rows), Activity::default());
    let state = &mut trained.state;
    activity.dead = (0..state.d_sae as u32).step_by(DEAD).collect();
    forward(state, &run.plan.architecture, &batch, &Scratches::default(), &mut activity)?;
    let began = Instant::now();
    aux_gradients(state, &run.plan.architecture, &activity, run.plan.aux_coefficient as f32)?;
    Ok(began.elapsed().as_secs_f64())
}

/// The rows that a run reads, all parts side by side.
fn read_by(run: &Run, rows: &RowBlock) -> Vec<f32> {
    side_by_side(run.columns().map(|column| rows.columns[column].clone()).collect(), run.part_width())
}

/// Seconds of what comes after the last step.
fn time_end(run: &Run, trained: &Trained, rows: &RowBlock, at_the_end: RowsAtTheEnd) -> Result<f64, TrainError> {
    let began = Instant::now();
    let dictionary = Dictionary::of(run, trained, 0.0)?;
    let folding = began.elapsed().as_secs_f64();
    let (rows, sae) = (read_by(run, rows), dictionary.sae());
    let began = Instant::now();
    let n = (rows.len() / run.plan.d_in).max(1);
    let (mut codes, mut x_hat) = (Codes::new(), vec![0f32; n * sae.d_out()]);
    sae.encode(&rows, &mut codes)?;
    sae.reconstruct(&rows, &codes, &mut x_hat)?;
    let of_a_row = began.elapsed().as_secs_f64() / n as f64;
    let searched = if run.plan.architecture.is_calibrated() { SEARCH * at_the_end.calibration as f64 } else { 0.0 };
    Ok(folding + of_a_row * (searched + at_the_end.report as f64))
}

/// Steps of a run that are dense, on average over what begins so, by the size of each.
fn dense_steps(runs: &[Run]) -> f64 {
    let weight = |plan: &TrainPlan| plan.d_sae as f64 * plan.d_in as f64;
    let penalised = || runs.iter().map(|run| &run.plan).filter(|plan| plan.architecture.sparsity().is_some());
    let total: f64 = penalised().map(weight).sum();
    if total == 0.0 { 0.0 } else { penalised().map(|plan| weight(plan) * dense_steps_of(plan)).sum::<f64>() / total }
}

/// Steps `t` with `sum_{s <= t} lr_s = B`, or, if that is later, when the aim of a steered L0 is nearly sparse.
fn dense_steps_of(plan: &TrainPlan) -> f64 {
    let jump = if plan.architecture.half_window().is_some() { JUMP } else { 1.0 };
    let steps = plan.schedule.steps as f64;
    if jump > 1.0
        && plan.entries() > NEVER_SPARSE * density::dense_above(plan.precision(), plan.d_in) * plan.d_sae as f64
    {
        return steps;
    }
    let moved = jump * MOVED * (MOVED_AT / plan.d_in as f64).powf(MOVED_FALLS);
    let (lr, warm_up) = (plan.schedule.lr, plan.schedule.warm_up as f64);
    let rising = (2.0 * warm_up * moved / lr).sqrt();
    let able = if rising <= warm_up { rising } else { moved / lr + warm_up / 2.0 };
    let most = density::dense_above(plan.precision(), plan.d_in) * plan.d_sae as f64;
    let aimed = plan.architecture.aim(plan.d_sae).map_or(0.0, |aim| aim.steps_above(most));
    able.max(AHEAD * aimed).min(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Kind;
    use crate::config::{TrainConfig, Width};

    fn plan(kind: Kind, d_in: usize, d_sae: usize, steps: u64) -> TrainPlan {
        let config = TrainConfig { kind, width: Width::Features(d_sae), batch: 2048, ..TrainConfig::default() };
        let config = TrainConfig { tokens: Some(2048 * steps), k: 16, ..config };
        config.plan(d_in, 100_000).expect("fits")
    }

    #[test]
    fn the_dense_part_of_a_run_is_about_what_was_measured() {
        for (d_in, d_sae, steps, measured) in [
            (128, 1024, 100, 15.0),
            (128, 1024, 300, 37.0),
            (128, 2048, 781, 62.0),
            (128, 1024, 2000, 228.0),
            (768, 3072, 200, 21.0),
            (768, 16384, 60, 21.0),
        ] {
            let found = dense_steps_of(&plan(Kind::Relu, d_in, d_sae, steps));
            assert!((found / measured - 1.0).abs() < 0.2, "{d_in} {d_sae} {steps}: {found} for {measured}");
        }
        assert_eq!(dense_steps_of(&plan(Kind::JumpRelu, 128, 256, 100)), 100.0);
    }

    #[test]
    fn a_total_is_its_parts() {
        let rehearsal = Rehearsal {
            start: 1.0,
            first_step: 0.5,
            settled_step: 0.1,
            fresh_step: 0.1,
            dense_steps: 16.0,
            unsure: 1.6,
            steps: 100.0,
            end: 2.0,
            revival: 0.1,
            immortal_steps: 10.0,
        };
        assert!((rehearsal.expected() - (1.0 + 8.0 + 8.4 + 2.0)).abs() < 1e-9);
        let slower = Rehearsal { fresh_step: 0.2, ..rehearsal };
        assert!((slower.expected() - rehearsal.expected() - 1.6 * (100f64 / 16.0).ln()).abs() < 1e-9);
        let (low, high) = rehearsal.range();
        assert!((low - (3.0 + 5.0 + 9.0)).abs() < 1e-9 && (high - (3.0 + 12.8 + 7.44 + 9.0)).abs() < 1e-9);
    }
}
