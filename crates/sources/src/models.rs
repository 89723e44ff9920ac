//! Which model does a MODEL argument name?
//!
//! | argument | model |
//! |---|---|
//! | `organism`, `organism:STAGE` | a stage of the bundled organism |
//! | `organism:random` | the organism before it learned anything |
//! | a directory | a model in Hugging Face form; `./organism` is one, too |
//! | `owner/name`, `hf:owner/name`, `hf:name` | a model of the hub; `@REVISION` behind it is a branch, tag or commit |

use crate::error::SourceError;
use crate::surroundings::Surroundings;
use std::path::{Path, PathBuf};
use untangle_model::hub::{ModelSource, Repository, RepositoryKind, ResolvedModel};
use untangle_model::{ChatTemplate, LanguageModel, LoadOptions, ModelError};
use untangle_organism::{Stage, bundled};
use untangle_schema::BosPolicy;

/// A model, found but not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedModel {
    /// Part of the program.
    Organism(Stage),
    /// The organism with random weights.
    Untrained,
    /// Lies here.
    Directory(PathBuf),
    /// Lies on the hub, or in its cache.
    Hub {
        /// `owner/name`.
        id: String,
        /// Branch, tag or commit; none for the main branch.
        revision: Option<String>,
    },
}

/// Endings of the files that can be inspected.
const FILES: [&str; 8] = ["h5", "hdf5", "npy", "npz", "safetensors", "db", "json", "partial"];
/// What makes a name one of the hub, whatever lies here.
const OF_HUB: &str = "hf:";

impl NamedModel {
    /// Finds the model that an argument names, without reading it.
    ///
    /// # Errors
    /// When it names none, or a stage that there is not.
    pub fn find(argument: &Path) -> Result<Self, SourceError> {
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
        if let Some(name) = argument.to_str().filter(|_| !argument.exists())
            && let Some(model) = Self::of_hub(name)?
        {
            return Ok(model);
        }
        let what = if argument.exists() { "is not a directory" } else { "does not exist" };
        Err(SourceError::NoModel { name: argument.to_owned(), what, bundled: bundled::NAME })
    }

    /// The model of the hub that a name means; none where it has not the form of one. A single word is one only behind
    /// `hf:`, so that a slip in the name of a directory asks nobody.
    fn of_hub(name: &str) -> Result<Option<Self>, SourceError> {
        let (named, rest) = (name.starts_with(OF_HUB), name.strip_prefix(OF_HUB).unwrap_or(name));
        let (id, revision) = match rest.split_once('@') {
            Some((id, revision)) => (id, Some(revision.to_owned())),
            None => (rest, None),
        };
        match Repository::new(RepositoryKind::Model, id) {
            Ok(_) if named || id.contains('/') => Ok(Some(NamedModel::Hub { id: id.to_owned(), revision })),
            Err(error) if named => Err(error.into()),
            _ => Ok(None),
        }
    }

    /// The model at the revision that is asked for beside its name.
    ///
    /// # Errors
    /// When it names one itself, or has none.
    pub fn at(self, asked: Option<&str>) -> Result<Self, SourceError> {
        match (self, asked) {
            (model, None) => Ok(model),
            (NamedModel::Hub { id, revision: None }, Some(asked)) => {
                Ok(NamedModel::Hub { id, revision: Some(asked.to_owned()) })
            }
            (NamedModel::Hub { id, revision: Some(_) }, Some(asked)) => {
                Err(SourceError::TwoRevisions { id, asked: asked.to_owned() })
            }
            (_, Some(_)) => Err(SourceError::NoRevisions),
        }
    }

    /// The model of the hub that a name means where it could also be that of a file: not if it ends as one that is
    /// inspected, nor if it is said to be in a folder that is here.
    ///
    /// # Errors
    /// When it is said to be one of the hub and has not the form of a name there.
    pub fn of_hub_unless_a_file(name: &str) -> Result<Option<Self>, SourceError> {
        let ends_as_a_file = Path::new(name).extension().is_some_and(|ending| FILES.iter().any(|file| ending == *file));
        let in_a_folder = Path::new(name).parent().is_some_and(|folder| folder != Path::new("") && folder.is_dir());
        let is_one = !Path::new(name).exists() && (name.starts_with(OF_HUB) || !(ends_as_a_file || in_a_folder));
        if is_one { Self::of_hub(name) } else { Ok(None) }
    }

