//! What can go wrong when an endpoint is asked.

use std::io;
use std::path::{Path, PathBuf};
use untangle_schema::{Classify, Fault};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// A setting that cannot be used.
    #[error("{what} `{given}`: {reason}")]
    Setting {
        /// What is set.
        what: &'static str,
        /// What was given; never a secret.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The endpoint wants to know who asks, or does not want him.
    #[error("{url}: answers {status}{}; {}", quoted(.said), remedy(*.key))]
    Refused {
        /// Where was asked.
        url: String,
        /// Its status.
        status: u16,
        /// What it says.
        said: String,
        /// Whether a key was sent.
        key: bool,
    },
    /// There is nothing at this address, or no such model.
    #[error(
        "{url}: answers 404{}; the URL is that of an API, such as http://localhost:8000/v1, and `{model}` one of its models",
        quoted(.said)
    )]
    Absent {
        /// Where was asked.
        url: String,
        /// The model that was asked for.
        model: String,
        /// What it says.
        said: String,
    },
    /// The endpoint does not take this request, however often it is sent.
    #[error("{url}: answers {status}{}", quoted(.said))]
    NotTaken {
        /// Where was asked.
        url: String,
        /// Its status.
        status: u16,
        /// What it says.
        said: String,
    },
    /// The endpoint is busy or failing, and stayed so.
    #[error("{url}: answers {status} after {attempts} attempts{}{}; the same command goes on later", asks(*.wait), quoted(.said))]
    Busy {
        /// Where was asked.
        url: String,
        /// Its status.
        status: u16,
        /// How often it was asked.
        attempts: u32,
        /// Seconds that it asks to wait, where that is longer than anybody waits here.
        wait: Option<u64>,
        /// What it says.
        said: String,
    },
    /// No connection, or one that breaks.
    #[error("{url}: {reason}, after {attempts} attempts; is the endpoint running? the same command goes on")]
    Unreachable {
        /// Where was asked.
        url: String,
        /// What happened.
        reason: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// What came is no answer of a chat endpoint.
    #[error("{url}: what it answers is no chat completion ({what})")]
    NoAnswer {
        /// Where was asked.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The budget does not hold another request.
    #[error("{what} ({spent}); where more is allowed, the same command goes on")]
    Spent {
        /// What is at its end, in words.
        what: String,
        /// How much was spent, in words.
        spent: String,
        /// Tokens of the prompt that was not sent, about.
        prompt_tokens: u64,
    },
    /// Nobody may be asked, and this was not asked before.
    #[error("offline, and not all of this was asked before; leave --offline out")]
    Offline,
    /// The user asked to stop.
    #[error("stopped before the end; answers so far are kept")]
    Interrupted,
    /// The file of answers is something else.
    #[error("{path} is not a file of answers of Untangle; name another one", path = .path.display())]
    NotAnswers {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the file of answers.
    #[error("{path}: another process keeps its answers there; wait until it is done, or name another file", path = .path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl EndpointError {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| EndpointError::Io { path: path.to_owned(), source }
    }

    /// Whether it speaks of one request, so that others may still be answered.
    pub fn is_of_one_request(&self) -> bool {
        matches!(self, EndpointError::NotTaken { .. } | EndpointError::NoAnswer { .. } | EndpointError::Offline)
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

fn asks(wait: Option<u64>) -> String {
    wait.map_or_else(String::new, |seconds| format!(" and asks to wait {seconds} s"))
}

fn remedy(key: bool) -> &'static str {
    match key {
        true => "the key may not do this, see --key-env",
        false => "it wants a key: set OPENAI_API_KEY, or name another variable with --key-env",
    }
}

impl Classify for EndpointError {
    fn fault(&self) -> Fault {
        use EndpointError as E;
        match self {
            E::Setting { .. } => Fault::Usage,
            E::Io { source, .. } => Fault::of_file(source),
            E::Refused { .. } | E::Absent { .. } | E::NotTaken { .. } | E::NotAnswers { .. } | E::Offline => {
                Fault::BadInput
            }
            E::Busy { .. } | E::Unreachable { .. } | E::NoAnswer { .. } | E::Taken { .. } => Fault::Io,
            E::Spent { .. } | E::Interrupted => Fault::Interrupted,
        }
    }
}
