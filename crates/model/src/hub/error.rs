//! What can go wrong between a hub and its cache?

use super::repository::Repository;
use std::path::PathBuf;
use untangle_schema::{Classify, Fault};

/// A request to a hub, or to its cache, that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text that is no hub id, revision or path in a repository.
    #[error("`{given}` is no {what}; expected {expected}")]
    Name {
        /// What it should be.
        what: &'static str,
        /// What was given.
        given: String,
        /// Its form.
        expected: &'static str,
    },
    /// There is no folder to keep downloads in.
    #[error("there is no place for downloads: neither HF_HUB_CACHE, HF_HOME nor HOME is set; set HF_HOME to a folder")]
    NoCache,
    /// A setting that cannot be used: a proxy, a file of certificates.
    #[error("{what} `{given}` cannot be used: {reason}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub does not let anybody in without a token, or says so of what does not exist.
    #[error(
        "{repository}: the hub refuses access ({status}): it does not exist, or is private{}; check the name, {}",
        if *.token { " to others than the token's owner" } else { "" },
        if *.token { "and the token in HF_TOKEN or the token file" } else { "or set HF_TOKEN" }
    )]
    Refused {
        /// What was asked for.
        repository: Repository,
        /// HTTP status.
        status: u16,
        /// Whether a token was sent.
        token: bool,
    },
    /// A repository whose licence has to be accepted.
    #[error(
        "{repository}: access is restricted ({status}); accept its licence at {page}{}",
        if *.token { " with the account whose token is used" } else { " and set HF_TOKEN" }
    )]
    Gated {
        /// What was asked for.
        repository: Repository,
        /// HTTP status.
        status: u16,
        /// Where the licence is accepted.
        page: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// No such repository.
    #[error("{repository}: neither a folder here nor a repository at {endpoint}; check the name")]
    NoRepository {
        /// What was asked for.
        repository: Repository,
        /// The hub.
        endpoint: String,
    },
    /// No such branch, tag or commit.
    #[error("{repository}: it has no revision `{revision}`; name a branch, a tag or a commit of it")]
    NoRevision {
        /// The repository.
        repository: Repository,
        /// What was asked for.
        revision: String,
    },
    /// No such file, or none of a kind.
    #[error("{repository}: revision {revision} has no {file}{}", some_of(.found))]
    NoFile {
        /// The repository.
        repository: Repository,
        /// Its revision.
        revision: String,
        /// The file, or what kind of file.
        file: String,
        /// What is there instead.
        found: Vec<String>,
    },
    /// The hub is overloaded, limits requests or fails.
    #[error("{url}: the hub answers {status} ({}), {attempts} times; {}", reason(*.status), advice(*.status, *.wait))]
    Busy {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// How often.
        attempts: u32,
        /// Seconds that the hub asks to wait.
        wait: Option<u64>,
    },
    /// No connection.
    #[error("{url}: no answer ({reason}), {attempts} times; check the network, or use the cache with --offline")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        reason: String,
        /// How often.
        attempts: u32,
    },
    /// A transfer that stopped in mid-file.
    #[error(
        "{url}: the transfer stopped at {got} of {} bytes ({reason}), {attempts} times{}; the same command \
         continues from there",
        .expected.map_or_else(|| "unknown many".to_owned(), |n| n.to_string()),
        if *.progress { "" } else { " without progress" }
    )]
    Stopped {
        /// The file.
        url: String,
        /// Bytes that are here.
        got: u64,
        /// Bytes that the file has.
        expected: Option<u64>,
        /// Why.
        reason: String,
        /// How often.
        attempts: u32,
        /// Whether some bytes came each time.
        progress: bool,
    },
    /// A file that arrived with another content than the hub announced.
    #[error("{url}: what arrived is not what the hub announced: {what}; it was removed, fetch it again")]
    Damaged {
        /// The file.
        url: String,
        /// What differs.
        what: String,
    },
    /// An answer that no hub gives.
    #[error("{url}: unexpected answer: {what}; is HF_ENDPOINT a hub?")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// A file that is larger than any of its kind, or does not end.
    #[error(
        "{url}: it is longer than {limit} bytes, where no such file is; nothing of it was kept, look at what the hub holds"
    )]
    Endless {
        /// The file.
        url: String,
        /// Most bytes that are fetched.
        limit: u64,
    },
    /// A file of the hub whose name is none here.
    #[error(
        "{repository}: its file `{name}` cannot be kept under that name; rename it in the repository, or name other files"
    )]
    OddName {
        /// The repository.
        repository: Repository,
        /// What the hub calls the file.
        name: String,
    },
    /// Nothing may be fetched, and the cache lacks something.
    #[error("{repository}: offline, and the cache {} has no {missing}; to fetch it, leave out --offline and unset HF_HUB_OFFLINE", .cache.display())]
    Offline {
        /// The repository.
        repository: Repository,
        /// What is missing.
        missing: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The user asked to stop.
    #[error("interrupted while fetching {repository}; the same command continues from there")]
    Interrupted {
        /// What was being fetched.
        repository: Repository,
    },
}

impl HubError {
    /// Turns what the system said about `path` into an error of the hub.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> HubError {
        move |source| HubError::Io { path: path.to_owned(), source }
    }

    /// Whether the user asked to stop.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self, HubError::Interrupted { .. })
    }

    /// Whether no answer came at all, so that what is in the cache is the best there is.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, HubError::Unreachable { .. } | HubError::Busy { .. })
    }
}

/// Some of the files that are there.
fn some_of(files: &[String]) -> String {
    match files {
        [] => String::new(),
        few if few.len() <= 6 => format!("; it has {}", few.join(", ")),
        many => format!("; it has {} and {} more", many[..6].join(", "), many.len() - 6),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        429 => "too many requests",
        500 => "internal error",
        503 => "not available",
        _ => "not now",
    }
}

fn advice(status: u16, wait: Option<u64>) -> String {
    match (wait, status) {
        (Some(seconds), _) => format!("it asks to wait {seconds} s; try again then"),
        (None, 429) => "wait some minutes, or set HF_TOKEN for a higher limit".to_owned(),
        (None, _) => "try again later".to_owned(),
    }
}

impl Classify for HubError {
    fn fault(&self) -> Fault {
        use HubError as E;
        match self {
            E::Name { .. } | E::NoCache | E::Setting { .. } => Fault::Usage,
            E::Refused { .. } | E::Gated { .. } | E::NoRepository { .. } | E::NoRevision { .. } => Fault::BadInput,
            E::NoFile { .. } | E::Offline { .. } | E::OddName { .. } => Fault::BadInput,
            E::Busy { .. } | E::Unreachable { .. } | E::Stopped { .. } | E::Damaged { .. } => Fault::Io,
            E::Answer { .. } | E::Endless { .. } | E::Io { .. } => Fault::Io,
            E::Interrupted { .. } => Fault::Interrupted,
        }
    }
}
