//! Which files of a repository make a model, and are they here?

use super::cache::Cache;
use super::client::{Client, Listing};
use super::error::HubError;
use super::options::HubOptions;
use super::repository::{MAIN, Repository, RepositoryKind, check_revision, is_commit};
use super::transfer::Transfer;
use crate::checkpoint::{INDEX, SINGLE, shard_names};
use crate::error::ModelError;
use crate::merges::{MERGES, VOCABULARY};
use std::path::PathBuf;
use untangle_schema::{Event, Observer};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "config.json";
/// Fetched where the repository has them.
const BESIDE: [&str; 9] = [
    "generation_config.json",
    // An adapter beside a model changes it, which is refused.
    "adapter_config.json",
    TOKENIZER,
    // What a tokenizer is made of that has no such file.
    VOCABULARY,
    MERGES,
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// A model of a hub in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder, in Hugging Face form.
    pub dir: PathBuf,
    /// The hub id.
    pub id: String,
    /// The commit that the revision stands for.
    pub commit: String,
}

/// Fetches what a model needs, as far as the cache lacks it: configuration, tokenizer, chat template and safetensors.
///
/// A whole commit id that the cache holds is used without asking the hub, if this function has fetched it; of one that came
/// otherwise the hub is asked once which files it has, since Python's tools fetch those of a tokenizer only when they need
/// them. A branch is asked for every time, so that the
/// result is the current one; where the hub cannot be reached, the cached one is used with a warning.
///
/// # Errors
/// [`HubError`] in [`ModelError::Hub`]: no such repository, revision or file; access refused; a hub that stays busy,
/// cannot be reached or stops in mid-file after [`super::Retry::attempts`] attempts; offline without the cache.
pub fn fetch_model(
    id: &str,
    revision: Option<&str>,
    options: &HubOptions,
    observer: &dyn Observer,
) -> Result<Snapshot, ModelError> {
    fetch(id, revision, Wanted::Model, options, observer)
}

/// Fetches the configuration alone, which says what the model is; otherwise as [`fetch_model`].
///
/// # Errors
/// As [`fetch_model`].
pub fn fetch_config(
    id: &str,
    revision: Option<&str>,
    options: &HubOptions,
    observer: &dyn Observer,
) -> Result<Snapshot, ModelError> {
    fetch(id, revision, Wanted::Configuration, options, observer)
}

/// What is needed of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Model,
    Configuration,
}

fn fetch(
    id: &str,
    revision: Option<&str>,
    wanted: Wanted,
    options: &HubOptions,
    observer: &dyn Observer,
) -> Result<Snapshot, ModelError> {
    let repository = Repository::new(RepositoryKind::Model, id)?;
    let revision = revision.unwrap_or(MAIN);
    check_revision(revision)?;
    let cache = Cache::new(&options.cache, &repository);
    let snapshot = |commit: String| Snapshot { dir: cache.snapshot(&commit), id: id.to_owned(), commit };
    let cached = cache.commit_of(revision);
    let missing = cached.as_deref().map_or(Some(CONFIG.to_owned()), |commit| missing(&cache, commit, wanted));
    let complete = cached.filter(|_| missing.is_none());
    let settled =
        |commit: &str| is_commit(revision) && (wanted == Wanted::Configuration || cache.has_all(commit, &BESIDE));
    match (complete, missing) {
        (Some(commit), _) if options.offline || settled(&commit) => Ok(snapshot(commit)),
        (_, Some(missing)) if options.offline => {
            Err(HubError::Offline { repository, missing, cache: options.cache.clone() }.into())
        }
        (complete, _) => match fetch_from_hub(&repository, (revision, wanted), &cache, options, observer) {
            Ok(commit) => Ok(snapshot(commit)),
            Err(ModelError::Hub(error))
                if complete.is_some()
                    && (error.is_unreachable() || is_commit(revision) && !error.is_interruption()) =>
            {
                observer.event(Event::Warning(&format!("{error}; using the copy in the cache")));
                Ok(snapshot(complete.unwrap_or_default()))
            }
            Err(error) => Err(error),
        },
    }
}

fn fetch_from_hub(
    repository: &Repository,
    (revision, wanted): (&str, Wanted),
    cache: &Cache,
    options: &HubOptions,
    observer: &dyn Observer,
) -> Result<String, ModelError> {
    let client = Client::new(options, observer)?;
    let listing = client.listing(repository, revision)?;
    let has = |name: &str| listing.files.iter().any(|file| file == name);
    let lacks = |file: &str| no_file(repository, revision, file, &listing);
    if !has(CONFIG) {
        return Err(lacks("config.json, so it is no model").into());
    }
    let commit = &listing.commit;
    let transfer = Transfer { client: &client, cache, repository, commit };
    if wanted == Wanted::Configuration {
        transfer.fetch_quietly(&[CONFIG])?;
        cache.set_revision(revision, commit)?;
        return Ok(listing.commit);
    }
    let weights = [SINGLE, INDEX].into_iter().find(|name| has(name));
    let weights = weights.ok_or_else(|| lacks("weights as safetensors"))?;
    let is_used = |name: &&str| has(name) && !(has(TOKENIZER) && [VOCABULARY, MERGES].contains(name));
    let mut small: Vec<&str> = BESIDE.into_iter().filter(is_used).collect();
    small.push(CONFIG);
    if weights == INDEX {
        small.push(INDEX);
    }
    transfer.fetch_quietly(&small)?;
    if weights == SINGLE {
        transfer.fetch_visibly("download", &[SINGLE])?;
    } else {
        let shards = shard_names(&cache.snapshot(commit).join(INDEX))?;
        transfer.fetch_visibly("download", &shards.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    cache.set_revision(revision, commit)?;
    cache.note_all(commit, &BESIDE);
    Ok(listing.commit)
}

fn no_file(repository: &Repository, revision: &str, file: &str, listing: &Listing) -> HubError {
    HubError::NoFile {
        repository: repository.clone(),
        revision: revision.to_owned(),
        file: file.to_owned(),
        found: listing.files.clone(),
    }
}

/// A file that a commit in the cache needs and lacks.
fn missing(cache: &Cache, commit: &str, wanted: Wanted) -> Option<String> {
    let lacks = |name: &str| cache.file(commit, name).is_none();
    if lacks(CONFIG) {
        return Some(CONFIG.to_owned());
    }
    if wanted == Wanted::Configuration || !lacks(SINGLE) {
        return None;
    }
    let index = cache.snapshot(commit).join(INDEX);
    match shard_names(&index) {
        Ok(shards) => shards.into_iter().find(|shard| lacks(shard)),
        Err(_) => Some(SINGLE.to_owned()),
    }
}
