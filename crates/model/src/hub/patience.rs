//! Which failures are worth asking again, and when?
//!
//! Busy and failing hubs and broken connections are asked again, at growing distances or when the hub says; what will
//! not change by itself is an error at once.

use super::asked::Asked;
use super::error::HubError;
use super::options::Retry;
use std::time::{Duration, Instant};
use untangle_schema::{Event, Observer};

/// How often an interruption is looked for while waiting.
const LOOK: Duration = Duration::from_millis(100);

/// Why an attempt failed.
pub(crate) enum Failure {
    /// It will fail again.
    Final(HubError),
    /// The connection broke or never was.
    Connection(String),
    /// The hub asks to come again.
    Status { status: u16, wait: Option<u64> },
}

/// How long a hub is waited for, and who is waiting.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub(crate) retry: &'a Retry,
    pub(crate) observer: &'a dyn Observer,
}

impl Patience<'_> {
    /// Repeats `attempt` as long as it makes sense.
    pub(crate) fn patiently<T>(
        &self,
        url: &str,
        asked: Asked<'_>,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let mut attempts = 0;
        loop {
            let failure = match attempt() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            attempts += 1;
            self.wait_or_give_up(url, asked, failure, attempts)?;
        }
    }

    /// Waits before the attempt after the `attempts`-th one, or says why there will be none.
    pub(crate) fn wait_or_give_up(
        &self,
        url: &str,
        asked: Asked<'_>,
        failure: Failure,
        attempts: u32,
    ) -> Result<(), HubError> {
        let asked_wait = match &failure {
            Failure::Final(_) => None,
            Failure::Connection(_) => Some(None),
            Failure::Status { wait, .. } => Some(*wait),
        };
        let wait = asked_wait.and_then(|wait| next_wait(self.retry, attempts, wait));
        let Some(wait) = wait else { return Err(failure.into_error(url, attempts)) };
        let text = format!("{url}: {}; again in {:.0} s", failure.reason(), wait.as_secs_f64().ceil());
        self.observer.event(Event::Note(&text));
        self.sleep(wait, asked)
    }

    fn sleep(&self, wait: Duration, asked: Asked<'_>) -> Result<(), HubError> {
        let until = Instant::now() + wait;
        loop {
            if self.observer.interrupted() {
                return Err(HubError::Interrupted { repository: asked.repository.clone() });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

impl Failure {
    pub(crate) fn reason(&self) -> String {
        match self {
            Failure::Final(error) => error.to_string(),
            Failure::Connection(reason) => reason.clone(),
            Failure::Status { status, .. } => format!("the hub answers {status}"),
        }
    }

    /// The error that this is after so many attempts.
    pub(crate) fn into_error(self, url: &str, attempts: u32) -> HubError {
        let url = url.to_owned();
        match self {
            Failure::Final(error) => error,
            Failure::Connection(reason) => HubError::Unreachable { url, reason, attempts },
            Failure::Status { status, wait } => HubError::Busy { url, status, attempts, wait },
        }
    }
}

/// How long to wait after so many attempts; none to give up.
fn next_wait(retry: &Retry, attempts: u32, asked: Option<u64>) -> Option<Duration> {
    if attempts >= retry.attempts {
        return None;
    }
    let growing = retry.first_wait.saturating_mul(1 << (attempts - 1).min(16)).min(retry.longest_wait);
    match asked.map(Duration::from_secs) {
        Some(asked) if asked > retry.longest_wait => None,
        Some(asked) => Some(asked.max(growing)),
        None => Some(growing),
    }
}
