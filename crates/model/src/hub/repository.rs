//! How are models and data sets of a hub named?

use super::error::HubError;
use std::fmt;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositoryKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

/// A repository of a hub: `owner/name`, or a name alone for some old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// What it holds.
    pub kind: RepositoryKind,
    id: String,
}

const ID: &str = "`owner/name` of letters, digits, `.`, `_` and `-`";

impl Repository {
    /// Checks an id.
    ///
    /// # Errors
    /// [`HubError::Name`] where it is none.
    pub fn new(kind: RepositoryKind, id: &str) -> Result<Self, HubError> {
        let what = match kind {
            RepositoryKind::Model => "id of a model",
            RepositoryKind::Dataset => "id of a data set",
        };
        let refuse = || HubError::Name { what, given: id.to_owned(), expected: ID };
        let parts: Vec<&str> = id.split('/').collect();
        let good = parts.len() <= 2 && parts.iter().all(|part| is_name(part)) && id.len() <= 200;
        if good { Ok(Repository { kind, id: id.to_owned() }) } else { Err(refuse()) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The part of a URL that stands for the repository in `api/`.
    pub(crate) fn api(&self) -> String {
        let kind = match self.kind {
            RepositoryKind::Model => "models",
            RepositoryKind::Dataset => "datasets",
        };
        format!("api/{kind}/{}", self.id)
    }

    /// The part of a URL that stands for the repository before `resolve/`.
    pub(crate) fn page(&self) -> String {
        match self.kind {
            RepositoryKind::Model => self.id.clone(),
            RepositoryKind::Dataset => format!("datasets/{}", self.id),
        }
    }

    /// Name of its folder in the cache.
    pub(crate) fn folder(&self) -> String {
        let kind = match self.kind {
            RepositoryKind::Model => "models",
            RepositoryKind::Dataset => "datasets",
        };
        format!("{kind}--{}", self.id.replace('/', "--"))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RepositoryKind::Model => f.write_str(&self.id),
            RepositoryKind::Dataset => write!(f, "hf://datasets/{}", self.id),
        }
    }
}

/// One part of an id: no `--`, which separates parts in the cache, and nothing that a path takes for a folder.
fn is_name(part: &str) -> bool {
    let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let ends = |c: char| part.starts_with(c) || part.ends_with(c);
    !part.is_empty() && plain && !ends('.') && !ends('-') && !part.contains("--") && !part.contains("..")
}

/// The branch that is meant where none is named.
pub(crate) const MAIN: &str = "main";

/// Checks the name of a branch, tag or commit: it becomes part of a URL and of a path in the cache.
pub(crate) fn check_revision(revision: &str) -> Result<(), HubError> {
    let part = |part: &str| {
        let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+=".contains(&byte));
        !part.is_empty() && plain && !part.starts_with('.') && !part.contains("..")
    };
    if revision.len() <= 200 && revision.split('/').all(part) {
        return Ok(());
    }
    let expected = "a branch, tag or commit, such as `main`";
    Err(HubError::Name { what: "revision", given: revision.to_owned(), expected })
}

/// Whether a revision is a whole commit id, which always means the same files.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Longest name of a file or folder that file systems take, and longest path of a repository.
const NAME_BYTES: usize = 255;
const PATH_BYTES: usize = 1024;

/// Whether a path of a repository stays inside it, and can be that of a file here.
pub(crate) fn is_inside(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= NAME_BYTES;
    path.len() <= PATH_BYTES && !path.contains(|c: char| c == '\\' || c.is_control()) && path.split('/').all(plain)
}

/// A path or revision in a URL: everything but letters, digits and some marks as `%XX`.
pub(crate) fn escape(text: &str, keep: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_and_never_paths() {
        for id in ["gpt2", "EleutherAI/pythia-70m", "a/b.c_d-e"] {
            assert_eq!(Repository::new(RepositoryKind::Model, id).expect("an id").id(), id);
        }
        for id in ["", "/", "a/", "/a", "a/b/c", "../a", "a/..", "./a", "a/.b", "a b", "a--b/c", "a\\b", "ä/b", "~/a"]
        {
            assert!(matches!(Repository::new(RepositoryKind::Model, id), Err(HubError::Name { .. })), "{id}");
        }
        let dataset = Repository::new(RepositoryKind::Dataset, "a/b").expect("an id");
        assert_eq!(
            (dataset.folder().as_str(), dataset.api().as_str(), dataset.to_string().as_str()),
            ("datasets--a--b", "api/datasets/a/b", "hf://datasets/a/b")
        );
    }

    #[test]
    fn revisions_and_paths_cannot_leave_the_cache() {
        for revision in ["main", "v1.0", "refs/pr/1", "refs/convert/parquet", &"a1".repeat(20)] {
            check_revision(revision).expect(revision);
        }
        for revision in ["", "..", "a/../b", "/main", "a//b", "a b", "a\nb", ".git"] {
            assert!(check_revision(revision).is_err(), "{revision:?}");
        }
        assert!(is_inside("data/train-00000-of-00001.parquet") && is_inside("a b"));
        let long = ["x".repeat(256), "x/".repeat(600) + "x"];
        let odd =
            ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", ".", "a//b", "a/", "a/./b", "a\nb", "a\u{1b}[2J"];
        for path in odd.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(!is_inside(path), "{path:?}");
        }
        assert!(is_commit(&"0f".repeat(20)) && !is_commit("main") && !is_commit(&"0g".repeat(20)));
    }

    #[test]
    fn urls_are_escaped() {
        assert_eq!(escape("refs/pr/1", b""), "refs%2Fpr%2F1");
        assert_eq!(escape("data/a b#ü.parquet", b"/"), "data/a%20b%23%C3%BC.parquet");
    }
}
