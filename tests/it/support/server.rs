//! A server of the binary, and a client for it.

use super::Untangle;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `untangle serve` at a port of its own, ended with the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) port: u16,
    agent: ureq::Agent,
    token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    /// The answer's JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }

    /// The answer's JSON where all went well.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The place and the message of a fault of this status.
    pub(crate) fn fault(&self, status: u16) -> (Value, String) {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.json()["error"];
        (error["param"].clone(), error["message"].as_str().expect("a message").to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The data of a stream's events, the last of which says that there are no more.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut data: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.text);
        data.into_iter().map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }
}

impl Server {
    /// Starts one, and waits until it says where it listens.
    pub(crate) fn start(command: Untangle) -> Self {
        Self::with_token(command, None)
    }

    pub(crate) fn with_token(command: Untangle, token: Option<&str>) -> Self {
        let mut command = command.words("--port 0").command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let mut told = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut told).expect("text");
            panic!("no port: {line:?} {told}");
        };
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
        Server { child, port, agent: config.build().new_agent(), token: token.map(str::to_owned) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut request = self.agent.get(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let mut request = self.agent.post(self.url(path)).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request.send(body.to_string()))
    }

    pub(crate) fn complete(&self, body: &Value) -> Answer {
        self.post("/v1/completions", body)
    }

    /// A connection on which anything can be said.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
        stream
    }

    /// The status of the answer to a request of these lines.
    pub(crate) fn status_of(&self, head: &str) -> u16 {
        let mut stream = self.connect();
        stream.write_all(head.replace('\n', "\r\n").as_bytes()).expect("sent");
        status(&mut stream)
    }

    /// Waits until something can be said of how busy it is.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let health = self.get("/health").ok();
            if is_so(&health) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "not {what}: {health}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal such as `-STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Sends a signal, `-INT` or `-TERM`, and waits; the exit code and what was said on stderr.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut told = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut told).expect("text");
        (self.child.wait().expect("our own child").code(), told)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of what comes on a connection; 0 where nothing does.
pub(crate) fn status(stream: &mut TcpStream) -> u16 {
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.unwrap_or_else(|error| panic!("no answer: {error}"));
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let (status, headers) = (response.status().as_u16(), headers.collect());
    Answer { status, headers, text: response.body_mut().read_to_string().expect("text") }
}
