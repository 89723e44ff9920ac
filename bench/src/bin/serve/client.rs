//! Asks a server as any program does: one connection for each request.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Status and text of an answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    try_ask(address, "GET", path, "").expect("an answer")
}

/// The same of a question.
pub(crate) fn post(address: SocketAddr, path: &str, body: &Value) -> (u16, String) {
    try_ask(address, "POST", path, &body.to_string()).expect("an answer")
}

/// The same; an error where the connection breaks off.
pub(crate) fn try_ask(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
