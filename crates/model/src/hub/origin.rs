//! Where does a URL lead, and may the token go there?
//!
//! Every request of a hub asks here: the first one, every hop of a redirection, every further page of a list. Origins
//! are parsed and compared whole: a URL that only begins like the hub's leads elsewhere.

use ureq::http::Uri;

/// Scheme, host and port: who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    encrypted: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Of a URL that requests can go to.
    ///
    /// # Errors
    /// Why none can.
    pub(crate) fn of(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
        let encrypted = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with https:// or http://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds the name of a user or a password");
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err("it names no host");
        }
        let named = authority.as_str()[authority.host().len()..].strip_prefix(':').filter(|port| !port.is_empty());
        let port = match named {
            Some(port) => port.parse().map_err(|_| "its port is no number")?,
            None => {
                if encrypted {
                    443
                } else {
                    80
                }
            }
        };
        Ok(Origin { encrypted, host, port })
    }

    /// Whether requests go from here to there without giving up encryption.
    pub(crate) fn may_lead_to(&self, other: &Origin) -> bool {
        other.encrypted || !self.encrypted
    }

    /// Whether the hub's token may go to the end of a way of redirections: only where every URL on it is the hub's, so
    /// that no stranger chooses what is asked in the user's name.
    pub(crate) fn takes_token_along(&self, way: &[Origin]) -> bool {
        way.iter().all(|step| step == self)
    }
}

/// The URL that `location`, found in an answer of `url`, stands for (RFC 3986, section 5).
pub(crate) fn resolve(url: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?;
    let (scheme, rest) = url.split_once("://")?;
    let host_ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(host_ends);
    let path = path.split(['?', '#']).next()?;
    let begins_with_scheme = location.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    Some(if begins_with_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else if location.is_empty() || location.starts_with('?') {
        format!("{scheme}://{host}{path}{location}")
    } else {
        let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        format!("{scheme}://{host}{folder}{location}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_whole() {
        let hub = Origin::of("https://hub.example/some/path").expect("a URL");
        for same in
            ["https://hub.example", "https://HUB.example:443/x", "HTTPS://hub.example/?q", "https://hub.example:"]
        {
            assert_eq!(Origin::of(same).as_ref(), Ok(&hub), "{same}");
        }
        for other in [
            "http://hub.example/",
            "https://hub.example:444/",
            "https://hub.example.evil/",
            "https://hub.exampleevil/",
            "https://hub.example:4433/",
            "https://sub.hub.example/",
            "http://hub.example:443/",
        ] {
            assert_ne!(Origin::of(other).expect("a URL"), hub, "{other}");
        }
        for none in [
            "https://hub.example@evil/",
            "https://hub.example:443@evil/",
            "https://user:word@hub.example/",
            "file:///etc/passwd",
            "ftp://hub.example/",
            "https://",
            "hub.example",
            "https://hub.example:99999/",
            "https://hub.example:x/",
            "",
        ] {
            assert!(Origin::of(none).is_err(), "{none}");
        }
        assert_eq!(Origin::of("http://[::1]:80/"), Origin::of("http://[::1]"));
        assert_ne!(Origin::of("http://[::1]:81/"), Origin::of("http://[::1]"));
    }

    #[test]
    fn a_token_does_not_come_back_from_strangers() {
        let of = |url: &str| Origin::of(url).expect("a URL");
        let (hub, other) = (of("https://hub"), of("https://other"));
        assert!(hub.takes_token_along(&[hub.clone(), of("https://HUB:443/b")]));
        assert!(!hub.takes_token_along(std::slice::from_ref(&other)));
        assert!(!hub.takes_token_along(&[of("https://hub:444")]) && !hub.takes_token_along(&[of("http://hub:443")]));
        assert!(!hub.takes_token_along(&[hub.clone(), other.clone(), hub.clone()]));
        assert!(hub.may_lead_to(&other) && of("http://hub").may_lead_to(&hub));
        assert!(!hub.may_lead_to(&of("http://hub")) && of("http://a").may_lead_to(&of("http://b")));
    }

    #[test]
    fn locations_are_relative_to_what_was_asked() {
        let from = "https://hub:8443/a/b?x=1";
        for (location, expected) in [
            ("/c/d", "https://hub:8443/c/d"),
            ("c", "https://hub:8443/a/c"),
            ("?y", "https://hub:8443/a/b?y"),
            ("//cdn/c", "https://cdn/c"),
            ("http://hub/c#part", "http://hub/c"),
            ("HTTPS://hub/c", "HTTPS://hub/c"),
            ("file:/etc", "file:/etc"),
        ] {
            assert_eq!(resolve(from, location).as_deref(), Some(expected), "{location}");
        }
        assert_eq!(resolve("https://hub", "c").as_deref(), Some("https://hub/c"));
    }
}
