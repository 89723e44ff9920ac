//! What is at which path: a file for each group of paths, so that others, such as those of a page, can come beside them.
//!
//! | path | file |
//! |---|---|
//! | `/v1/completions` | [`completions`] |
//! | `/v1/chat/completions` | [`chat`] |
//! | `/v1/models`, `/v1/models/NAME` | [`models`] |
//! | `/tokenize`, `/detokenize`, `/tokenizer_info` | [`tokens`] |
//! | `/api/v1/dictionaries`, `overview`, `search`, `feature` | [`dictionaries`] |
//! | `/api/v1/read`, `activations` | [`reading`] |
//! | `/api/v1/toward` | [`toward`] |
//! | `/api/v1/runs` | [`runs`] |
//! | `/`, `/assets/NAME` | [`crate::page`] |
//! | `/health`, `/openapi.json` | [`about`] |
//!
//! [`here`] has what all handlers use, [`asking`] and [`gathering`] what completions and chat share; [`body`] reads requests, [`pieces`] and [`lines`] write streams and
//! [`scores`] log-probabilities.

pub(crate) mod about;
mod asking;
mod body;
mod chat;
mod completions;
mod dictionaries;
mod gathering;
mod here;
mod lines;
mod models;
mod pieces;
mod reading;
mod runs;
mod scores;
mod tokens;
mod toward;

use crate::page;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use here::Here;
use std::sync::Arc;

/// All paths, as `openapi.json` writes them, with the method that each takes.
pub(crate) const PATHS: [(&str, &str); 17] = [
    ("/v1/models", "GET"),
    ("/v1/models/{id}", "GET"),
    ("/v1/completions", "POST"),
    ("/v1/chat/completions", "POST"),
    ("/tokenize", "POST"),
    ("/detokenize", "POST"),
    ("/tokenizer_info", "GET"),
    ("/api/v1/dictionaries", "GET"),
    ("/api/v1/overview", "POST"),
    ("/api/v1/search", "POST"),
    ("/api/v1/feature", "POST"),
    ("/api/v1/read", "POST"),
    ("/api/v1/activations", "POST"),
    ("/api/v1/toward", "POST"),
    ("/api/v1/runs", "GET"),
    ("/health", "GET"),
    ("/openapi.json", "GET"),
];

/// The router.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let route = |path: &str| -> MethodRouter<Arc<Shared>> {
        match path {
            "/v1/models" => get(models::list),
            // Names of models of a hub have a slash.
            "/v1/models/{id}" => get(models::one),
            "/v1/completions" => post(completions::answer),
            "/v1/chat/completions" => post(chat::answer),
            "/tokenize" => post(tokens::tokenize),
            "/detokenize" => post(tokens::detokenize),
            "/tokenizer_info" => get(tokens::info),
            "/api/v1/dictionaries" => get(dictionaries::list),
            "/api/v1/overview" => post(dictionaries::overview),
            "/api/v1/search" => post(dictionaries::search),
            "/api/v1/feature" => post(dictionaries::feature),
            "/api/v1/read" => post(reading::whole),
            "/api/v1/activations" => post(reading::one_feature),
            "/api/v1/toward" => post(toward::answer),
            "/api/v1/runs" => get(runs::list),
            "/health" => get(about::health),
            _ => get(about::openapi),
        }
    };
    let add = |router: Router<Arc<Shared>>, (path, _): (&str, &str)| {
        router.route(&path.replace("{id}", "{*id}"), route(path))
    };
    let router = PATHS.into_iter().fold(Router::new(), add);
    let show = |router: Router<Arc<Shared>>, file: page::File| {
        router.route(file.0, get(move || async move { page::answer(file) }))
    };
    let router = page::FILES.into_iter().fold(router, show);
    let router = router.fallback(nothing_there).method_not_allowed_fallback(other_method);
    router.layer(from_fn_with_state(Arc::clone(&shared), guard)).with_state(shared)
}

/// Lets in whom the gate lets in, and says of every answer that it is for nobody else.
async fn guard(State(shared): Here, request: Request, next: Next) -> Response {
    let is_page = page::is_at(request.uri().path());
    let checked =
        if is_page { shared.gate.check_page(request.headers()) } else { shared.gate.check(request.headers()) };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn nothing_there(request: Request) -> Problem {
    Problem::no_such_path(request.uri().path())
}

async fn other_method(request: Request) -> Problem {
    let path = request.uri().path();
    let of =
        |(known, _): &&(&str, &str)| *known == path || (path.starts_with("/v1/models/") && known.ends_with("{id}"));
    let allow = PATHS.iter().find(of).map_or("GET", |(_, method)| *method);
    let allow = if allow == Method::GET { "GET, HEAD" } else { allow };
    Problem::other_method(request.method().as_str(), path, allow)
}
