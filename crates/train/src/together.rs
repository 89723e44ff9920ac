//! One step of every dictionary of a run, side by side.

use crate::engine::Engine;
use crate::error::TrainError;
use crate::job::{EngineKind, Run};
use crate::native::Native;
use crate::step::StepReport;
use crate::tensor_engine::TensorEngine;
use crate::trained::Trained;
use rayon::prelude::*;
use untangle_store::RowBlock;

/// The engines of a run's dictionaries.
pub(crate) struct Engines(Vec<Box<dyn Engine>>);

impl Engines {
    /// Engines of a kind for these dictionaries, which have taken the weights over.
    pub(crate) fn of(kind: EngineKind, trained: &[Trained]) -> Result<Self, TrainError> {
        let native = Native::default();
        let start = |trained: &Trained| {
            let mut engine: Box<dyn Engine> = match kind {
                EngineKind::Native => Box::new(native.clone()),
                EngineKind::Tensors(device) => Box::new(TensorEngine::on(device)),
            };
            engine.load(trained)?;
            Ok(engine)
        };
        trained.iter().map(start).collect::<Result<_, _>>().map(Engines)
    }

    /// Brings the states' weights up to date.
    pub(crate) fn store(&self, trained: &mut [Trained]) -> Result<(), TrainError> {
        Ok(self.0.iter().zip(trained).try_for_each(|(engine, trained)| engine.store(trained))?)
    }

    /// One step of every dictionary. They run side by side, so that what one does alone overlaps with another's work; as every
    /// sum has a fixed order, that changes no bit. All of it runs inside the pool, also what a pool's user would do on his own
    /// thread because there is a single piece of it: libtorch's products round differently there.
    pub(crate) fn step(
        &mut self,
        runs: &[Run],
        block: &RowBlock,
        trained: &mut [Trained],
    ) -> Result<Vec<StepReport>, TrainError> {
        let one = |((engine, trained), run): ((&mut Box<dyn Engine>, &mut Trained), &Run)| {
            let batch = trained.batch(run, block);
            let lr = run.plan.schedule.at(trained.state.step);
            let report = engine.step(trained, &run.plan, &batch)?;
            match (report.loss + report.penalty + report.grad_norm).is_finite() {
                true => Ok(report),
                false => Err(TrainError::Diverged { name: run.name.clone(), step: trained.state.step - 1, lr }),
            }
        };
        rayon::scope(|_| self.0.par_iter_mut().zip(trained.par_iter_mut()).zip(runs).map(one).collect())
    }
}
