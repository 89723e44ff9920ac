//! How is a hub asked?

use super::answer::{self, FileFacts, failure, header};
use super::asked::Asked;
use super::connect;
use super::error::HubError;
use super::options::HubOptions;
use super::origin::{Origin, resolve};
use super::patience::{Failure, Patience};
use super::repository::{Repository, escape, is_commit};
use super::wire::{self, Answer, Question, Silence};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use untangle_schema::Observer;
use ureq::Agent;
use ureq::http::StatusCode;

/// Redirections that are followed.
const REDIRECTS: usize = 10;
/// Longest list of files that is read.
const LISTING_BYTES: usize = 64 << 20;

/// A hub, and who is waiting for it.
pub(crate) struct Client<'a> {
    agent: Agent,
    home: Origin,
    pub(crate) options: &'a HubOptions,
    pub(crate) observer: &'a dyn Observer,
}

impl<'a> Client<'a> {
    pub(crate) fn new(options: &'a HubOptions, observer: &'a dyn Observer) -> Result<Self, HubError> {
        let setting = |what, given: &str, reason: &str| HubError::Setting {
            what,
            given: given.to_owned(),
            reason: reason.to_owned(),
        };
        // Not the URL itself: it may hold a password.
        let home = Origin::of(&options.endpoint);
        let home = home.map_err(|reason| setting("the address of the hub", "HF_ENDPOINT", reason))?;
        if options.token.as_ref().is_some_and(|token| !token.fits_a_header()) {
            let reason = "it holds characters that no token has";
            return Err(setting("the token", "HF_TOKEN or the token file", reason));
        }
        Ok(Client { agent: connect::agent(options)?, home, options, observer })
    }

    /// How long the hub is waited for.
    pub(crate) fn patience(&self) -> Patience<'a> {
        Patience { retry: &self.options.retry, observer: self.observer }
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
    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        url: &str,
        asked: Asked<'_>,
    ) -> Result<(T, Option<String>, usize), HubError> {
        let refuse = |what: String| HubError::Answer { url: url.to_owned(), what };
        let bytes = self.patience().patiently(url, asked, || {
            let mut answer = self.get(url, None, asked)?;
            let next = answer::next_page(&answer.headers);
            let mut bytes = Vec::new();
            while let Some(chunk) = self.heard(url, asked, answer.next(self.observer))? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > LISTING_BYTES {
                    let what = format!("a list of more than {} MiB", LISTING_BYTES >> 20);
                    return Err(Failure::Final(refuse(what)));
                }
            }
            Ok((bytes, next))
        });
        let (bytes, next) = bytes?;
        let value = serde_json::from_slice(&bytes).map_err(|error| refuse(format!("not JSON ({error})")))?;
        let next = next.map(|next| resolve(url, &next).ok_or_else(|| refuse("its next page has no URL".to_owned())));
        let next = next.transpose()?;
        if next.as_deref().is_some_and(|next| Origin::of(next).as_ref() != Ok(&self.home)) {
            return Err(refuse("the list goes on at another host".to_owned()));
        }
        Ok((value, next, bytes.len()))
    }

    /// What the hub says about a file. Redirections to another host, where large files lie, are not followed: their
    /// facts come with the redirection.
    pub(crate) fn facts(&self, url: &str, asked: Asked<'_>) -> Result<FileFacts, HubError> {
        self.patience().patiently(url, asked, || {
            let question = self.question(url, true, None);
            let (answer, elsewhere) = self.follow(question, asked, |next| *next == self.home)?;
            match elsewhere || answer.status.is_success() {
                true => answer::facts(url, &answer.headers, elsewhere),
                false => Err(failure(self.options, url, answer.status, &answer.headers, asked)),
            }
        })
    }

    /// Opens a file from byte `from` on.
    pub(crate) fn get(&self, url: &str, from: Option<u64>, asked: Asked<'_>) -> Result<Answer, Failure> {
        let question = self.question(url, false, from.map(|byte| format!("bytes={byte}-")));
        let (answer, _) = self.follow(question, asked, |_| true)?;
        let past_the_end = from.is_some() && answer.status == StatusCode::RANGE_NOT_SATISFIABLE;
        if answer.status.is_success() || past_the_end {
            return Ok(answer);
        }
        Err(failure(self.options, url, answer.status, &answer.headers, asked))
    }

    /// What came of an answer, or why nothing did.
    pub(crate) fn heard<T>(&self, url: &str, asked: Asked<'_>, came: Result<T, Silence>) -> Result<T, Failure> {
        came.map_err(|silence| match silence {
            Silence::Interrupted => Failure::Final(HubError::Interrupted { repository: asked.repository.clone() }),
            Silence::Failed(error) => answer::connection(url, *error),
            Silence::Broken(reason) => Failure::Connection(reason),
        })
    }

    fn question(&self, url: &str, head: bool, range: Option<String>) -> Question {
        let retry = &self.options.retry;
        let patience = if head { retry.answer } else { retry.silence };
        Question { url: url.to_owned(), head, authorization: None, range, patience }
    }

    /// Asks, and follows redirections to where `further` lets them go; says also whether it stopped before one. The
    /// only place from which requests are sent.
    fn follow(
        &self,
        mut question: Question,
        asked: Asked<'_>,
        further: impl Fn(&Origin) -> bool,
    ) -> Result<(Answer, bool), Failure> {
        let first = question.url.clone();
        let refuse = |what: String| Failure::Final(HubError::Answer { url: first.clone(), what });
        let mut way = Vec::new();
        for _ in 0..=REDIRECTS {
            let origin = Origin::of(&question.url).map_err(|reason| refuse(format!("a URL of which {reason}")))?;
            way.push(origin.clone());
            let token = self.options.token.as_ref().filter(|_| self.home.takes_token_along(&way));
            question.authorization = token.map(|token| format!("Bearer {}", token.secret()));
            let came = wire::ask(&self.agent, question.clone(), self.observer);
            let answer = self.heard(&question.url, asked, came)?;
            let location = header(&answer.headers, "location").filter(|_| answer.status.is_redirection());
            let Some(location) = location else { return Ok((answer, false)) };
            let next = resolve(&question.url, location).ok_or_else(|| refuse("a redirection to no URL".to_owned()))?;
            let to = Origin::of(&next).map_err(|reason| refuse(format!("a redirection to a URL: {reason}")))?;
            if !origin.may_lead_to(&to) {
                return Err(refuse("a redirection from an encrypted connection to one that is not".to_owned()));
            }
            if !further(&to) {
                return Ok((answer, true));
            }
            question.url = next;
        }
        Err(refuse(format!("more than {REDIRECTS} redirections")))
    }
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
        let (answer, _, _) = self.json::<Revision>(&url, Asked { repository, revision, file: None })?;
        let refuse = |what: &str| HubError::Answer { url: url.clone(), what: what.to_owned() };
        let commit = answer.sha.filter(|sha| is_commit(sha)).ok_or_else(|| refuse("it names no commit"))?;
        let files = answer.siblings.ok_or_else(|| refuse("it lists no files"))?;
        Ok(Listing { commit, files: files.into_iter().map(|file| file.rfilename).collect() })
    }
}

/// What is read of the hub's description of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: Option<String>,
    siblings: Option<Vec<Sibling>>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}
