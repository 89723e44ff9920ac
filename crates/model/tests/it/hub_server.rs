//! A hub on this machine: the paths of the real one, and whatever goes wrong with it.

use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server does instead of answering well.
#[derive(Clone, Debug)]
pub(crate) enum Mishap {
    /// Answers this status with these headers.
    Status(u16, &'static str),
    /// Sends so many bytes of the body and closes the connection.
    Cut(usize),
    /// Sends the whole file although a part was asked for.
    IgnoreRange,
    /// Changes the first byte.
    Garble,
    /// Closes the connection without an answer.
    HangUp,
    /// Answers with these bytes, headers and all.
    Raw(Vec<u8>),
    /// The same where a body is asked for.
    RawBody(Vec<u8>),
    /// Answers with these bytes, where a body is asked for with blanks without end behind them.
    Endless(&'static str),
    /// Answers with these bytes, and then keeps the connection and says nothing more.
    Silence(&'static str),
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct State {
    /// By the repository's part of a URL (`owner/name`, `datasets/owner/name`) and revision.
    repositories: BTreeMap<(String, String), Content>,
    /// Path that has to occur in a request, how often still, what happens.
    mishaps: Vec<(String, usize, Mishap)>,
    requests: Vec<Request>,
    /// Files of a listing's page.
    page: usize,
}

/// A running server. Its thread ends with the test's process.
pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    port: u16,
}

/// The commit that every revision of every repository stands for.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Hub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { page: 1000, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared, port));
            }
        });
        Hub { state, port }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds a file; those of 100 bytes and more are stored as large ones, at another host.
    pub(crate) fn put(&self, repository: &str, revision: &str, name: &str, content: &[u8]) {
        let key = (repository.to_owned(), revision.to_owned());
        let mut state = self.state.lock().unwrap();
        state.repositories.entry(key).or_default().files.insert(name.to_owned(), content.to_owned());
    }

    /// The next `times` requests whose path holds `path` go wrong.
    pub(crate) fn mishap(&self, path: &str, times: usize, mishap: Mishap) {
        self.state.lock().unwrap().mishaps.push((path.to_owned(), times, mishap));
    }

    pub(crate) fn pages_of(&self, files: usize) {
        self.state.lock().unwrap().page = files;
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

/// Name of a content, as the hub gives it.
pub(crate) fn etag(content: &[u8]) -> String {
    let hash = format!("{:x}", Sha256::digest(content));
    if is_large(content) { hash } else { hash[..40].to_owned() }
}

/// The commit that a revision means: [`COMMIT`], but the hub's own conversions have commits of their own.
fn commit_of(revision: &str) -> String {
    if revision.starts_with("refs/") {
        format!("{:x}", Sha256::digest(revision))[..40].to_owned()
    } else {
        COMMIT.to_owned()
    }
}

fn is_large(content: &[u8]) -> bool {
    content.len() >= 100
}

fn serve(stream: TcpStream, state: &Mutex<State>, port: u16) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request { method: words.next()?, path: words.next()?, range: None, authorization: None };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mishap = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let fits = |(path, times, mishap): &(String, usize, Mishap)| {
            let body_only =
                matches!(mishap, Mishap::Cut(_) | Mishap::IgnoreRange | Mishap::Garble | Mishap::RawBody(_));
            *times > 0 && request.path.contains(path.as_str()) && !(body_only && request.method == "HEAD")
        };
        state.mishaps.iter_mut().find(|mishap| fits(mishap)).map(|(_, times, mishap)| {
            *times -= 1;
            mishap.clone()
        })
    };
    match mishap {
        Some(Mishap::HangUp) => None,
        Some(Mishap::Status(status, headers)) => write(&stream, status, headers, b"", &request, None),
        Some(Mishap::Raw(answer) | Mishap::RawBody(answer)) => (&stream).write_all(&answer).ok(),
        Some(Mishap::Endless(head)) => {
            (&stream).write_all(head.as_bytes()).ok()?;
            // Until whoever asked closes the connection.
            match request.method == "GET" {
                true => loop {
                    (&stream).write_all(&[b' '; 1 << 16]).ok()?;
                },
                false => None,
            }
        }
        Some(Mishap::Silence(head)) => {
            (&stream).write_all(head.as_bytes()).ok()?;
            // Until then, too: nothing comes from the other side but its end.
            (&stream).read(&mut [0]).map(drop).ok()
        }
        other => answer(&stream, state, &request, port, other.as_ref()),
    }
}

