//! Where is the hub, where do its files go, and how patient are we?
//!
//! The names and defaults are those of Python's `huggingface_hub`, so that one setting serves both.

use super::error::HubError;
use super::expand;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// The public hub.
const PUBLIC: &str = "https://huggingface.co";

/// A secret; shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token without line breaks and the white space around it; none where nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.replace(['\r', '\n'], "");
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    /// Whether it can be sent.
    pub(crate) fn fits_a_header(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How failed requests are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in a row without progress before giving up.
    pub attempts: u32,
    /// Wait before the second attempt; doubled before every further one.
    pub first_wait: Duration,
    /// Longest wait, also of those that the hub asks for: longer ones are told to the user instead.
    pub longest_wait: Duration,
    /// Silence after which a connection counts as dead.
    pub silence: Duration,
    /// The same while waiting for what the hub says of a file.
    pub answer: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            answer: Duration::from_secs(60),
        }
    }
}

/// How a hub is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubOptions {
    /// URL of the hub, without a slash at the end.
    pub endpoint: String,
    /// Folder of the cache, the one that holds `models--owner--name`.
    pub cache: PathBuf,
    /// Proves who asks.
    pub token: Option<Token>,
    /// Use what is in the cache and ask nobody.
    pub offline: bool,
    /// URL of a proxy.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// PEM file of the certificates that are trusted instead of Mozilla's list.
    pub certificates: Option<PathBuf>,
    /// How failed requests are repeated.
    pub retry: Retry,
}

impl HubOptions {
    /// The public hub with this cache, and nothing else.
    pub fn with_cache(cache: PathBuf) -> Self {
        HubOptions {
            endpoint: PUBLIC.to_owned(),
            cache,
            token: None,
            offline: false,
            proxy: None,
            no_proxy: None,
            certificates: None,
            retry: Retry::default(),
        }
    }

    /// What the environment says; `variable` looks one up.
    ///
    /// - place: `HF_ENDPOINT`
    /// - cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    ///   `HOME/.cache/huggingface/hub`
    /// - token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH` or `HF_HOME/token`; none where
    ///   `HF_HUB_DISABLE_IMPLICIT_TOKEN` is on
    /// - offline: the first that is set of `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`
    /// - patience in seconds: `HF_HUB_DOWNLOAD_TIMEOUT`, `HF_HUB_ETAG_TIMEOUT`
    /// - proxy: `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in capitals or not
    /// - certificates: `REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`
    ///
    /// `~`, `$NAME` and `${NAME}` in paths of cache and token mean what they mean to Python, and so does a path that is
    /// empty: it is the current folder. Of other variables, what is empty counts as not set.
    ///
    /// # Errors
    /// [`HubError::NoCache`] where no folder is named, [`HubError::Io`] where the token file cannot be read,
    /// [`HubError::Setting`] for a time that is none.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let raw = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(|value| expand::path(value, &variable));
        let text = |name: &str| raw(name).and_then(|value| value.into_string().ok());
        let either = |name: &str| text(name).or_else(|| text(&name.to_ascii_lowercase()));
        let on = |name: &str| text(name).is_some_and(|value| is_true(&value));

        let home = || path("HOME").filter(|home| !home.as_os_str().is_empty());
        let user = || path("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(user()?.join("huggingface")));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).or_else(|| in_home("hub"));
        let mut options = Self::with_cache(cache.ok_or(HubError::NoCache)?);
        if let Some(endpoint) = text("HF_ENDPOINT") {
            options.endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        }
        options.offline = text("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE")).is_some_and(|v| is_true(&v));
        options.proxy = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"].into_iter().find_map(either);
        options.no_proxy = either("NO_PROXY");
        options.certificates = raw("REQUESTS_CA_BUNDLE").or_else(|| raw("SSL_CERT_FILE")).map(PathBuf::from);
        let retry = &mut options.retry;
        for (what, limit) in
            [("HF_HUB_DOWNLOAD_TIMEOUT", &mut retry.silence), ("HF_HUB_ETAG_TIMEOUT", &mut retry.answer)]
        {
            *limit = text(what).map_or(Ok(None), |given| seconds(what, given))?.unwrap_or(*limit);
        }
        if !on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            let named = text("HF_TOKEN").and_then(|token| Token::new(&token));
            let named = named.or_else(|| text("HUGGING_FACE_HUB_TOKEN").and_then(|token| Token::new(&token)));
            let file = || path("HF_TOKEN_PATH").or_else(|| in_home("token"));
            options.token = named.map_or_else(|| file().map_or(Ok(None), read_token), |token| Ok(Some(token)))?;
        }
        Ok(options)
    }
}

