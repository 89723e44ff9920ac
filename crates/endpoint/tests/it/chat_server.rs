//! A chat endpoint on this machine, which answers as a test says, or goes wrong in whatever way there is.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does instead of answering well.
#[derive(Clone, Debug)]
pub(crate) enum Mishap {
    /// Answers this status with these headers and this body.
    Status(u16, &'static str, &'static str),
    /// Answers 200 with these bytes as body.
    Body(&'static str),
    /// Closes the connection without an answer.
    HangUp,
    /// Sends the beginning of an answer and closes the connection.
    Cut,
    /// Says nothing for so long and answers well then.
    Slow(Duration),
    /// Sends a body without end.
    Endless,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
}

impl Asked {
    /// The text of a role's message, or nothing.
    pub(crate) fn said(&self, role: &str) -> String {
        let messages = self.body["messages"].as_array().cloned().unwrap_or_default();
        let of = messages.iter().find(|message| message["role"] == role);
        of.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
    }

    /// All that was said.
    pub(crate) fn all(&self) -> String {
        format!("{}\n\n{}", self.said("system"), self.said("user")).trim().to_owned()
    }
}

/// Makes the whole body of an answer of a request.
pub(crate) type Answerer = Box<dyn Fn(&Asked) -> Value + Send + Sync>;

#[derive(Default)]
struct State {
    /// How often still, and what happens.
    mishaps: Vec<(usize, Mishap)>,
    requests: Vec<Asked>,
    /// Words of a request's body that are refused with status and body as long as they are there.
    refused: Vec<(&'static str, u16, &'static str)>,
    under_way: usize,
    most_under_way: usize,
}

/// A running server. Its thread ends with the test's process.
pub(crate) struct ChatServer {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl ChatServer {
    pub(crate) fn start(answerer: impl Fn(&Asked) -> Value + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, answerer): (_, Arc<Answerer>) = (Arc::clone(&state), Arc::new(Box::new(answerer)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, answerer) = (Arc::clone(&shared), Arc::clone(&answerer));
                std::thread::spawn(move || serve(stream, &shared, &answerer));
            }
        });
        ChatServer { state, port }
    }

    /// One that says the same to everybody.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(move |_| completion(text))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// The next `times` requests go wrong.
    pub(crate) fn mishap(&self, times: usize, mishap: Mishap) {
        self.state.lock().unwrap().mishaps.push((times, mishap));
    }

    /// Requests whose body has these words are refused.
    pub(crate) fn refuse(&self, words: &'static str, status: u16, body: &'static str) {
        self.state.lock().unwrap().refused.push((words, status, body));
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// How many requests came since the last call of [`Self::requests`].
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// Nothing goes wrong any more.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.mishaps.clear();
        state.refused.clear();
    }

    /// The most requests that were under way at a time.
    pub(crate) fn most_under_way(&self) -> usize {
        self.state.lock().unwrap().most_under_way
    }
}

/// An answer with this text, 10 tokens of prompt and 5 of answer.
pub(crate) fn completion(text: &str) -> Value {
    json!({
        "object": "chat.completion",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 },
    })
}

fn serve(stream: TcpStream, state: &Mutex<State>, answerer: &Answerer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    // Connections are used again and again, as those of real servers are.
    loop {
        let asked = read(&mut reader)?;
        let mishap = {
            let mut state = state.lock().unwrap();
            state.requests.push(asked.clone());
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            let refused = state.refused.iter().find(|(words, ..)| asked.body.to_string().contains(words));
            let refused = refused.map(|(_, status, body)| Mishap::Status(*status, "", body));
            refused.or_else(|| {
                state.mishaps.iter_mut().find(|(times, _)| *times > 0).map(|(times, mishap)| {
                    *times -= 1;
                    mishap.clone()
                })
            })
        };
        let answered = answer(&stream, mishap, || answerer(&asked).to_string());
        state.lock().unwrap().under_way -= 1;
        answered?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = reader.by_ref().lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, authorization, body: serde_json::from_slice(&body).ok()? })
}

fn answer(stream: &TcpStream, mishap: Option<Mishap>, well: impl Fn() -> String) -> Option<()> {
    match mishap {
        None => write(stream, 200, "", &well()),
        Some(Mishap::Status(status, headers, body)) => write(stream, status, headers, body),
        Some(Mishap::Body(body)) => write(stream, 200, "", body),
        Some(Mishap::HangUp) => None,
        Some(Mishap::Slow(time)) => {
            std::thread::sleep(time);
            write(stream, 200, "", &well())
        }
        Some(Mishap::Cut) => {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choices\":[").ok()?;
            None
        }
        Some(Mishap::Endless) => {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n").ok()?;
            // Until whoever asked closes the connection.
            loop {
                stream.write_all(&[b' '; 1 << 16]).ok()?;
            }
        }
    }
}

fn write(mut stream: &TcpStream, status: u16, headers: &str, body: &str) -> Option<()> {
    let length = body.len();
    let kind = "Content-Type: application/json\r\n";
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{kind}{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()
}
