//! Which parquet files does a data set of a hub have?

use super::asked::Asked;
use super::cache::Cache;
use super::client::Client;
use super::error::HubError;
use super::options::HubOptions;
use super::repository::{MAIN, Repository, RepositoryKind, check_revision, escape, is_commit, is_inside};
use super::transfer::Transfer;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use untangle_schema::Observer;

/// Where the hub keeps the parquet form of data sets that come in another form.
const CONVERTED: &str = "refs/convert/parquet";
/// Pages of a listing that are read: a million files.
const PAGES: usize = 1000;
/// Bytes of all pages together.
const LISTING_BYTES: usize = 512 << 20;

/// A data set, or some files of it: `hf://datasets/OWNER/NAME[@REVISION][/PATH]` or
/// `dataset:OWNER/NAME[@REVISION][/PATH]`. PATH is a file, a folder, or either with `*` for any characters; else the
/// name of a split, behind that of a configuration where there are several: `train`, `wikitext-2-v1/train`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSpec {
    /// The repository.
    pub repository: Repository,
    /// Branch, tag or commit; none for the main branch, or the hub's conversion of it to parquet.
    pub revision: Option<String>,
    /// Which files; empty for all.
    pub path: String,
}

/// One parquet file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetFile {
    /// The repository.
    pub repository: Repository,
    /// The commit that the revision stood for.
    pub commit: String,
    /// Its path in the repository.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

impl DatasetFile {
    /// How it is named where its content matters: `hf://datasets/OWNER/NAME@COMMIT/PATH`.
    pub fn name(&self) -> String {
        format!("{}@{}/{}", self.repository, self.commit, self.path)
    }
}

impl DatasetSpec {
    /// Reads a name of this form; none where it has another.
    ///
    /// # Errors
    /// [`HubError::Name`] where it has the form and a part of it is wrong.
    pub fn parse(text: &str) -> Option<Result<Self, HubError>> {
        let rest = text.strip_prefix("hf://datasets/").or_else(|| text.strip_prefix("dataset:"))?;
        Some(Self::parse_rest(rest))
    }

    fn parse_rest(rest: &str) -> Result<Self, HubError> {
        let mut parts = rest.splitn(3, '/');
        let (owner, name, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (name, revision) = match name.split_once('@') {
            // A revision may hold slashes, which would be taken for the path; in a name they are written `%2F`.
            Some((name, revision)) => (name, Some(revision.replace("%2F", "/"))),
            None => (name, None),
        };
        let repository = Repository::new(RepositoryKind::Dataset, &format!("{owner}/{name}"))?;
        revision.as_deref().map_or(Ok(()), check_revision)?;
        let path = path.trim_matches('/');
        if !path.is_empty() && !is_inside(path) {
            let (given, expected) = (path.to_owned(), "a file or folder in the repository");
            return Err(HubError::Name { what: "path in a data set", given, expected });
        }
        Ok(DatasetSpec { repository, revision, path: path.to_owned() })
    }

    /// Whether a file of the repository is meant.
    fn means(&self, file: &str) -> bool {
        let parquet = file.ends_with(".parquet");
        if self.path.is_empty() {
            return parquet;
        }
        matches(&self.path, file) || (parquet && matches(&format!("{}/*", self.path), file))
    }
}

/// Whether a parquet file is one of the split that a path names, behind its configuration where it names one. Data sets
/// keep a split's files in a folder of its name (`CONFIGURATION/train/0000.parquet`) or begin their names with it
/// (`data/train-00000-of-00002.parquet`).
fn is_of_split(path: &str, file: &str) -> bool {
    let (configuration, split) = path.rsplit_once('/').map_or((None, path), |(first, last)| (Some(first), last));
    let (folders, name) = file.rsplit_once('/').map_or(("", file), |(folders, name)| (folders, name));
    let Some(stem) = name.strip_suffix(".parquet") else { return false };
    let begins = stem.strip_prefix(split).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']));
    let inside = folders.rsplit('/').next() == Some(split);
    let configured = configuration.is_none_or(|name| folders.split('/').any(|folder| folder == name));
    (begins || inside) && configured
}

/// The files that are meant, of those that there are.
fn choose(spec: &DatasetSpec, files: Vec<(String, u64)>) -> Vec<(String, u64)> {
    let (meant, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(file, _)| spec.means(file));
    let mut chosen = meant;
    if chosen.is_empty() {
        chosen = others.into_iter().filter(|(file, _)| is_of_split(&spec.path, file)).collect();
    }
    chosen.sort();
    chosen
}

/// Whether a text has the form of a pattern, in which `*` stands for any characters. Every piece between two of them is
/// taken where it stands first: trying all places takes longer than anyone waits for the names that some hub lists.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// The files that are meant, in the order of their paths. Where the main branch has no parquet file and no revision is
/// named, those of the hub's own conversion.
///
/// # Errors
/// As [`super::fetch_model`]; [`HubError::NoFile`] where nothing fits.
pub fn list_dataset(
    spec: &DatasetSpec,
    options: &HubOptions,
    observer: &dyn Observer,
) -> Result<Vec<DatasetFile>, HubError> {
    let revision = spec.revision.as_deref().unwrap_or(MAIN);
    if options.offline {
        return list_cached(spec, revision, options);
    }
    let client = Client::new(options, observer)?;
    match list_revision(spec, revision, &client) {
        Err(HubError::NoFile { .. }) if spec.revision.is_none() => match list_revision(spec, CONVERTED, &client) {
            Err(HubError::NoRevision { .. }) => list_revision(spec, revision, &client),
            converted => converted,
        },
        listed => listed,
    }
}

fn list_revision(spec: &DatasetSpec, revision: &str, client: &Client<'_>) -> Result<Vec<DatasetFile>, HubError> {
    let repository = &spec.repository;
    let listing = client.listing(repository, revision)?;
    let tree = format!("{}/tree/{}?recursive=true", repository.api(), escape(&listing.commit, b""));
    let files = choose(spec, list_pages(client, client.url(&tree), Asked { repository, revision, file: None })?);
    check_names(repository, &files)?;
    if files.is_empty() {
        return Err(no_file(spec, revision, listing.files));
    }
    Cache::new(&client.options.cache, repository).set_revision(revision, &listing.commit)?;
    Ok(at_commit(repository, &listing.commit, files))
}

/// An entry of a listing.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: Option<String>,
    size: Option<u64>,
}

