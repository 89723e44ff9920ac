//! The formats that are read, in one place. To add one: a file of its own beside this one, and a line here.

use super::format::{Folder, Format, Write};
use super::{crosscoder, gemma_scope, saelens, sparsify};
use crate::error::SaeError;
use std::path::Path;

/// Where several have the same marker, the first that says yes is taken: SAELens' stands behind those that share its `cfg.json`, and
/// refuses by name what is none of them.
const FORMATS: [&Format; 5] =
    [&sparsify::FORMAT, &crosscoder::FORMAT, &saelens::FORMAT, &gemma_scope::FIRST, &gemma_scope::SECOND];

/// The format of a folder, where it holds a dictionary of one that is read.
pub(super) fn format_of(folder: &Folder<'_>) -> Option<&'static Format> {
    FORMATS.into_iter().find(|format| is_marked(folder.dir, format) && (format.sniff)(folder))
}

/// Whether a folder holds a dictionary of one of the formats, as far as the names of its files say.
pub(super) fn is_at(dir: &Path) -> bool {
    FORMATS.into_iter().any(|format| is_marked(dir, format))
}

/// What writes dictionaries of one activation, or of several: the first format of such that is written.
pub(super) fn writer(of_several: bool) -> Write {
    let written = FORMATS.into_iter().filter(|format| format.of_several == of_several).find_map(|format| format.write);
    written.unwrap_or(|_, _, dir| {
        let reason = "no format that is written has a place for this dictionary".to_owned();
        Err(SaeError::Config { path: dir.to_owned(), reason })
    })
}

fn is_marked(dir: &Path, format: &Format) -> bool {
    dir.join(format.marker).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use untangle_schema::sae::files;

    /// The name of the format of a folder with these files, whose `cfg.json` says this.
    fn of(names: &[&str], config: &Value) -> Option<&'static str> {
        let dir = tempfile::tempdir().expect("a folder");
        for name in names {
            let text = if *name == files::CONFIG { config.to_string() } else { String::new() };
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        let folder = Folder::open(dir.path()).expect("read");
        let found = format_of(&folder).map(|format| format.name);
        assert_eq!(found.is_some(), is_at(dir.path()), "{names:?}");
        found
    }

    #[test]
    fn every_format_is_told_from_the_others() {
        let keys = json!({"d_in": 2, "k": 1, "expansion_factor": 2});
        let both = ["params.npz", "cfg.json"];
        for (names, config, format) in [
            (&["cfg.json", "sae_weights.safetensors"][..], json!({"d_in": 2, "d_sae": 4}), Some("saelens")),
            (&["cfg.json", "sae_weights.safetensors"], keys.clone(), Some("saelens")),
            (&["cfg.json"], keys.clone(), Some("sparsify")),
            (&["cfg.json", "sae.safetensors"], json!({"d_in": 2}), Some("sparsify")),
            (&["cfg.json"], json!({"architecture": "crosscoder", "d_sae": 4}), Some("crosscoder")),
            (&["cfg.json"], json!([1]), Some("saelens")),
            (&["params.npz"], Value::Null, Some("gemma-scope")),
            (&["params.safetensors"], Value::Null, Some("gemma-scope-2")),
            (&both, json!({"d_in": 2, "d_sae": 4}), Some("saelens")),
            (&["config.json"], Value::Null, None),
        ] {
            assert_eq!(of(names, &config), format, "{names:?} {config}");
        }
    }

    #[test]
    fn names_tell_formats_apart_and_what_is_trained_has_one() {
        let names: std::collections::BTreeSet<_> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
        for of_several in [false, true] {
            assert!(FORMATS.iter().any(|format| format.of_several == of_several && format.write.is_some()));
        }
    }
}