fn answer(
    stream: &TcpStream,
    state: &Mutex<State>,
    request: &Request,
    port: u16,
    mishap: Option<&Mishap>,
) -> Option<()> {
    let path = request.path.replace("%2F", "/");
    let not_found = |code: &str| write(stream, 404, &format!("X-Error-Code: {code}\r\n"), b"", request, None);
    let (repositories, page) = {
        let state = state.lock().unwrap();
        (state.repositories.clone(), state.page)
    };
    if let Some(api) = path.strip_prefix("/api/") {
        let (list, rest) = match (api.split_once("/revision/"), api.split_once("/tree/")) {
            (Some((list, rest)), _) => (list, (rest, false)),
            (_, Some((list, rest))) => (list, (rest, true)),
            _ => return not_found(""),
        };
        let name = list.strip_prefix("models/").unwrap_or(list);
        let (revision, query) = rest.0.split_once('?').unwrap_or((rest.0, ""));
        if !repositories.keys().any(|(known, _)| known == name) {
            return not_found("RepoNotFound");
        }
        let wanted = |(known, at): &&(String, String)| known == name && (at == revision || revision == commit_of(at));
        let Some(key) = repositories.keys().find(wanted) else { return not_found("RevisionNotFound") };
        let files = &repositories[key].files;
        if !rest.1 {
            let siblings: Vec<_> = files.keys().map(|name| json!({"rfilename": name})).collect();
            let body = json!({"sha": commit_of(&key.1), "siblings": siblings}).to_string();
            return write(stream, 200, "", body.as_bytes(), request, None);
        }
        let cursor: usize = query.split("cursor=").nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        let entry = |(name, content): (&String, &Vec<u8>)| json!({"type": "file", "path": name, "size": content.len()});
        let entries: Vec<_> = files.iter().skip(cursor).take(page).map(entry).collect();
        let more = cursor + page < files.len();
        let next =
            format!("http://127.0.0.1:{port}/api/{list}/tree/{revision}?recursive=true&cursor={}", cursor + page);
        let link = if more { format!("Link: <{next}>; rel=\"next\"\r\n") } else { String::new() };
        return write(stream, 200, &link, json!(entries).to_string().as_bytes(), request, None);
    }
    let (elsewhere, path) = match path.strip_prefix("/cdn/") {
        Some(path) => (true, path.to_owned()),
        None => (false, path.trim_start_matches('/').to_owned()),
    };
    let (repository, rest) = path.split_once("/resolve/")?;
    let (_, file) = rest.split_once('/')?;
    let found = repositories.iter().filter(|((known, _), _)| known == repository);
    let Some(content) = found.filter_map(|(_, content)| content.files.get(file)).next() else {
        return not_found("EntryNotFound");
    };
    if is_large(content) && !elsewhere {
        let headers = format!(
            "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\nLocation: \
             http://localhost:{port}/cdn/{path}\r\n",
            etag(content),
            content.len()
        );
        return write(stream, 302, &headers, b"", request, None);
    }
    let headers = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{}\"\r\n", etag(content));
    write(stream, 200, &headers, content, request, mishap)
}

fn write(
    mut stream: &TcpStream,
    status: u16,
    headers: &str,
    body: &[u8],
    request: &Request,
    mishap: Option<&Mishap>,
) -> Option<()> {
    let asked = request.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: Option<usize> = asked.filter(|_| status == 200 && !matches!(mishap, Some(Mishap::IgnoreRange)));
    let (status, mut part, range) = match from {
        Some(from) if from >= body.len() => (416, Vec::new(), format!("Content-Range: bytes */{}\r\n", body.len())),
        Some(from) => {
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            (206, body[from..].to_vec(), range)
        }
        None => (status, body.to_vec(), String::new()),
    };
    let length = part.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}{range}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    if request.method == "HEAD" {
        return None;
    }
    match mishap {
        Some(Mishap::Cut(bytes)) => part.truncate(*bytes),
        Some(Mishap::Garble) => part[0] ^= 1,
        _ => {}
    }
    stream.write_all(&part).ok()
}
