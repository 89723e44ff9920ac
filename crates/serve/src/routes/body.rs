//! The body of a request: JSON, no longer than it may be, and here in time.

use crate::limits::{BODY, BODY_TIME, THROWN_AWAY};
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// Reads a body.
pub(super) async fn read(request: Request) -> Result<Vec<u8>, Problem> {
    let (head, body) = request.into_parts();
    // What is no JSON can be sent by a page of any site without asking; what is JSON cannot.
    if !is_json(&head.headers) {
        return Err(Problem::other_media());
    }
    let said = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let asks_first = head.headers.contains_key(EXPECT);
    if said.is_some_and(|said| said > THROWN_AWAY || (asks_first && said > BODY)) {
        return Err(Problem::too_large(BODY));
    }
    timeout(BODY_TIME, collect(body)).await.map_err(|_| Problem::too_slow())?
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut read) = (Vec::new(), 0u64);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::invalid(format!("the body breaks off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len() as u64;
        match read {
            _ if read <= BODY => bytes.extend_from_slice(&data),
            // Most clients read an answer only when they have sent everything.
            _ if read <= THROWN_AWAY => bytes = Vec::new(),
            _ => break,
        }
    }
    if read > BODY { Err(Problem::too_large(BODY)) } else { Ok(bytes) }
}
