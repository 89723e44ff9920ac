//! How is a connection set up: certificates, proxy and time limit?

use crate::address::Address;
use crate::error::EndpointError;
use crate::options::EndpointOptions;
use untangle_schema::TOOL_VERSION;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

/// Makes what sends requests.
pub(crate) fn agent(options: &EndpointOptions, address: &Address) -> Result<Agent, EndpointError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(format!("untangle/{TOOL_VERSION}"))
        // A redirection is told: it would take prompts and key elsewhere.
        .max_redirects(0)
        .max_idle_connections_per_host(options.parallel.max(1))
        .timeout_global(Some(options.timeout))
        .tls_config(tls(options)?)
        .proxy(if address.here { None } else { proxy(options)? })
        .build();
    Ok(config.into())
}

fn tls(options: &EndpointOptions) -> Result<TlsConfig, EndpointError> {
    let Some(path) = &options.certificates else { return Ok(TlsConfig::default()) };
    let pem = std::fs::read(path).map_err(EndpointError::io(path))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        let (given, reason) = (path.display().to_string(), "no certificate in it".to_owned());
        return Err(EndpointError::Setting { what: "the file of certificates", given, reason });
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}

fn proxy(options: &EndpointOptions) -> Result<Option<Proxy>, EndpointError> {
    let Some(url) = &options.proxy else { return Ok(None) };
    let refuse = |_| {
        let reason = "it is not the URL of an HTTP proxy".to_owned();
        // Not the URL itself: it may hold a password.
        EndpointError::Setting { what: "the proxy", given: "ALL_PROXY or HTTPS_PROXY".to_owned(), reason }
    };
    let plain = Proxy::new(url).map_err(refuse)?;
    let Some(hosts) = &options.no_proxy else { return Ok(Some(plain)) };
    let mut builder = Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(name) = plain.username() {
        builder = builder.username(name);
    }
    if let Some(word) = plain.password() {
        builder = builder.password(word);
    }
    let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
    hosts.fold(builder, |builder, host| builder.no_proxy(host)).build().map(Some).map_err(refuse)
}
