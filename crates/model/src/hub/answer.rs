//! What do a hub's status and headers mean?

use super::asked::Asked;
use super::cache::INCOMPLETE;
use super::error::HubError;
use super::options::HubOptions;
use super::patience::Failure;
use super::repository::MAIN;
use ureq::http::{HeaderMap, StatusCode};

/// What the hub says about a file before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Names the content: SHA-256 for large files, git's hash for small ones.
    pub(crate) etag: String,
    pub(crate) size: Option<u64>,
}

/// What a status that is no success means.
pub(crate) fn failure(
    options: &HubOptions,
    url: &str,
    status: StatusCode,
    headers: &HeaderMap,
    asked: Asked<'_>,
) -> Failure {
    let (repository, token) = (asked.repository.clone(), options.token.is_some());
    let code = header(headers, "x-error-code").unwrap_or_default();
    let number = status.as_u16();
    let revision = asked.revision.to_owned();
    Failure::Final(match (number, code) {
        (408 | 425 | 429 | 500 | 502 | 503 | 504, _) => {
            let wait = header(headers, "retry-after").and_then(|text| text.trim().parse().ok());
            return Failure::Status { status: number, wait };
        }
        (401 | 403, "GatedRepo") | (403, _) => {
            let page = format!("{}/{}", options.endpoint, repository.page());
            HubError::Gated { repository, status: number, page, token }
        }
        (401, _) => HubError::Refused { repository, status: number, token },
        (404, "RepoNotFound") => HubError::NoRepository { repository, endpoint: options.endpoint.clone() },
        (404, "RevisionNotFound") => HubError::NoRevision { repository, revision },
        (404, _) => match asked.file {
            Some(file) => HubError::NoFile { repository, revision, file: file.to_owned(), found: Vec::new() },
            None if revision != MAIN => HubError::NoRevision { repository, revision },
            None => HubError::NoRepository { repository, endpoint: options.endpoint.clone() },
        },
        _ => HubError::Answer { url: url.to_owned(), what: format!("status {number}") },
    })
}

/// A header as text.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn facts(url: &str, headers: &HeaderMap, elsewhere: bool) -> Result<FileFacts, Failure> {
    let refuse = |what: &str| Failure::Final(HubError::Answer { url: url.to_owned(), what: what.to_owned() });
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
    let etag = etag.ok_or_else(|| refuse("it has no ETag"))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"');
    // It becomes the name of a file.
    let plain = etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let unfinished = etag.ends_with(INCOMPLETE);
    if etag.is_empty() || etag.len() > 128 || etag.starts_with('.') || !plain || unfinished {
        return Err(refuse("its ETag is not the name of a content"));
    }
    let own = header(headers, "content-length").filter(|_| !elsewhere);
    let size = header(headers, "x-linked-size").or(own).and_then(|text| text.trim().parse().ok());
    Ok(FileFacts { etag: etag.to_owned(), size })
}

/// What a broken connection means. Errors of this side, such as a URL that is none, will not go away.
pub(crate) fn connection(url: &str, error: ureq::Error) -> Failure {
    use ureq::Error as E;
    match error {
        E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => {
            Failure::Connection(error.to_string())
        }
        other => Failure::Final(HubError::Answer { url: url.to_owned(), what: other.to_string() }),
    }
}

/// The address after `rel="next"` of a list in pages.
pub(crate) fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = header(headers, "link")?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    Some(next.split('<').nth(1)?.split('>').next()?.to_owned())
}
