//! What a machine chose when a run began is not chosen again when it goes on: a continued run takes it from what was saved.
//!
//! Which arithmetic proposes fastest is a timing, and what memory is free a moment. Neither was asked for, so neither makes a
//! run another one.

use crate::job::{EngineKind, Run};
use crate::place;
use std::path::Path;
use untangle_sae::Precision;

/// Whether unfinished work lies where that of `out` would, from which a run can go on.
pub fn is_continued(out: &Path) -> bool {
    place::checkpoint_of(out).exists()
}

/// Sets what plans leave to the machine: to what an unfinished run at `out` began with, else to what is fastest here;
/// an engine of tensors knows f32 alone. What that
/// run wrote down and cannot be read is told by whoever goes on with it.
pub fn settle(out: &Path, runs: &mut [Run], engine: EngineKind) {
    if runs.iter().all(|run| run.plan.is_settled()) {
        return;
    }
    let saved = if is_continued(out) { place::plans_of(out).ok().flatten() } else { None };
    let saved = saved.unwrap_or_default();
    for run in runs.iter_mut().filter(|run| !run.plan.is_settled()) {
        let plan = if run.name.is_empty() { &saved["plan"] } else { &saved[&run.name]["plan"] };
        let precision = plan["precision"].as_str().and_then(Precision::named).unwrap_or_else(|| match engine {
            EngineKind::Native => Precision::fastest(),
            EngineKind::Tensors(_) => Precision::F32,
        });
        precision.name().clone_into(&mut run.plan.precision);
    }
}
