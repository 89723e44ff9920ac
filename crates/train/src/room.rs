//! Is there memory for what is planned?

use crate::error::{TrainError, refuse};
use crate::plan::TrainPlan;
use untangle_schema::memory;

/// Both matrices with two moments each in f32, and the encoder once more in bf16 at most.
const BYTES_PER_WEIGHT: u64 = 2 * 3 * 4 + 2;

/// Bytes that a dictionary takes in training.
fn bytes_needed(d_sae: usize, d_in: usize, d_out: usize) -> u64 {
    (d_sae as u64).saturating_mul((d_in + d_out) as u64).saturating_mul(BYTES_PER_WEIGHT / 2)
}

/// Refuses what cannot fit into the memory that is free; `what` says what needs it.
fn check_memory(needed: u64, what: &str) -> Result<(), TrainError> {
    match memory::available().filter(|&free| needed > free) {
        None => Ok(()),
        Some(free) => {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            refuse("--d-sae", format!("{what} {:.1} GiB to train, {:.1} GiB are free", gib(needed), gib(free)))
        }
    }
}

/// Refuses dictionaries that do not fit into the memory that is free, each alone or all together. What is free is of this
/// moment: it decides whether a run may begin, never whether one that has begun may go on.
///
/// # Errors
/// [`TrainError::Setting`] with what is needed and what is free.
pub fn check_memory_of(plans: &[&TrainPlan]) -> Result<(), TrainError> {
    let needed = |plan: &TrainPlan| bytes_needed(plan.d_sae, plan.d_in, plan.widths().1);
    for plan in plans {
        check_memory(needed(plan), &format!("{} features of width {} need", plan.d_sae, plan.d_in))?;
    }
    let all = plans.iter().map(|plan| needed(plan)).fold(0, u64::saturating_add);
    check_memory(all, &format!("{} dictionaries need", plans.len()))
}