    /// Fetches what is not here.
    ///
    /// # Errors
    /// When a transfer fails.
    pub fn fetch(&self, surroundings: &Surroundings<'_>) -> Result<FetchedModel, SourceError> {
        Ok(match self {
            NamedModel::Hub { id, revision } => {
                let source = ModelSource::Hub { id: id.clone(), revision: revision.clone() };
                FetchedModel::Hub(source.resolve(|| surroundings.hub(), surroundings.observer)?)
            }
            NamedModel::Organism(stage) => FetchedModel::Organism(*stage),
            NamedModel::Untrained => FetchedModel::Untrained,
            NamedModel::Directory(path) => FetchedModel::Directory(path.clone()),
        })
    }
}

/// A model all of whose files are here.
#[derive(Clone, Debug)]
pub enum FetchedModel {
    /// Part of the program.
    Organism(Stage),
    /// The organism with random weights.
    Untrained,
    /// A directory.
    Directory(PathBuf),
    /// In the cache of the hub.
    Hub(ResolvedModel),
}

impl FetchedModel {
    /// Reads its weights. It cannot be asked to stop, and nothing depends on it yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&self, options: &LoadOptions) -> Result<LanguageModel, SourceError> {
        Ok(match self {
            FetchedModel::Organism(stage) => bundled::load(*stage, options)?,
            FetchedModel::Untrained => bundled::random(options)?,
            FetchedModel::Directory(path) => LanguageModel::load(path, options)?,
            FetchedModel::Hub(files) => files.load(options)?,
        })
    }
}

/// Letters by which a prompt is known.
const BEGINNING: usize = 40;

/// Warns where a continuation of `prompts` by `tokens` reaches the end of the model's positions and stops there.
///
/// # Errors
/// When the model has no tokenizer, or a prompt does not fit its context.
pub fn warn_of_end(
    model: &LanguageModel,
    prompts: &[String],
    tokens: usize,
    bos: BosPolicy,
    surroundings: &Surroundings<'_>,
) -> Result<(), SourceError> {
    let (tokenizer, positions) = (model.tokenizer()?, model.max_context());
    for (number, prompt) in (1..).zip(prompts) {
        let n = tokenizer.encode_with_bos(prompt, bos)?.len();
        if n > positions {
            let begins = prompt.chars().take(BEGINNING).collect();
            return Err(SourceError::LongPrompt { number, begins, tokens: n, max_context: positions });
        }
        // The last token is chosen by the pass before it, and needs no position.
        let room = (positions + 1).saturating_sub(n);
        if room > 0 && room < tokens {
            surroundings.warning(&format!(
                "continuations end after {room} tokens, not {tokens}: the model has {positions} positions and the \
                 prompt takes {n}; --tokens {room} asks for as many"
            ));
            break;
        }
    }
    Ok(())
}

/// The template by which a model's conversations become text.
///
/// # Errors
/// When it has none, or one that cannot be read.
pub fn chat_template(model: &LanguageModel, surroundings: &Surroundings<'_>) -> Result<ChatTemplate, SourceError> {
    let name = model.identity().name;
    let is_bundled = name == bundled::RANDOM || bundled::stage_of(&name).is_ok_and(|stage| stage.is_some());
    match model.tokenizer()?.chat_template() {
        Err(ModelError::NoChatTemplate { .. }) if is_bundled => {
            let able: Vec<_> = Stage::ALL.into_iter().filter(|stage| bundled::converses(*stage)).collect();
            let able: Vec<_> = able.into_iter().map(bundled::model_name).collect();
            Err(SourceError::DoesNotReply { name, able: able.join(", ") })
        }
        template => {
            let template = template?;
            template.note().iter().for_each(|note| surroundings.note(note));
            Ok(template)
        }
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
        let hub = |id: &str, revision: Option<&str>| NamedModel::Hub {
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
        };
        assert_eq!(find("owner/name").expect("an id"), hub("owner/name", None));
        assert_eq!(find("hf:owner/name@v1").expect("an id"), hub("owner/name", Some("v1")));
        assert_eq!(find("hf:gpt2").expect("an id"), hub("gpt2", None));
        assert_eq!(find("o/n").expect("an id").at(Some("v2")).expect("a revision"), hub("o/n", Some("v2")));
        assert!(find("o/n@v1").expect("an id").at(Some("v2")).is_err());
        assert!(find("organism").expect("bundled").at(Some("v2")).is_err());
        for wrong in ["gpt2", "./owner/name", "/owner/name", "a/b/c", "hf:a/b/c", "src/lib.rs"] {
            find(wrong).expect_err(wrong);
        }
        let inspected = |name: &str| NamedModel::of_hub_unless_a_file(name).expect("no fault");
        assert_eq!(inspected("owner/name@v1"), Some(hub("owner/name", Some("v1"))));
        for file in ["runs/x.h5", "runs/features.db", "src/absent", "src/lib.rs", "sae"] {
            assert_eq!(inspected(file), None, "{file}");
        }
        assert!(find("organism:x").expect_err("no such stage").to_string().contains("base-more, sft"));
    }
}
