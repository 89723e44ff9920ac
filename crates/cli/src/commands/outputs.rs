//! May an output lie where it is asked for, beside everything that the command reads?

use crate::exit::Complaint;
use std::path::{Path, PathBuf};
use untangle_sources::NamedModel;
use untangle_sources::Text;
use untangle_store::output;
use untangle_store::{Artefact, StoreError, durable};

/// The arguments of a model and of texts that are paths: names of what is bundled, or lies on the hub, are none, whatever
/// lies here under them.
pub(crate) fn paths(model: Option<&PathBuf>, texts: &[PathBuf]) -> Vec<PathBuf> {
    let is_path = |model: &&PathBuf| matches!(NamedModel::find(model), Ok(NamedModel::Directory(_)) | Err(_));
    texts.iter().filter(|text| Text::is_path(text)).chain(model.filter(is_path)).cloned().collect()
}

/// Refuses an output before anything is loaded. Where unfinished work lies beside it, what only lacks `--force` is told by
/// who takes the output's lock: with it he tidies up after a run that was killed at its very end.
pub(crate) fn check(out: &Path, artefact: &Artefact, force: bool, inputs: &[PathBuf]) -> anyhow::Result<()> {
    output::check_inputs(out, inputs)?;
    match output::check(out, artefact, force) {
        Err(StoreError::Exists { .. }) if is_beside_unfinished(out) => Ok(()),
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a file that is written at the end and has no unfinished work beside it, before anything is loaded.
pub(crate) fn check_file(out: &Path, artefact: &Artefact, force: bool) -> anyhow::Result<()> {
    output::check(out, artefact, force)?;
    let folder = out.parent().filter(|folder| *folder != Path::new(""));
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => {
            let problem =
                format!("{}: there is no folder {}; make it, or choose another name", out.display(), folder.display());
            Err(Complaint::usage(problem))
        }
        None => Ok(()),
    }
}

fn is_beside_unfinished(out: &Path) -> bool {
    ["", ".lock", ".journal"].iter().any(|end| durable::with_suffix(out, &format!(".partial{end}")).exists())
}