/// The files on all pages of a listing, with their sizes.
fn list_pages(client: &Client<'_>, first: String, asked: Asked<'_>) -> Result<Vec<(String, u64)>, HubError> {
    let (mut files, mut bytes, mut seen, mut next) = (Vec::new(), 0, BTreeSet::new(), Some(first));
    while let Some(url) = next {
        let refuse = |what: String| HubError::Answer { url: url.clone(), what };
        if !seen.insert(url.clone()) {
            return Err(refuse("the list leads back to a page that was read already".to_owned()));
        }
        if seen.len() > PAGES || bytes > LISTING_BYTES {
            return Err(refuse(format!("a list of more than {PAGES} pages or {} MiB", LISTING_BYTES >> 20)));
        }
        let (entries, further, read) = client.json::<Vec<Entry>>(&url, asked)?;
        let of_file = |entry: Entry| Some((entry.path.filter(|_| entry.kind == "file")?, entry.size?));
        files.extend(entries.into_iter().filter_map(of_file));
        (next, bytes) = (further, bytes + read);
    }
    Ok(files)
}

/// Refuses files whose names are no paths inside the cache, or of which one would have to be the folder of another.
fn check_names(repository: &Repository, files: &[(String, u64)]) -> Result<(), HubError> {
    let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let is_folder = |name: &str| {
        let folder = format!("{name}/");
        names.range(folder.as_str()..).next().is_some_and(|next| next.starts_with(&folder))
    };
    let odd = names.iter().find(|name| !is_inside(name) || is_folder(name));
    odd.map_or(Ok(()), |name| Err(HubError::OddName { repository: repository.clone(), name: (*name).to_owned() }))
}

fn at_commit(repository: &Repository, commit: &str, files: Vec<(String, u64)>) -> Vec<DatasetFile> {
    let file = |(path, bytes)| DatasetFile { repository: repository.clone(), commit: commit.to_owned(), path, bytes };
    files.into_iter().map(file).collect()
}

fn no_file(spec: &DatasetSpec, revision: &str, found: Vec<String>) -> HubError {
    let file = if spec.path.is_empty() { "parquet file".to_owned() } else { format!("file `{}`", spec.path) };
    HubError::NoFile { repository: spec.repository.clone(), revision: revision.to_owned(), file, found }
}

/// The files that are meant, of those in the cache.
fn list_cached(spec: &DatasetSpec, revision: &str, options: &HubOptions) -> Result<Vec<DatasetFile>, HubError> {
    let (repository, cache) = (spec.repository.clone(), Cache::new(&options.cache, &spec.repository));
    let revisions = if spec.revision.is_none() { vec![revision, CONVERTED] } else { vec![revision] };
    for commit in revisions.into_iter().filter_map(|revision| cache.commit_of(revision)) {
        let mut found = Vec::new();
        walk(&cache.snapshot(&commit), "", &mut found)?;
        let found = choose(spec, found);
        if !found.is_empty() {
            return Ok(at_commit(&repository, &commit, found));
        }
    }
    let missing = if spec.path.is_empty() { "parquet file of it".to_owned() } else { format!("`{}`", spec.path) };
    Err(HubError::Offline { repository, missing, cache: options.cache.clone() })
}

