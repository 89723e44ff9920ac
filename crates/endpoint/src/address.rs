//! Which URL do requests go to, and is the way there private?

use crate::error::EndpointError;
use ureq::http::Uri;

/// What every endpoint of this form has behind the URL of its API.
const PATH: &str = "/chat/completions";

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The URL that is asked.
    pub url: String,
    /// Whether it is on this machine.
    pub here: bool,
    /// Whether what is sent there is encrypted.
    pub encrypted: bool,
}

impl Address {
    /// Understands the URL of an API, of its server alone, or of its `chat/completions`.
    ///
    /// # Errors
    /// When it is none that requests can go to.
    pub fn of(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        // What stands before an @ may be a password.
        let shown = text.rsplit('@').next().unwrap_or(text);
        let refuse = |reason: &str| {
            let (what, given, reason) = ("the endpoint", shown.to_owned(), reason.to_owned());
            EndpointError::Setting { what, given, reason }
        };
        let uri: Uri = text.parse().map_err(|_| refuse("it is no URL"))?;
        let encrypted = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("it does not begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it holds the name of a user or a password; a key goes into a variable, see --key-env"));
        }
        if uri.query().is_some_and(|query| query.to_ascii_lowercase().contains("key=")) {
            let reason = "it holds a key; that goes into a variable, see --key-env".to_owned();
            let given = text.split('?').next().unwrap_or_default().to_owned();
            return Err(EndpointError::Setting { what: "the endpoint", given, reason });
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        if host.is_empty() {
            return Err(refuse("it names no host"));
        }
        let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let (path, query) = (uri.path().trim_end_matches('/'), uri.query().map(|query| format!("?{query}")));
        let path = match path {
            "" => format!("/v1{PATH}"),
            whole if whole.ends_with(PATH) => whole.to_owned(),
            base => format!("{base}{PATH}"),
        };
        let scheme = if encrypted { "https" } else { "http" };
        let url = format!("{scheme}://{authority}{path}{}", query.unwrap_or_default());
        Ok(Address { url, here: loopback || host == "localhost", encrypted })
    }

    /// Whether nobody on the way can read what is sent.
    pub fn is_private(&self) -> bool {
        self.here || self.encrypted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_completed_as_far_as_it_is_missing() {
        let url = |text: &str| Address::of(text).expect("a URL").url;
        assert_eq!(url("http://localhost:8000"), "http://localhost:8000/v1/chat/completions");
        assert_eq!(url("https://api.openai.com/v1/"), "https://api.openai.com/v1/chat/completions");
        assert_eq!(url("https://h/api/v2"), "https://h/api/v2/chat/completions");
        assert_eq!(url("https://h/x/chat/completions?api-version=1"), "https://h/x/chat/completions?api-version=1");
    }

    #[test]
    fn only_this_machine_and_encrypted_ways_are_private() {
        let private = |text: &str| Address::of(text).expect("a URL").is_private();
        assert!(private("http://127.0.0.1:1") && private("http://[::1]:1/v1") && private("http://LOCALHOST"));
        assert!(private("https://h") && !private("http://h") && !private("http://127.0.0.1.example"));
    }

    #[test]
    fn what_is_no_url_or_holds_a_secret_is_refused_without_telling_it() {
        for text in [
            "",
            "localhost:8000",
            "ftp://h",
            "file:///x",
            "http://",
            "https://u:secret@h/v1",
            "https://h?api_key=secret",
        ] {
            let error = Address::of(text).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
