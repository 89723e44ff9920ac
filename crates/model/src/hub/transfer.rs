//! How does one file come from a hub into the cache, whatever stops it?
//!
//! Content arrives in an unfinished blob. A transfer that breaks goes on at the byte that it had come to, in this run
//! or a later one; what is complete is compared with what the hub announced before it gets its name.

use super::answer::{FileFacts, header};
use super::asked::Asked;
use super::cache::{Cache, make_parent};
use super::client::Client;
use super::error::HubError;
use super::patience::Failure;
use super::repository::{Repository, is_inside};
use super::wire::Answer;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use untangle_schema::{Event, Unit};
use ureq::http::StatusCode;

/// Most bytes of a small file, and of one whose size the hub does not say.
const SMALL: u64 = 256 << 20;
const UNSIZED: u64 = 64 << 30;
/// Bytes of a file for which a transfer may break once more, beyond [`BREAKS`] times, in each of its attempts.
const BREAK_EVERY: u64 = 1 << 20;
const BREAKS: u64 = 10;

/// Fetches files of one commit.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client<'a>,
    pub(crate) cache: &'a Cache,
    pub(crate) repository: &'a Repository,
    pub(crate) commit: &'a str,
}

/// Counts the bytes of a task.
pub(crate) struct Progress {
    done: u64,
    fetched: u64,
    since: Instant,
}

impl Progress {
    /// A task that is not begun.
    pub(crate) fn new() -> Self {
        Progress { done: 0, fetched: 0, since: Instant::now() }
    }
}

/// A file that has to be fetched, with what the hub says of it.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) facts: FileFacts,
    /// Most bytes that are taken.
    limit: u64,
}

