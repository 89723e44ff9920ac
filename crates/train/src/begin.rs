//! The beginning of a run: a sample of its rows, and the first states that follow from it.

use crate::average;
use crate::error::TrainError;
use crate::init::{held, initial};
use crate::job::Run;
use crate::scale::{Centre, DataScale, TargetScale, geometric_median};
use crate::trained::Trained;
use untangle_store::{RowBlock, RowSource};

/// Rows from which scale and mean are taken.
pub(crate) const SAMPLE_ROWS: usize = 1 << 16;

/// The first states: scale and mean of the first rows that the plan serves, which are in random order.
pub(crate) fn begin(runs: &[Run], source: &mut dyn RowSource) -> Result<Vec<Trained>, TrainError> {
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
        Trained { state, scale, target, held: held(plan) }
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
