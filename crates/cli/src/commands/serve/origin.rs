//! Where does what is served lie, in words that a recipe can have wherever it is kept?

use std::fs;
use std::path::{Path, PathBuf};
use untangle_serve::wire::dictionaries::Origin;

/// Whole paths of what are files; names, such as `organism`, stay what they are.
pub(super) fn of(model: &Path, saes: &[PathBuf], databases: &[PathBuf], other_model: bool) -> Origin {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    Origin {
        model: if model.is_dir() { whole(model) } else { model.display().to_string() },
        sae: saes.iter().map(|path| whole(path)).collect(),
        features: databases.iter().map(|path| whole(path)).collect(),
        other_model,
    }
}
