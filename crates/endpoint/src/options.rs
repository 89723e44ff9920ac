//! Where is the endpoint, how is it asked, and what may that cost?

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A secret that proves who asks; shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Takes a key without the white space around it; none where nothing is left, or it cannot be sent.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Key(text.to_owned()))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How failed requests are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts at one request before giving up.
    pub attempts: u32,
    /// Wait before the second attempt; doubled before every further one.
    pub first_wait: Duration,
    /// Longest wait, also of those that the endpoint asks for: longer ones are told to the user instead.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        // Six attempts wait 31 s in all: endpoints count requests by the minute, and say themselves when that is not enough.
        Retry { attempts: 6, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(120) }
    }
}

/// What may be spent; what was answered before costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Tokens of prompts and answers together.
    pub tokens: Option<u64>,
    /// Requests, repeated ones included.
    pub requests: Option<u64>,
}

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOptions {
    /// URL of the API, such as `http://localhost:8000/v1`, or of its `chat/completions`.
    pub url: String,
    /// The model that answers.
    pub model: String,
    /// Proves who asks.
    pub key: Option<Key>,
    /// Requests under way at a time.
    pub parallel: usize,
    /// What may be spent.
    pub budget: Budget,
    /// Tokens of an answer at most, reasoning included.
    pub answer_tokens: u32,
    /// Time within which an answer has to come.
    pub timeout: Duration,
    /// How failed requests are repeated.
    pub retry: Retry,
    /// Whether only what was answered before is taken.
    pub offline: bool,
    /// File that answers are kept in.
    pub answers: Option<PathBuf>,
    /// URL of a proxy; not for endpoints on this machine.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// PEM file of the certificates that are trusted instead of Mozilla's list.
    pub certificates: Option<PathBuf>,
}

impl EndpointOptions {
    /// Asks this model at this place, and keeps nothing.
    pub fn new(url: &str, model: &str) -> Self {
        EndpointOptions {
            url: url.to_owned(),
            model: model.to_owned(),
            key: None,
            parallel: 4,
            budget: Budget::default(),
            answer_tokens: 2048,
            timeout: Duration::from_secs(300),
            retry: Retry::default(),
            offline: false,
            answers: None,
            proxy: None,
            no_proxy: None,
            certificates: None,
        }
    }

    /// What the environment says of proxies (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in capitals or not) and of
    /// certificates (`REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`); `variable` looks one up.
    pub fn with_environment(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let raw = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| raw(name).and_then(|value| value.into_string().ok());
        let either = |name: &str| text(name).or_else(|| text(&name.to_ascii_lowercase()));
        let encrypted = self.url.trim_start().to_ascii_lowercase().starts_with("https:");
        let own = if encrypted { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        self.proxy = ["ALL_PROXY", own].into_iter().find_map(either);
        self.no_proxy = either("NO_PROXY");
        self.certificates = raw("REQUESTS_CA_BUNDLE").or_else(|| raw("SSL_CERT_FILE")).map(PathBuf::from);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_to_nobody_and_only_taken_where_they_can_be_sent() {
        assert!(!format!("{:?}", Key::new(" secret\n")).contains("secret"));
        assert_eq!(Key::new(" secret\n").map(|key| key.secret().to_owned()), Some("secret".to_owned()));
        assert_eq!([Key::new(" "), Key::new("two words"), Key::new("é")], [None, None, None]);
    }

    #[test]
    fn the_proxy_is_that_of_the_scheme() {
        let proxy = |url: &str| {
            let known = [("https_proxy", "http://s:1"), ("HTTP_PROXY", "http://p:1"), ("no_proxy", "a,b")];
            let variable = |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, v)| OsString::from(v));
            let options = EndpointOptions::new(url, "m").with_environment(variable);
            (options.proxy.unwrap_or_default(), options.no_proxy.unwrap_or_default())
        };
        assert_eq!(proxy("https://x/v1"), ("http://s:1".to_owned(), "a,b".to_owned()));
        assert_eq!(proxy("http://x/v1").0, "http://p:1");
    }
}
