//! How is a hub asked?

use super::answer::{self, FileFacts, header};
use super::connect;
use super::error::HubError;
use super::options::HubOptions;
use super::patience::Failure;
use super::repository::{Repository, escape, is_commit};
use untangle_schema::Observer;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, RequestBuilder};

/// Redirections inside the hub that are followed.
const REDIRECTS: u32 = 5;
/// Longest list of files that is read.
const LISTING_BYTES: u64 = 64 << 20;

/// A hub, and who is waiting for it.
pub(crate) struct Client<'a> {
    agent: Agent,
    pub(crate) options: &'a HubOptions,
    pub(crate) observer: &'a dyn Observer,
}

/// What is asked for, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) revision: &'a str,
    pub(crate) file: Option<&'a str>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(options: &'a HubOptions, observer: &'a dyn Observer) -> Result<Self, HubError> {
        Ok(Client { agent: connect::agent(options)?, options, observer })
    }

    /// URL of a part of the hub.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.options.endpoint)
    }

    /// URL of a file.
    pub(crate) fn file_url(&self, repository: &Repository, commit: &str, file: &str) -> String {
        self.url(&format!("{}/resolve/{}/{}", repository.page(), escape(commit, b""), escape(file, b"/")))
    }

    /// The JSON at a URL, and the URL of the list's next page.
    pub(crate) fn json(&self, url: &str, asked: Asked<'_>) -> Result<(serde_json::Value, Option<String>), HubError> {
        let bytes = self.patiently(url, asked, || {
            let mut response = self.get(url, None, asked)?;
            let next = answer::next_page(response.headers());
            let read = response.body_mut().with_config().limit(LISTING_BYTES).read_to_vec();
            Ok((read.map_err(|error| answer::connection(url, error))?, next))
        });
        let (bytes, next) = bytes?;
        let answer = |what: String| HubError::Answer { url: url.to_owned(), what };
        let value = serde_json::from_slice(&bytes).map_err(|error| answer(format!("not JSON ({error})")))?;
        Ok((value, next))
    }

    /// What the hub says about a file. Redirections to another host, where large files lie, are not followed: their
    /// facts come with the redirection.
    pub(crate) fn facts(&self, url: &str, asked: Asked<'_>) -> Result<FileFacts, HubError> {
        self.patiently(url, asked, || {
            let mut at = url.to_owned();
            for _ in 0..REDIRECTS {
                let request = self.agent.head(&at).config().max_redirects(0).build();
                let response = self.signed(request).call().map_err(|error| answer::connection(&at, error))?;
                let (status, headers) = (response.status(), response.headers());
                let location = header(headers, "location").filter(|_| status.is_redirection());
                match location.map(|location| within(&at, location)) {
                    Some(Some(next)) => at = next,
                    Some(_) => return answer::facts(url, headers, true),
                    None if status.is_success() => return answer::facts(url, headers, false),
                    None => return Err(self.failure(url, status, headers, asked)),
                }
            }
            Err(Failure::Final(HubError::Answer { url: url.to_owned(), what: "endless redirections".into() }))
        })
    }

    /// Opens a file from byte `from` on.
    pub(crate) fn get(&self, url: &str, from: Option<u64>, asked: Asked<'_>) -> Result<Response<Body>, Failure> {
        let request = self.signed(self.agent.get(url));
        let request = match from {
            Some(byte) => request.header("Range", format!("bytes={byte}-")),
            None => request,
        };
        let response = request.call().map_err(|error| answer::connection(url, error))?;
        let status = response.status();
        let past_the_end = from.is_some() && status == StatusCode::RANGE_NOT_SATISFIABLE;
        if status.is_success() || past_the_end {
            return Ok(response);
        }
        Err(self.failure(url, status, response.headers(), asked))
    }

    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.options.token {
            Some(token) => request.header("Authorization", format!("Bearer {}", token.secret())),
            None => request,
        }
    }
}

/// The address that a redirection leads to, if it stays on the same host.
fn within(url: &str, location: &str) -> Option<String> {
    let host_begins = url.find("://")? + 3;
    let host_ends = url[host_begins..].find('/').map_or(url.len(), |slash| host_begins + slash);
    let origin = &url[..host_ends];
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{origin}{location}"));
    }
    location.strip_prefix(origin).is_some_and(|path| path.starts_with('/')).then(|| location.to_owned())
}

/// The revision that a repository stands at, and its files.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: Vec<String>,
}

impl Client<'_> {
    /// Which commit a revision stands for and what files it has.
    pub(crate) fn listing(&self, repository: &Repository, revision: &str) -> Result<Listing, HubError> {
        let url = self.url(&format!("{}/revision/{}", repository.api(), escape(revision, b"")));
        let (answer, _) = self.json(&url, Asked { repository, revision, file: None })?;
        let commit = answer["sha"].as_str().filter(|sha| is_commit(sha));
        let refuse = |what: &str| HubError::Answer { url: url.clone(), what: what.to_owned() };
        let commit = commit.ok_or_else(|| refuse("it names no commit"))?.to_owned();
        let files = answer["siblings"].as_array().ok_or_else(|| refuse("it lists no files"))?;
        let files = files.iter().filter_map(|file| file["rfilename"].as_str()).map(str::to_owned).collect();
        Ok(Listing { commit, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_redirections_on_the_same_host_are_followed() {
        let from = "https://hub:8443/a/b/resolve/main/x";
        assert_eq!(within(from, "/c/d").as_deref(), Some("https://hub:8443/c/d"));
        assert_eq!(within(from, "https://hub:8443/c").as_deref(), Some("https://hub:8443/c"));
        for elsewhere in ["https://cdn/c", "//cdn/c", "http://hub:8443/c", "https://hub:84430/c", "c"] {
            assert_eq!(within(from, elsewhere), None, "{elsewhere}");
        }
    }
}
