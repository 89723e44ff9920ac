//! What the server says of itself.

use super::here::{Here, json};
use crate::wire::models::Health;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The API in the words of OpenAPI 3.1.
pub(crate) const OPENAPI: &str = include_str!("../../openapi.json");

pub(super) async fn health(State(shared): Here) -> Response {
    let load = shared.desk.load();
    let status = if load.closed { "closing" } else { "ok" };
    json(&Health { status, writing: load.writing, waiting: load.waiting, questions: load.questions, queue: load.limit })
}

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
