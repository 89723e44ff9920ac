//! Where is the hub, where do its files go, and how patient are we?
//!
//! The names and defaults are those of Python's `huggingface_hub`, so that one setting serves both.

use super::error::HubError;
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
    /// Takes a token without the white space around it; none where nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
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
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            silence: Duration::from_secs(60),
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
    /// - token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH` or `HF_HOME/token`; the file is left
    ///   alone where `HF_HUB_DISABLE_IMPLICIT_TOKEN` is on
    /// - offline: `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`
    /// - proxy: `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in capitals or not
    /// - certificates: `REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`
    ///
    /// # Errors
    /// [`HubError::NoCache`] where no folder is named, [`HubError::Io`] where the token file cannot be read.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let raw = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| raw(name).map(PathBuf::from);
        let text = |name: &str| raw(name).and_then(|value| value.into_string().ok());
        let either = |name: &str| text(name).or_else(|| text(&name.to_ascii_lowercase()));
        let on = |name: &str| text(name).is_some_and(|value| is_true(&value));

        let user = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(user()?.join("huggingface")));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).or_else(|| in_home("hub"));
        let mut options = Self::with_cache(cache.ok_or(HubError::NoCache)?);
        if let Some(endpoint) = text("HF_ENDPOINT") {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        options.offline = on("HF_HUB_OFFLINE") || on("TRANSFORMERS_OFFLINE");
        options.proxy = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"].into_iter().find_map(either);
        options.no_proxy = either("NO_PROXY");
        options.certificates = path("REQUESTS_CA_BUNDLE").or_else(|| path("SSL_CERT_FILE"));
        let named = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        options.token = named.as_deref().and_then(Token::new);
        let file = path("HF_TOKEN_PATH").or_else(|| in_home("token"));
        if let (None, Some(file), false) = (&options.token, file, on("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
            options.token = match fs::read_to_string(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                read => Token::new(&read.map_err(HubError::io(&file))?),
            };
        }
        Ok(options)
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
}
