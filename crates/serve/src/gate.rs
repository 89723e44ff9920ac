//! Who may ask?
//!
//! | listens at | is asked by | how that is known |
//! |---|---|---|
//! | loopback | programs of this machine | `Host` names the machine itself: a page whose name was made to mean 127.0.0.1 (DNS rebinding) has its own name there |
//! | another address | whoever has the token | `Authorization: Bearer TOKEN` |
//!
//! The page itself (`/` and `/assets/`) is the same for everybody and holds nothing, so that it is given without a token; it asks
//! whoever looks at it for one. Links of other sites may lead to it, which is all that they can do.
//!
//! A page of another site can have a browser send requests to either, so `Origin` and `Sec-Fetch-Site`, which browsers write
//! and pages cannot change, must be those of a page of this server, or absent.

use crate::error::ServeError;
use crate::problem::Problem;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};

/// Letters of a token at least (chosen: what nobody guesses, even of hexadecimal digits).
pub(crate) const LEAST: usize = 16;

/// A secret that callers know. What is kept is its hash.
#[derive(Clone, Copy)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A token of at least 16 visible letters; blanks around it are not part of it.
    ///
    /// # Errors
    /// [`ServeError::Token`] where it is none.
    pub fn new(text: &str) -> Result<Self, ServeError> {
        let text = text.trim();
        let problem = match () {
            () if text.len() < LEAST => "is too short",
            () if !text.bytes().all(|letter| letter.is_ascii_graphic()) => "has letters that no header can hold",
            () => return Ok(Token(Sha256::digest(text).into())),
        };
        Err(ServeError::Token { problem, least: LEAST })
    }

    /// Whether `text` is the token. How long that takes says nothing of how much of it is right: hashes are compared, and all
    /// of them.
    fn is(&self, text: &[u8]) -> bool {
        let other: [u8; 32] = Sha256::digest(text).into();
        let differing = self.0.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Who may ask.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    loopback: bool,
    token: Option<Token>,
}

impl Gate {
    /// The gate of a server that listens at `address`.
    pub(crate) fn new(address: SocketAddr, token: Option<Token>) -> Result<Self, ServeError> {
        let loopback = address.ip().to_canonical().is_loopback();
        match loopback || token.is_some() {
            true => Ok(Gate { loopback, token }),
            false => Err(ServeError::NoToken { address, least: LEAST }),
        }
    }

    /// Whether a request for what is the server's own is let in.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.check_sender(headers, false)?;
        self.check_token(headers)
    }

    /// Whether a request for the page is let in.
    pub(crate) fn check_page(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
        self.check_sender(headers, is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document"))
    }

    /// Whether it is asked under its own name, and not by a page of another site; where `follows_link`, that may lead here.
    fn check_sender(&self, headers: &HeaderMap, follows_link: bool) -> Result<(), Problem> {
        let one = |name: &str| {
            let mut all = headers.get_all(name).iter();
            match (all.next(), all.next()) {
                (Some(_), Some(_)) => Err(Problem::forbidden(format!("there are several headers `{name}`; send one"))),
                (value, _) => Ok(value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())),
            }
        };
        let (host, origin) = (one(HOST.as_str())?.unwrap_or_default(), one(ORIGIN.as_str())?);
        if self.loopback && !is_loopback(&host) {
            return Err(Problem::forbidden(format!(
                "the server answers as localhost, 127.0.0.1 or [::1] alone, and was asked as `{host}`"
            )));
        }
        if let Some(origin) = origin.filter(|origin| origin.strip_prefix("http://") != Some(host.as_str())) {
            return Err(Problem::forbidden(format!("a page of `{origin}` may not ask this server")));
        }
        let is_own = |site: &String| follows_link || ["same-origin", "none"].contains(&site.as_str());
        if let Some(site) = one("sec-fetch-site")?.filter(|site| !is_own(site)) {
            return Err(Problem::forbidden(format!(
                "a page of another site may not ask this server (sec-fetch-site: {site})"
            )));
        }
        Ok(())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        match given.split_at_checked("Bearer ".len()) {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(given) => Ok(()),
            _ => Err(Problem::unknown_caller("the token is missing or wrong; send `Authorization: Bearer TOKEN`")),
        }
    }
}

