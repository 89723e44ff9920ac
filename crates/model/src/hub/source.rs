//! Is a model a folder here or a repository of a hub?

use super::error::HubError;
use super::model::{Snapshot, fetch_model};
use super::options::HubOptions;
use super::repository::{Repository, RepositoryKind};
use crate::error::ModelError;
use crate::language_model::LanguageModel;
use crate::load_options::LoadOptions;
use std::path::{Path, PathBuf};
use untangle_schema::Observer;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A folder in Hugging Face form.
    Directory(PathBuf),
    /// A repository of a hub.
    Hub {
        /// `owner/name`.
        id: String,
        /// Branch, tag or commit; none for `main`.
        revision: Option<String>,
    },
}

impl ModelSource {
    /// What is meant by `given`: the folder of that name where there is one, else the hub id that it spells.
    ///
    /// # Errors
    /// [`HubError::Name`] where it is neither, or where a revision is named of a folder.
    pub fn parse(given: &str, revision: Option<&str>) -> Result<Self, HubError> {
        let neither = |expected| HubError::Name { what: "model", given: given.to_owned(), expected };
        match (Path::new(given).is_dir(), revision) {
            (true, None) => Ok(ModelSource::Directory(given.into())),
            (true, Some(_)) => Err(neither("a hub id where a revision is named; this is a folder")),
            (false, _) => {
                let id = Repository::new(RepositoryKind::Model, given);
                let id = id.map_err(|_| neither("an existing folder, or the id `owner/name` of a model on the hub"))?;
                Ok(ModelSource::Hub { id: id.id().to_owned(), revision: revision.map(str::to_owned) })
            }
        }
    }

    /// The folder of the model; of a hub's, once it is fetched. `options` is asked for only then.
    ///
    /// # Errors
    /// What is wrong with the options, and as [`fetch_model`].
    pub fn resolve(
        &self,
        options: impl FnOnce() -> Result<HubOptions, HubError>,
        observer: &dyn Observer,
    ) -> Result<ResolvedModel, ModelError> {
        match self {
            ModelSource::Directory(dir) => Ok(ResolvedModel { dir: dir.clone(), hub: None }),
            ModelSource::Hub { id, revision } => {
                let snapshot = fetch_model(id, revision.as_deref(), &options()?, observer)?;
                Ok(ResolvedModel { dir: snapshot.dir.clone(), hub: Some(snapshot) })
            }
        }
    }
}

/// A model's folder on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedModel {
    /// The folder.
    pub dir: PathBuf,
    /// Where it was fetched from.
    pub hub: Option<Snapshot>,
}

impl ResolvedModel {
    /// Loads the model; one of a hub goes by its id and commit.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn load(&self, options: &LoadOptions) -> Result<LanguageModel, ModelError> {
        let model = LanguageModel::load(&self.dir, options)?;
        Ok(match &self.hub {
            Some(snapshot) => model.with_origin(snapshot.id.clone(), Some(snapshot.commit.clone())),
            None => model,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_a_hub_id() {
        let hub = |id: &str| ModelSource::Hub { id: id.to_owned(), revision: None };
        assert_eq!(ModelSource::parse("owner/name", None).expect("an id"), hub("owner/name"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("text");
        assert_eq!(ModelSource::parse(path, None).expect("a folder"), ModelSource::Directory(path.into()));
        let error = ModelSource::parse(path, Some("v1")).expect_err("refused").to_string();
        assert!(error.contains("this is a folder"), "{error}");
        let error = ModelSource::parse("./absent/model", None).expect_err("refused").to_string();
        assert!(error.contains("an existing folder, or the id"), "{error}");
    }
}
