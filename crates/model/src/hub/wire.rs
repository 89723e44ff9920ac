//! How are answers waited for, so that an interruption is heard at once?
//!
//! Names are looked up, connections made and bytes read by calls that return when they like. They happen on a thread
//! of their own; who waits looks for an interruption meanwhile, and leaves that thread behind if there is one: it ends
//! with its connection's time limit or with the program.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use untangle_schema::Observer;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// What has to come within [`SLOW`]: less is a server that only keeps the connection open.
const FEW: usize = 1 << 10;
const SLOW: Duration = Duration::from_secs(120);

/// Why nothing more comes.
#[derive(Debug)]
pub(crate) enum Silence {
    /// The user asked to stop.
    Interrupted,
    /// The request could not be sent or was not answered.
    Failed(Box<ureq::Error>),
    /// The body broke off.
    Broken(String),
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) url: String,
    /// Whether only the headers are wanted.
    pub(crate) head: bool,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    /// Silence after which the wait for the headers ends.
    pub(crate) patience: Duration,
}

/// An answer whose body is still on its way.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Receiver<io::Result<Vec<u8>>>,
    /// When what came was counted last, and what has come since.
    since: (Instant, usize),
}

enum News {
    Head(StatusCode, HeaderMap),
    Failed(Box<ureq::Error>),
}

/// Asks, and waits for the headers. Redirections are answers.
pub(crate) fn ask(agent: &Agent, question: Question, observer: &dyn Observer) -> Result<Answer, Silence> {
    let (tell, news) = sync_channel(1);
    // One chunk waits while the next is read.
    let (give, body) = sync_channel(1);
    let agent = agent.clone();
    let begun = std::thread::Builder::new().name("hub".to_owned()).spawn(move || match send(&agent, &question) {
        Ok(response) => {
            let told = tell.send(News::Head(response.status(), response.headers().clone()));
            if told.is_ok() && !question.head {
                pump(response, &give);
            }
        }
        Err(error) => drop(tell.send(News::Failed(Box::new(error)))),
    });
    begun.map_err(|error| Silence::Broken(error.to_string()))?;
    match wait(&news, observer)? {
        Some(News::Head(status, headers)) => Ok(Answer { status, headers, body, since: (Instant::now(), 0) }),
        Some(News::Failed(error)) => Err(Silence::Failed(error)),
        None => Err(Silence::Broken("the request ended unexpectedly".to_owned())),
    }
}

impl Answer {
    /// The next bytes of the body; none at its end.
    pub(crate) fn next(&mut self, observer: &dyn Observer) -> Result<Option<Vec<u8>>, Silence> {
        let chunk = wait(&self.body, observer)?.transpose().map_err(|error| Silence::Broken(error.to_string()))?;
        self.since.1 += chunk.as_ref().map_or(0, Vec::len);
        if chunk.is_some() && self.since.0.elapsed() > SLOW {
            if self.since.1 < FEW {
                return Err(Silence::Broken(format!("{} bytes in {} s", self.since.1, SLOW.as_secs())));
            }
            self.since = (Instant::now(), 0);
        }
        Ok(chunk)
    }
}

fn send(agent: &Agent, question: &Question) -> Result<Response<Body>, ureq::Error> {
    let request = if question.head { agent.head(&question.url) } else { agent.get(&question.url) };
    let fields = [("Authorization", &question.authorization), ("Range", &question.range)];
    let request = fields.into_iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.header(name, value),
        None => request,
    });
    let patience = Some(question.patience);
    request.config().max_redirects(0).timeout_recv_response(patience).timeout_connect(patience).build().call()
}

/// Reads a body until it ends, breaks, or nobody listens.
fn pump(response: Response<Body>, give: &SyncSender<io::Result<Vec<u8>>>) {
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    loop {
        let mut chunk = vec![0; CHUNK];
        let read = body.read(&mut chunk);
        let end = matches!(read, Ok(0) | Err(_));
        let sent = match read {
            Ok(0) => Ok(()),
            Ok(n) => {
                chunk.truncate(n);
                // A server that sends little at a time must not fill memory with empty room.
                if n < CHUNK / 2 {
                    chunk.shrink_to_fit();
                }
                give.send(Ok(chunk))
            }
            Err(error) => give.send(Err(error)),
        };
        if end || sent.is_err() {
            return;
        }
    }
}

/// What comes next; none where nothing will.
fn wait<T>(from: &Receiver<T>, observer: &dyn Observer) -> Result<Option<T>, Silence> {
    loop {
        if observer.interrupted() {
            return Err(Silence::Interrupted);
        }
        match from.recv_timeout(LOOK) {
            Ok(news) => return Ok(Some(news)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
