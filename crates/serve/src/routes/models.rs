//! Which models are there?

use super::here::{Here, json};
use crate::problem::Problem;
use crate::wire::models::ModelList;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

pub(super) async fn list(State(shared): Here) -> Response {
    json(&ModelList { object: "list", data: shared.cards() })
}

pub(super) async fn one(State(shared): Here, path: Result<Path<String>, PathRejection>) -> Response {
    let Ok(Path(id)) = path else { return Problem::invalid("the model's name is no text").into_response() };
    match shared.cards().into_iter().find(|card| card.id == id) {
        Some(card) => json(&card),
        None => shared.no_such_model(&id).into_response(),
    }
}
