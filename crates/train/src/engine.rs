//! What a dictionary is stepped by: the seam between a run and the arithmetic that it is done in.
//!
//! A step has four phases in every engine. The architecture *chooses* entries; these *reconstruct* the batch; the loss is *sent
//! back* to them; parameters are *updated*. How they are done, and where weights lie meanwhile, is the engine's.

use crate::activity::Batch;
use crate::plan::TrainPlan;
use crate::step::StepReport;
use crate::trained::Trained;
use untangle_sae::SaeError;

/// Steps one dictionary.
pub(crate) trait Engine: Send {
    /// Takes the weights over, where it keeps them elsewhere than in the state.
    ///
    /// # Errors
    /// When libtorch refuses an operation, as in all that follows.
    fn load(&mut self, trained: &Trained) -> Result<(), SaeError>;

    /// Does one step on a batch. What is counted changes in the state at once; weights may change elsewhere, until they are
    /// stored.
    ///
    /// # Errors
    /// As above.
    fn step(&mut self, trained: &mut Trained, plan: &TrainPlan, batch: &Batch<'_>) -> Result<StepReport, SaeError>;

    /// Brings the state's weights, moments and averages up to date.
    ///
    /// # Errors
    /// As above.
    fn store(&self, trained: &mut Trained) -> Result<(), SaeError>;
}
