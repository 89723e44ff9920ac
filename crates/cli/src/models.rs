//! Which model does a MODEL argument name?
//!
//! | argument | model |
//! |---|---|
//! | `organism`, `organism:STAGE` | a stage of the bundled organism |
//! | `organism:random` | the organism before it learned anything |
//! | anything else | a directory in Hugging Face form; `./organism` is one, too |

use crate::exit::Complaint;
use std::path::{Path, PathBuf};
use untangle_model::{LanguageModel, LoadOptions};
use untangle_organism::{Stage, bundled};

/// A model, found but not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedModel {
    /// Part of the program.
    Organism(Stage),
    /// The organism with random weights.
    Untrained,
    /// Lies here.
    Directory(PathBuf),
}

impl NamedModel {
    /// Finds the model that an argument names, without reading it.
    pub(crate) fn find(argument: &Path) -> anyhow::Result<Self> {
        if argument == Path::new(bundled::RANDOM) {
            return Ok(NamedModel::Untrained);
        }
        // What is no text can only be a path.
        if let Some(stage) = bundled::stage_of(argument.to_str().unwrap_or_default())? {
            return Ok(NamedModel::Organism(stage));
        }
        if argument.is_dir() {
            return Ok(NamedModel::Directory(argument.to_owned()));
        }
        let what = if argument.exists() { "is not a directory" } else { "does not exist" };
        Err(Complaint::bad_input(format!(
            "{}: {what}; give a model directory in Hugging Face form (config.json, tokenizer.json, *.safetensors), or \
             `{}` for the bundled model",
            argument.display(),
            bundled::NAME
        )))
    }

    /// Reads its weights.
    pub(crate) fn load(&self, options: &LoadOptions) -> anyhow::Result<LanguageModel> {
        Ok(match self {
            NamedModel::Organism(stage) => bundled::load(*stage, options)?,
            NamedModel::Untrained => bundled::random(options)?,
            NamedModel::Directory(path) => LanguageModel::load(path, options)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_name_means_the_bundled_model() {
        let find = |argument: &str| NamedModel::find(Path::new(argument));
        assert_eq!(find("organism").expect("bundled"), NamedModel::Organism(Stage::Base));
        assert_eq!(find("organism:dpo").expect("bundled"), NamedModel::Organism(Stage::Dpo));
        assert_eq!(find("organism:random").expect("bundled"), NamedModel::Untrained);
        assert_eq!(find("src").expect("a directory"), NamedModel::Directory("src".into()));
        let fault = find("./organism").expect_err("there is no such directory here").to_string();
        assert!(fault.contains("./organism: does not exist") && fault.contains("`organism`"), "{fault}");
        assert!(find("organism:x").expect_err("no such stage").to_string().contains("base-more, sft"));
    }
}
