//! What did `untangle demo` leave here, so that it can be served by a single word?

use super::Named;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use std::path::Path;
use untangle_sources::NamedModel;

/// Where the demo puts what it makes, unless it is told otherwise.
const FOLDER: &str = "demo-output";

/// The demo's model, dictionary and database.
pub(super) fn left_behind(belonging: BelongingArgs, context: &Context) -> anyhow::Result<Named> {
    let folder = Path::new(FOLDER);
    let (sae, database) = (folder.join("sae"), folder.join("features.db"));
    if !sae.is_dir() || !database.is_file() {
        return Err(Complaint::bad_input(format!(
            "{FOLDER}: there is no finished demo in this folder; run `untangle demo` first, or name a model: untangle serve MODEL \
             --sae SAE --features FEATURES.db"
        )));
    }
    let model = context.database(&database)?.run()?.model.map(|model| model.name).unwrap_or_default();
    // What is known of a model is its name; where it lay is not.
    if model.is_empty() || NamedModel::find(Path::new(&model)).is_err() {
        return Err(Complaint::bad_input(format!(
            "{FOLDER}: was made of a model `{model}`, which is not found under that name; say where it is: untangle serve MODEL \
             --sae {} --features {}",
            sae.display(),
            database.display()
        )));
    }
    Ok(Named { model: model.into(), saes: vec![sae], databases: vec![database], belonging })
}