/// A time limit; none where it is zero, which means that of the program.
fn seconds(what: &'static str, given: String) -> Result<Option<Duration>, HubError> {
    match given.trim().parse::<u32>() {
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into())).filter(|limit| !limit.is_zero())),
        Err(_) => Err(HubError::Setting { what, given, reason: "it is no whole number of seconds".to_owned() }),
    }
}

/// The token in a file; none where there is no such file.
fn read_token(file: PathBuf) -> Result<Option<Token>, HubError> {
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Token::new(&read.map_err(HubError::io(&file))?)),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> Result<HubOptions, HubError> {
        HubOptions::from_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_python_keeps_it() {
        let cache = |variables: &[(&str, &str)]| options(variables).expect("a cache").cache;
        assert_eq!(cache(&[("HOME", "/h")]), PathBuf::from("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "/f")]), PathBuf::from("/f/hub"));
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), PathBuf::from("/c"));
        assert!(matches!(options(&[("HOME", "")]), Err(HubError::NoCache)));
        // As huggingface_hub has them: an empty path is one, of the current folder.
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "")]), PathBuf::from("hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "")]), PathBuf::from("huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HUB_CACHE", "")]), PathBuf::from(""));
    }

    #[test]
    fn the_token_comes_from_the_environment_before_the_file_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("token"), "from-file\n").expect("written");
        let home = folder.path().to_str().expect("text");
        let token = |more: &[(&str, &str)]| options(&[&[("HF_HOME", home)], more].concat()).expect("options").token;
        assert_eq!(token(&[]), Token::new("from-file"));
        assert_eq!(token(&[("HF_TOKEN", " from-env ")]), Token::new("from-env"));
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_TOKEN_PATH", "/absent/token")]), None);
        assert!(!format!("{:?}", options(&[("HF_HOME", home)])).contains("from-file"));
    }

    #[test]
    fn offline_endpoint_and_proxy_are_understood() {
        let found = options(&[
            ("HOME", "/h"),
            ("HF_HUB_OFFLINE", "True"),
            ("HF_ENDPOINT", "http://mirror/"),
            ("https_proxy", "http://p:3128"),
            ("NO_PROXY", "a,b"),
        ])
        .expect("options");
        assert!(found.offline && !options(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "0")]).expect("options").offline);
        assert_eq!(found.endpoint, "http://mirror");
        assert_eq!((found.proxy.as_deref(), found.no_proxy.as_deref()), (Some("http://p:3128"), Some("a,b")));
    }

    #[test]
    fn settings_are_read_as_python_reads_them() {
        let read = |more: &[(&str, &str)]| options(&[&[("HOME", "/h")], more].concat()).expect("options");
        for (name, value) in [("HF_HOME", "~/hf"), ("HF_HOME", "$HOME/hf"), ("HF_HUB_CACHE", "~/hf/hub")] {
            assert_eq!(read(&[(name, value)]).cache, PathBuf::from("/h/hf/hub"), "{name}={value}");
        }
        assert_eq!(read(&[("HUGGINGFACE_HUB_CACHE", "${HOME}/c")]).cache, PathBuf::from("/h/c"));
        assert_eq!(read(&[("XDG_CACHE_HOME", "~/x")]).cache, PathBuf::from("/h/x/huggingface/hub"));
        for value in ["1", "TRUE", "Yes", "on"] {
            assert!(read(&[("TRANSFORMERS_OFFLINE", value), ("HF_HUB_OFFLINE", "")]).offline, "{value}");
        }
        assert!(!read(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline, "the first that is set");
        assert_eq!(read(&[("HF_TOKEN", "a\r\nb ")]).token, Token::new("ab"));
        assert_eq!(read(&[("HF_TOKEN", " "), ("HUGGING_FACE_HUB_TOKEN", "b")]).token, Token::new("b"));
        assert_eq!(read(&[("HF_TOKEN", "a"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "TRUE")]).token, None);
        let retry = read(&[("HF_HUB_DOWNLOAD_TIMEOUT", "7"), ("HF_HUB_ETAG_TIMEOUT", "0")]).retry;
        assert_eq!((retry.silence, retry.answer), (Duration::from_secs(7), Duration::from_secs(60)));
        let wrong = options(&[("HOME", "/h"), ("HF_HUB_ETAG_TIMEOUT", "soon")]).expect_err("refused").to_string();
        assert!(wrong.contains("HF_HUB_ETAG_TIMEOUT `soon`"), "{wrong}");
    }
}
