//! How is one request sent, so that an interruption is heard while its answer is waited for?
//!
//! The exchange happens on a thread of its own, because connections are made and read by calls that return when they like.
//! An answer that is on its way was paid for, so that it is waited for a little when the user wants to stop.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use untangle_schema::Observer;
use ureq::Agent;
use ureq::http::HeaderMap;

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long an answer is waited for after an interruption (chosen: most answers are short).
const GRACE: Duration = Duration::from_secs(3);
/// Bytes of an answer at most: a thousand times what is asked for.
const LIMIT: u64 = 16 << 20;

/// What came back.
pub(crate) struct Came {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why nothing did.
pub(crate) enum Silence {
    /// The user asked to stop.
    Interrupted,
    /// The connection broke or never was.
    Broken(String),
    /// It will not be otherwise next time.
    Odd(String),
}

/// Sends `body` and waits for the whole answer.
pub(crate) fn post(
    agent: &Agent,
    url: &str,
    authorization: Option<String>,
    body: String,
    observer: &dyn Observer,
) -> Result<Came, Silence> {
    let (tell, news) = sync_channel(1);
    let (agent, url) = (agent.clone(), url.to_owned());
    let exchange = move || drop(tell.send(exchange(&agent, &url, authorization, body)));
    let begun = std::thread::Builder::new().name("endpoint".to_owned()).spawn(exchange);
    begun.map_err(|error| Silence::Broken(error.to_string()))?;
    let mut stopped: Option<Instant> = None;
    loop {
        match news.recv_timeout(LOOK) {
            Ok(came) => return came,
            Err(RecvTimeoutError::Disconnected) => return Err(Silence::Broken("the request ended".to_owned())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if observer.interrupted() && stopped.get_or_insert_with(Instant::now).elapsed() >= GRACE {
            return Err(Silence::Interrupted);
        }
    }
}

fn exchange(agent: &Agent, url: &str, authorization: Option<String>, body: String) -> Result<Came, Silence> {
    let request = agent.post(url).header("Content-Type", "application/json").header("Accept", "application/json");
    let request = match authorization {
        Some(value) => request.header("Authorization", value),
        None => request,
    };
    let response = request.send(body).map_err(failure)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().into_with_config().limit(LIMIT).read_to_vec().map_err(failure)?;
    Ok(Came { status, headers, body })
}

fn failure(error: ureq::Error) -> Silence {
    use ureq::Error as E;
    match error {
        E::Timeout(_) => Silence::Broken("no answer within --timeout".to_owned()),
        E::Io(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => Silence::Broken(error.to_string()),
        other => Silence::Odd(other.to_string()),
    }
}