/// Whether a `Host` names this machine to itself.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => (name, port),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_name = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_port && is_name
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue, StatusCode};

    const SECRET: &str = "a-secret-of-many-letters";

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))
        };
        let mut map = HeaderMap::new();
        headers.iter().map(header).for_each(|(name, value)| assert!(!map.append(&name, value) || name == "host"));
        map
    }

    fn status(found: Result<(), Problem>) -> u16 {
        found.map_or_else(|problem| problem.status, |()| StatusCode::OK).as_u16()
    }

    fn asked(gate: &Gate, headers: &[(&'static str, &str)]) -> u16 {
        status(gate.check(&map(headers)))
    }

    fn gate(address: &str, token: Option<&str>) -> Result<Gate, ServeError> {
        let token = token.map(Token::new).transpose()?;
        Gate::new(address.parse().expect("an address"), token)
    }

    #[test]
    fn a_name_of_another_site_is_not_this_machine() {
        let gate = gate("127.0.0.1:8765", None).expect("loopback");
        for host in ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765", "127.0.0.2"] {
            assert_eq!(asked(&gate, &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8765",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "",
            "localhost:8765:1",
            "localhost@evil",
            "[::1",
            "0.0.0.0",
        ] {
            assert_eq!(asked(&gate, &[("host", host)]), 403, "{host}");
        }
        assert_eq!(asked(&gate, &[]), 403, "no host");
        assert_eq!(asked(&gate, &[("host", "localhost"), ("host", "evil.example")]), 403, "two hosts");
    }

    #[test]
    fn pages_of_other_sites_are_turned_away() {
        let gate = gate("[::1]:8765", None).expect("loopback");
        let host = ("host", "localhost:8765");
        assert_eq!(asked(&gate, &[host, ("origin", "http://localhost:8765"), ("sec-fetch-site", "same-origin")]), 200);
        for origin in ["http://localhost:3000", "https://localhost:8765", "http://evil.example", "null", ""] {
            assert_eq!(asked(&gate, &[host, ("origin", origin)]), 403, "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(asked(&gate, &[host, ("sec-fetch-site", site)]), 403, "{site}");
        }
    }

    #[test]
    fn other_addresses_need_the_token() {
        assert!(matches!(gate("0.0.0.0:1", None), Err(ServeError::NoToken { .. })));
        assert!(matches!(gate("0.0.0.0:1", Some("short")), Err(ServeError::Token { .. })));
        assert!(matches!(gate("0.0.0.0:1", Some("with a blank in between")), Err(ServeError::Token { .. })));
        let gate = gate("192.168.0.1:1", Some(&format!("{SECRET}\n"))).expect("a token");
        let host = ("host", "model.example");
        assert_eq!(asked(&gate, &[host, ("authorization", &format!("Bearer {SECRET}"))]), 200);
        assert_eq!(asked(&gate, &[host, ("authorization", &format!("bearer {SECRET}"))]), 200);
        for wrong in
            ["", "Bearer", "Bearer ", SECRET, "Bearer a-secret-of-many-letterz", "Basic a-secret-of-many-letters"]
        {
            assert_eq!(asked(&gate, &[host, ("authorization", wrong)]), 401, "{wrong}");
        }
        assert_eq!(asked(&gate, &[host]), 401);
    }

    #[test]
    fn the_page_is_given_without_a_token_and_links_may_lead_to_it() {
        let page = |address: &str, headers: &[(&'static str, &str)]| {
            status(gate(address, Some(SECRET)).expect("a token").check_page(&map(headers)))
        };
        let (local, host) = ("127.0.0.1:1", ("host", "localhost:1"));
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!((page(local, &[host]), page("192.168.0.1:1", &[("host", "model.example")])), (200, 200));
        assert_eq!(page(local, &[host, ("sec-fetch-site", "cross-site"), link[0], link[1]]), 200);
        assert_eq!(page(local, &[host, ("sec-fetch-site", "cross-site"), link[0], ("sec-fetch-dest", "iframe")]), 403);
        assert_eq!(page(local, &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]), 403);
        assert_eq!(page(local, &[("host", "evil.example"), link[0], link[1]]), 403);
        assert_eq!(page(local, &[host, ("origin", "http://evil.example"), link[0], link[1]]), 403);
    }

    #[test]
    fn a_loopback_server_may_have_a_token_too() {
        let gate = gate("127.0.0.1:1", Some(SECRET)).expect("a token");
        assert_eq!(asked(&gate, &[("host", "localhost")]), 401);
        assert_eq!(asked(&gate, &[("host", "evil.example"), ("authorization", &format!("Bearer {SECRET}"))]), 403);
    }
}
