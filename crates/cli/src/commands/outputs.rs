//! May an output lie where it is asked for, beside everything that the command reads?

use std::path::{Path, PathBuf};
use untangle_store::output;
use untangle_store::{Artefact, StoreError};

/// Refuses an output before anything is loaded. What only lacks `--force` is told by who takes the output's lock: with it
/// he tidies up after a run that was killed at its very end.
pub(crate) fn check(out: &Path, artefact: &Artefact, force: bool, inputs: &[PathBuf]) -> anyhow::Result<()> {
    output::check_inputs(out, inputs)?;
    match output::check(out, artefact, force) {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
