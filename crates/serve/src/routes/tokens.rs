//! `/tokenize`, `/detokenize` and `/tokenizer_info`: texts as tokens and back.

use super::asking::aside;
use super::body;
use super::here::{Here, json};
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::read;
use crate::wire::tokens::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokenized, TokenizerInfo};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(super) async fn tokenize(State(shared): Here, request: Request) -> Response {
    with_body(shared, request, cut).await
}

pub(super) async fn detokenize(State(shared): Here, request: Request) -> Response {
    with_body(shared, request, join).await
}

pub(super) async fn info(State(shared): Here) -> Response {
    let text = |id: u32| shared.tokenizer.token_text(id);
    let eos = shared.tokenizer.eos().first().copied().map(text);
    json(&TokenizerInfo { bos_token: shared.tokenizer.bos().map(text), eos_token: eos })
}

async fn with_body(
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

fn cut(shared: &Shared, body: &[u8]) -> Result<Response, Problem> {
    let TokenizeRequest { prompt, add_special_tokens } = read(body)?;
    let text = prompt.ok_or_else(|| Problem::field("prompt", "there is no prompt; give a text"))?;
    let tokens = match add_special_tokens {
        Some(false) => shared.tokenizer.encode(&text),
        _ => shared.tokenizer.encode_with_bos(&text, shared.bos),
    };
    let tokens = tokens.map_err(|error| Problem::from(&error).at("prompt"))?;
    Ok(json(&Tokenized { count: tokens.len(), max_model_len: shared.card.context_length, tokens }))
}

fn join(shared: &Shared, body: &[u8]) -> Result<Response, Problem> {
    let DetokenizeRequest { tokens } = read(body)?;
    let tokens = tokens.ok_or_else(|| Problem::field("tokens", "there are no tokens; give a list of ids"))?;
    if let Some(id) = tokens.iter().find(|id| **id as usize >= shared.vocabulary) {
        let message = format!("there is no token {id}; ids go from 0 to {}", shared.vocabulary - 1);
        return Err(Problem::field("tokens", message));
    }
    let prompt = shared.tokenizer.decode(&tokens).map_err(|error| Problem::from(&error).at("tokens"))?;
    Ok(json(&Detokenized { prompt }))
}