impl Transfer<'_> {
    /// Fetches small files without ado, those that are in the cache excepted.
    pub(crate) fn fetch_quietly(&self, names: &[&str]) -> Result<(), HubError> {
        for name in names.iter().filter(|name| self.cache.file(self.commit, name).is_none()) {
            let facts = self.facts(name)?;
            self.fetch(&Wanted { name, facts, limit: SMALL }, &mut Progress::new())?;
        }
        Ok(())
    }

    /// Fetches files with a report of the bytes that have come.
    pub(crate) fn fetch_visibly(&self, task: &str, names: &[&str]) -> Result<(), HubError> {
        let missing = names.iter().filter(|name| self.cache.file(self.commit, name).is_none());
        let wanted = missing.map(|name| {
            let facts = self.facts(name)?;
            let limit = facts.size.unwrap_or(UNSIZED);
            Ok(Wanted { name, facts, limit })
        });
        let wanted = wanted.collect::<Result<Vec<_>, HubError>>()?;
        if wanted.is_empty() {
            return Ok(());
        }
        let total = wanted.iter().map(|file| file.facts.size.unwrap_or(0)).fold(0, u64::saturating_add);
        let here = |file: &Wanted<'_>| self.bytes_here(&file.facts);
        let done = wanted.iter().map(here).sum();
        let observer = self.client.observer;
        observer.event(Event::Started { task, unit: Unit::Bytes, done, total });
        let mut progress = Progress::new();
        wanted.iter().try_for_each(|file| self.fetch(file, &mut progress).map(|_| ()))?;
        observer.event(Event::Finished);
        Ok(())
    }

    fn asked<'b>(&'b self, name: &'b str) -> Asked<'b> {
        Asked { repository: self.repository, revision: self.commit, file: Some(name) }
    }

    fn facts(&self, name: &str) -> Result<FileFacts, HubError> {
        if !is_inside(name) {
            return Err(HubError::OddName { repository: self.repository.clone(), name: name.to_owned() });
        }
        self.client.facts(&self.client.file_url(self.repository, self.commit, name), self.asked(name))
    }

    /// Bytes of a content that are in the cache.
    fn bytes_here(&self, facts: &FileFacts) -> u64 {
        let whole = fs::metadata(self.cache.blob(&facts.etag)).map(|about| about.len());
        whole.or_else(|_| fs::metadata(self.cache.incomplete(&facts.etag)).map(|about| about.len())).unwrap_or(0)
    }

    /// Fetches a file, or gives a content that is here its name.
    fn fetch(&self, wanted: &Wanted<'_>, progress: &mut Progress) -> Result<PathBuf, HubError> {
        let etag = &wanted.facts.etag;
        let observer = self.client.observer;
        let claim = self.cache.lock(etag, &|| observer.interrupted())?;
        let Some(_claim) = claim else {
            return Err(HubError::Interrupted { repository: self.repository.clone() });
        };
        let blob = self.cache.blob(etag);
        if blob.is_file() {
            progress.done += self.bytes_here(&wanted.facts);
        } else {
            let unfinished = self.cache.incomplete(etag);
            self.complete(wanted, &unfinished, progress)?;
            fs::rename(&unfinished, &blob).map_err(HubError::io(&blob))?;
        }
        self.cache.link(self.commit, wanted.name, etag)
    }

    /// Brings an unfinished blob to its end.
    fn complete(&self, wanted: &Wanted<'_>, path: &Path, progress: &mut Progress) -> Result<(), HubError> {
        make_parent(path)?;
        let options = File::options().read(true).append(true).create(true).open(path);
        let mut file = options.map_err(HubError::io(path))?;
        let url = self.client.file_url(self.repository, self.commit, wanted.name);
        let mut got = file.metadata().map_err(HubError::io(path))?.len();
        let (before, mut attempts, mut breaks) = (progress.done, 0, 0);
        // What a server sends again from the begin is no progress.
        let mut furthest = got;
        loop {
            progress.done = before + got;
            let failure = match self.attempt(wanted, (&mut file, path), &url, &mut got, progress) {
                Ok(()) => break,
                Err(failure) => {
                    attempts = if got > furthest { 1 } else { attempts + 1 };
                    furthest = furthest.max(got);
                    failure
                }
            };
            breaks += 1;
            let most = u64::from(self.client.options.retry.attempts).saturating_mul(BREAKS + got / BREAK_EVERY);
            let reason = failure.reason();
            let broken = matches!(failure, Failure::Connection(_));
            let too_often = breaks > most && !matches!(failure, Failure::Final(_));
            let waited = match too_often {
                true => Err(failure.into_error(&url, breaks.try_into().unwrap_or(u32::MAX))),
                false => self.client.patience().wait_or_give_up(&url, self.asked(wanted.name), failure, attempts),
            };
            match waited {
                Err(HubError::Unreachable { attempts, .. }) if broken && got > 0 => {
                    let (expected, progress) = (wanted.facts.size, too_often);
                    return Err(HubError::Stopped { url, got, expected, reason, attempts, progress });
                }
                waited => waited?,
            }
        }
        file.sync_data().map_err(HubError::io(path))?;
        self.verify(wanted, &mut file, path, &url)
    }

    /// One request: appends what comes.
    fn attempt(
        &self,
        wanted: &Wanted<'_>,
        (file, path): (&mut File, &Path),
        url: &str,
        got: &mut u64,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if wanted.facts.size.is_some_and(|size| *got == size) {
            return Ok(());
        }
        if wanted.facts.size.is_some_and(|size| size > wanted.limit) {
            return Err(Failure::Final(HubError::Endless { url: url.to_owned(), limit: wanted.limit }));
        }
        let answer = self.client.get(url, (*got > 0).then_some(*got), self.asked(wanted.name))?;
        if *got > 0 && begins_at(&answer) != Some(*got) {
            // The hub sends the whole file, or has no such byte: what is here is worth nothing.
            file.set_len(0).map_err(|error| Failure::Final(HubError::io(path)(error)))?;
            progress.done -= *got;
            *got = 0;
            if !answer.status.is_success() {
                return Err(Failure::Connection("the hub does not have the byte to go on from".to_owned()));
            }
        }
        self.append(answer, (file, path), (wanted, url), got, progress)
    }

    fn append(
        &self,
        mut answer: Answer,
        (file, path): (&mut File, &Path),
        (wanted, url): (&Wanted<'_>, &str),
        got: &mut u64,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let observer = self.client.observer;
        while let Some(chunk) = self.client.heard(url, self.asked(wanted.name), answer.next(observer))? {
            file.write_all(&chunk).map_err(|error| Failure::Final(HubError::io(path)(error)))?;
            *got += chunk.len() as u64;
            match wanted.facts.size {
                // What is wrong is found when the file is compared.
                Some(size) if *got > size => return Ok(()),
                None if *got > wanted.limit => {
                    fs::remove_file(path).map_err(|error| Failure::Final(HubError::io(path)(error)))?;
                    return Err(Failure::Final(HubError::Endless { url: url.to_owned(), limit: wanted.limit }));
                }
                _ => {}
            }
            progress.done += chunk.len() as u64;
            progress.fetched += chunk.len() as u64;
            let speed = progress.fetched as f64 / 1e6 / progress.since.elapsed().as_secs_f64().max(1e-9);
            observer.event(Event::Advanced { done: progress.done, figures: &[("MB/s", speed)] });
        }
        match wanted.facts.size {
            Some(size) if *got < size => Err(Failure::Connection("the connection was closed".to_owned())),
            _ => Ok(()),
        }
    }

    /// Compares what came with what was announced; what differs is removed.
    fn verify(&self, wanted: &Wanted<'_>, file: &mut File, path: &Path, url: &str) -> Result<(), HubError> {
        let found = file.metadata().map_err(HubError::io(path))?.len();
        let difference = match wanted.facts.size {
            Some(size) if size != found => Some(format!("{found} bytes instead of {size}")),
            _ if is_sha256(&wanted.facts.etag) => {
                let hash = sha256(file, &|| self.client.observer.interrupted()).map_err(HubError::io(path))?;
                let Some(hash) = hash else {
                    return Err(HubError::Interrupted { repository: self.repository.clone() });
                };
                let differs = !hash.eq_ignore_ascii_case(&wanted.facts.etag);
                differs.then(|| format!("SHA-256 {hash} instead of {}", wanted.facts.etag))
            }
            _ => None,
        };
        match difference {
            None => Ok(()),
            Some(what) => {
                fs::remove_file(path).map_err(HubError::io(path))?;
                Err(HubError::Damaged { url: url.to_owned(), what })
            }
        }
    }
}

/// The byte of the file with which a response begins.
fn begins_at(answer: &Answer) -> Option<u64> {
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let range = header(&answer.headers, "content-range")?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Large files are named by their SHA-256, small ones by git's hash of them, which is half as long.
fn is_sha256(etag: &str) -> bool {
    etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Hash of a file; none where `stop` says so.
fn sha256(file: &mut File, stop: &dyn Fn() -> bool) -> std::io::Result<Option<String>> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Some(format!("{:x}", hash.finalize())));
        }
        hash.update(&buffer[..n]);
        if stop() {
            return Ok(None);
        }
    }
}
