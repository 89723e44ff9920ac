//! `/api/v1/runs`: how trainings stand.

use super::asking::aside;
use super::here::{Here, json};
use crate::wire::runs::RunList;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(super) async fn list(State(shared): Here) -> Response {
    let here = Arc::clone(&shared);
    let list = aside(move || Ok(here.trainings.as_ref().map_or_else(RunList::default, |all| all.all()))).await;
    list.map_or_else(IntoResponse::into_response, |list| json(&list))
}
