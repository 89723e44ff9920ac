//! `/api/v1/dictionaries`, `/api/v1/overview`, `/api/v1/search` and `/api/v1/feature`: what is known without asking the model.

use super::asking::aside;
use super::body;
use super::here::{Here, json};
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::dictionaries::{DictionaryList, OverviewRequest};
use crate::wire::features::{FeatureAnswer, FeatureRequest, Found, SearchRequest};
use crate::wire::read;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use untangle_interpret::page::compact::{Tokens, feature as compact};
use untangle_schema::TOOL_VERSION;

pub(super) async fn list(State(shared): Here) -> Response {
    let dictionaries = shared.books.iter().map(|book| book.info.clone()).collect();
    let (origin, tray) = (shared.origin.clone(), shared.tray.clone());
    json(&DictionaryList { model: shared.card.id.clone(), tool_version: TOOL_VERSION, dictionaries, origin, tray })
}

pub(super) async fn overview(State(shared): Here, request: Request) -> Response {
    answered(shared, request, |shared, body| {
        let OverviewRequest { dictionary } = read(body)?;
        let (_, book) = shared.book(dictionary.as_deref())?;
        Ok(json(&*book.overview()?))
    })
    .await
}

pub(super) async fn search(State(shared): Here, request: Request) -> Response {
    answered(shared, request, |shared, body| {
        let request: SearchRequest = read(body)?;
        let (query, limit) = (request.query()?, request.limit()?);
        let (_, book) = shared.book(request.dictionary.as_deref())?;
        let mut features = book.find(&query)?;
        let more = features.len() > limit;
        features.truncate(limit);
        Ok(json(&Found { dictionary: book.info.name.clone(), features, more }))
    })
    .await
}

pub(super) async fn feature(State(shared): Here, request: Request) -> Response {
    answered(shared, request, |shared, body| {
        let FeatureRequest { dictionary, feature } = read(body)?;
        let (_, book) = shared.book(dictionary.as_deref())?;
        let feature = number(feature, book.info.features)?;
        let card = book.ask(|database| database.card(feature))?;
        let near: Vec<usize> = card.neighbours.iter().map(|near| near.feature).collect();
        let names = book.names(&near)?;
        let mut tokens = Tokens::new();
        let value = compact(&card, &mut tokens);
        let (dictionary, tokens) = (book.info.name.clone(), tokens.texts().to_vec());
        Ok(json(&FeatureAnswer { dictionary, tokens, feature: value, names }))
    })
    .await
}

/// The number of a feature among so many.
pub(super) fn number(asked: Option<u64>, features: usize) -> Result<usize, Problem> {
    let asked = asked.ok_or_else(|| Problem::field("feature", "there is no feature; give its number"))?;
    let number = usize::try_from(asked).ok().filter(|number| *number < features);
    number.ok_or_else(|| Problem::no_such_feature(asked, features))
}

/// Reads a body, and answers it where that holds nobody up.
async fn answered(
    shared: Arc<Shared>,
    request: Request,
    answer: fn(&Shared, &[u8]) -> Result<Response, Problem>,
) -> Response {
    let answered = async {
        let body = body::read(request).await?;
        aside(move || answer(&shared, &body)).await
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}
