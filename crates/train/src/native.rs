//! The engine of CPUs: the sparse step of [`crate::step`], on the state itself.

use crate::activity::Batch;
use crate::average;
use crate::engine::Engine;
use crate::plan::TrainPlan;
use crate::step::{StepReport, Workspace, step};
use crate::trained::{Trained, settings};
use std::sync::{Arc, Mutex, PoisonError};
use untangle_sae::SaeError;

/// Steps a dictionary in place. Engines share workspaces, of which there are as many as steps run at a time.
#[derive(Clone, Default)]
pub(crate) struct Native {
    workspaces: Arc<Mutex<Vec<Workspace>>>,
}

impl Engine for Native {
    fn load(&mut self, _: &Trained) -> Result<(), SaeError> {
        Ok(())
    }

    fn step(&mut self, trained: &mut Trained, plan: &TrainPlan, batch: &Batch<'_>) -> Result<StepReport, SaeError> {
        let idle = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = idle().pop().unwrap_or_default();
        let Trained { state, held, .. } = trained;
        let lr = plan.schedule.at(state.step);
        let report = step(state, batch, lr, &settings(plan, held), &mut workspace)?;
        if let Some(decay) = plan.ema {
            average::follow(state, decay);
        }
        idle().push(workspace);
        Ok(report)
    }

    fn store(&self, _: &mut Trained) -> Result<(), SaeError> {
        Ok(())
    }
}
