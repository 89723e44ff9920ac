//! What all handlers use: the state of the server, and answers in JSON.

use crate::problem::Problem;
use crate::shared::Shared;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

/// The state of every route.
pub(super) type Here = State<Arc<Shared>>;

/// A value as an answer.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => Problem::internal(format!("while writing the answer: {error}")).into_response(),
    }
}