fn walk(root: &Path, folder: &str, found: &mut Vec<(String, u64)>) -> Result<(), HubError> {
    let at = root.join(folder);
    for entry in std::fs::read_dir(&at).map_err(HubError::io(&at))? {
        let name = entry.map_err(HubError::io(&at))?.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        match std::fs::metadata(root.join(&path)) {
            Ok(about) if about.is_dir() => walk(root, &path, found)?,
            Ok(about) => found.push((path, about.len())),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Fetches one file of a data set, as far as the cache lacks it.
///
/// # Errors
/// As [`super::fetch_model`].
pub fn fetch_dataset_file(
    file: &DatasetFile,
    options: &HubOptions,
    observer: &dyn Observer,
) -> Result<PathBuf, HubError> {
    debug_assert!(is_commit(&file.commit));
    let cache = Cache::new(&options.cache, &file.repository);
    if let Some(path) = cache.file(&file.commit, &file.path) {
        return Ok(path);
    }
    if options.offline {
        let (repository, missing) = (file.repository.clone(), format!("`{}`", file.path));
        return Err(HubError::Offline { repository, missing, cache: options.cache.clone() });
    }
    let client = Client::new(options, observer)?;
    let transfer = Transfer { client: &client, cache: &cache, repository: &file.repository, commit: &file.commit };
    transfer.fetch_visibly("download", &[&file.path])?;
    Ok(cache.snapshot(&file.commit).join(&file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> DatasetSpec {
        DatasetSpec::parse(text).expect("a data set").expect("valid")
    }

    #[test]
    fn data_sets_are_named_with_revision_and_path() {
        let found = spec("hf://datasets/o/n@v1/data/train-0.parquet");
        assert_eq!((found.repository.id(), found.revision.as_deref()), ("o/n", Some("v1")));
        assert_eq!(found.path, "data/train-0.parquet");
        let found = spec("dataset:o/n@refs%2Fpr%2F1");
        assert_eq!((found.revision.as_deref(), found.path.as_str()), (Some("refs/pr/1"), ""));
        assert!(DatasetSpec::parse("data/train.txt").is_none());
        for wrong in ["dataset:o", "dataset:", "hf://datasets/o/n/../../x", "dataset:o/n@..", "dataset:../n"] {
            assert!(DatasetSpec::parse(wrong).expect("a data set").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_a_file_a_folder_or_a_pattern() {
        let means = |text: &str, file: &str| spec(&format!("dataset:o/n/{text}")).means(file);
        assert!(means("", "a/b.parquet") && !means("", "README.md"));
        assert!(means("a", "a/b.parquet") && means("a", "a/c/b.parquet") && !means("a", "ab/c.parquet"));
        assert!(means("a/b.jsonl", "a/b.jsonl") && !means("a", "a/b.jsonl"));
        assert!(means("data/train-*", "data/train-0.parquet") && !means("data/train-*", "data/test-0.parquet"));
        assert!(means("*/train", "x/train/0.parquet"));
        assert!(means("a*a", "aa") && !means("a*a", "a") && means("*ab*b", "xabb") && !means("*b*a", "ab"));
        assert!(!means(&"*a".repeat(40), &format!("{}b", "a".repeat(900))));
    }

    #[test]
    fn a_split_is_found_in_both_layouts() {
        let files = ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet", "train.csv"];
        let chosen = |path: &str, files: &[&str]| {
            let files = files.iter().map(|file| ((*file).to_owned(), 1)).collect();
            choose(&spec(&format!("dataset:o/n/{path}")), files).into_iter().map(|file| file.0).collect::<Vec<_>>()
        };
        assert_eq!(chosen("train", &files), ["data/train-00000-of-00001.parquet"]);
        assert_eq!(chosen("tra", &files), Vec::<String>::new());
        let files = ["a/train/0001.parquet", "a/train/0000.parquet", "a/test/0000.parquet", "b/train/0000.parquet"];
        assert_eq!(chosen("a/train", &files), ["a/train/0000.parquet", "a/train/0001.parquet"]);
        assert_eq!(chosen("train", &files).len(), 3);
        assert_eq!(chosen("a", &files).len(), 3);
        assert_eq!(chosen("a/train", &["x/a/train-0.parquet"]), ["x/a/train-0.parquet"]);
    }
}
