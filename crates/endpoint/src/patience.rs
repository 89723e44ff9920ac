//! Which failures are worth asking again, and when?
//!
//! Busy and failing endpoints and broken connections are asked again, at doubled distances or when the endpoint says
//! (`Retry-After`, in seconds or as a date). While one request waits because the endpoint is busy, no other is begun.

use crate::error::EndpointError;
use crate::options::Retry;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use untangle_schema::Observer;
use ureq::http::HeaderMap;

/// How often an interruption is looked for while waiting.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Why an attempt failed.
pub(crate) enum Failure {
    /// It will fail again.
    Final(EndpointError),
    /// The connection broke or never was.
    Broken(String),
    /// The endpoint asks to come again later, or has a fault that may pass.
    Busy { status: u16, wait: Option<Duration>, said: String },
    /// What came is no answer; the next may be one.
    NoAnswer(String),
}

impl Failure {
    /// What happened, for the note that it is tried again.
    fn reason(&self) -> String {
        match self {
            Failure::Final(error) => error.to_string(),
            Failure::Broken(reason) => reason.clone(),
            Failure::Busy { status, .. } => format!("answers {status}"),
            Failure::NoAnswer(what) => format!("what it answers is no chat completion ({what})"),
        }
    }

    /// The error that this is after so many attempts.
    fn into_error(self, url: &str, attempts: u32) -> EndpointError {
        let url = url.to_owned();
        match self {
            Failure::Final(error) => error,
            Failure::Broken(reason) => EndpointError::Unreachable { url, reason, attempts },
            Failure::NoAnswer(what) => EndpointError::NoAnswer { url, what },
            Failure::Busy { status, wait, said } => {
                EndpointError::Busy { url, status, attempts, wait: wait.map(|wait| wait.as_secs()), said }
            }
        }
    }
}

/// Holds all requests up while the endpoint wants nobody to come.
#[derive(Debug)]
pub(crate) struct Patience {
    retry: Retry,
    until: Mutex<Instant>,
}

impl Patience {
    pub(crate) fn new(retry: Retry) -> Self {
        Patience { retry, until: Mutex::new(Instant::now()) }
    }

    fn until(&self) -> MutexGuard<'_, Instant> {
        self.until.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until the endpoint may be asked.
    pub(crate) fn wait(&self, observer: &dyn Observer) -> Result<(), EndpointError> {
        loop {
            if observer.interrupted() {
                return Err(EndpointError::Interrupted);
            }
            let left = self.until().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Decides over another attempt after the `attempts`-th: sets the time before which nobody asks and says what to tell, unless
    /// another request that waits has told as much; or gives the error.
    pub(crate) fn again(&self, url: &str, failure: Failure, attempts: u32) -> Result<Option<String>, EndpointError> {
        let asked = match &failure {
            Failure::Final(_) => None,
            Failure::Busy { wait, .. } => Some(*wait),
            Failure::Broken(_) | Failure::NoAnswer(_) => Some(None),
        };
        let Some(wait) = asked.and_then(|asked| self.next_wait(attempts, asked)) else {
            return Err(failure.into_error(url, attempts));
        };
        let (mut until, now) = (self.until(), Instant::now());
        let is_told = *until > now;
        *until = (*until).max(now + wait);
        let told = || format!("{url}: {}; again in {:.0} s", failure.reason(), wait.as_secs_f64().ceil());
        Ok((!is_told).then(told))
    }

    /// How long to wait after so many attempts; none to give up.
    fn next_wait(&self, attempts: u32, asked: Option<Duration>) -> Option<Duration> {
        let retry = &self.retry;
        let growing = retry.first_wait.saturating_mul(1 << (attempts.max(1) - 1).min(16)).min(retry.longest_wait);
        match asked {
            _ if attempts >= retry.attempts => None,
            Some(asked) if asked > retry.longest_wait => None,
            Some(asked) => Some(asked.max(growing)),
            None => Some(growing),
        }
    }
}

/// How long the headers of an answer ask to wait.
pub(crate) fn asked_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    // Some of this form's endpoints are more exact than the standard.
    if let Some(milliseconds) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    let said = text("retry-after")?;
    match number(said) {
        Some(seconds) => Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
        None => date(said).map(|then| then.duration_since(now).unwrap_or_default()),
    }
}

/// A date as HTTP has it, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split([' ', ':']);
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let named = words.next()?;
    let month = MONTHS.iter().position(|month| *month == named)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = || words.next()?.parse::<u64>().ok().filter(|number| *number < 61);
    let (hour, minute, second) = (clock()?, clock()?, clock()?);
    // Years begin in March, so that the day that leap years have is the last of one (Hinnant, "chrono-compatible algorithms").
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    #[test]
    fn waits_double_and_the_endpoint_may_ask_for_more() {
        let seconds = Duration::from_secs;
        let patience = Patience::new(Retry { attempts: 4, first_wait: seconds(1), longest_wait: seconds(3) });
        let waits: Vec<_> = (1..=4).map(|attempts| patience.next_wait(attempts, None)).collect();
        assert_eq!(waits, [Some(seconds(1)), Some(seconds(2)), Some(seconds(3)), None]);
        assert_eq!(patience.next_wait(1, Some(seconds(3))), Some(seconds(3)));
        assert_eq!(patience.next_wait(2, Some(seconds(0))), Some(seconds(2)));
        assert_eq!(patience.next_wait(1, Some(seconds(4))), None, "longer than anybody waits");
    }

    #[test]
    fn the_wait_is_read_in_all_its_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            asked_wait(&headers, now)
        };
        assert_eq!(wait("retry-after", " 7 "), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        // The example of the standard, which is 784111777 seconds after 1970.
        assert_eq!(wait("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("retry-after", "1e300"), Some(Duration::MAX));
        for wrong in ["soon", "-1", "nan", "Sun, 99 Nov 1994 08:49:37 GMT", ", ", "Sun, 06 Nov 1994"] {
            assert_eq!(wait("retry-after", wrong), None, "{wrong}");
        }
        let leap = date("Thu, 29 Feb 2024 00:00:00 GMT").expect("a date");
        assert_eq!(leap, SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_164_800));
    }
}
