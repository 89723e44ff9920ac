//! An answer that comes as events which another task writes.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::UnboundedReceiver;

/// The answer that has these events. Where whoever reads it leaves, the receiver is gone, which the writer notices.
pub(super) fn stream(lines: UnboundedReceiver<String>) -> Response {
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(Lines(lines))).into_response()
}

struct Lines(UnboundedReceiver<String>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}
