//! `/api/v1/read` and `/api/v1/activations`: the model reads a text, and a dictionary says what fires in it.

use super::asking::aside;
use super::body;
use super::dictionaries::number;
use super::here::{Here, json};
use crate::desk::Question;
use crate::limits::{READ_LOGITS, READ_TOKENS};
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::read;
use crate::wire::reading::{ActivationsAnswer, ActivationsRequest, FiredText, ReadAnswer, ReadRequest};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot::{self, Receiver};
use untangle_interpret::Reading;

/// Where an answer of the engine arrives.
type Answer = Receiver<Result<Vec<Reading>, Problem>>;

pub(super) async fn whole(State(shared): Here, request: Request) -> Response {
    read_whole(shared, request).await.unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn one_feature(State(shared): Here, request: Request) -> Response {
    read_one_feature(shared, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn read_whole(shared: Arc<Shared>, request: Request) -> Result<Response, Problem> {
    let body = body::read(request).await?;
    let here = Arc::clone(&shared);
    let (question, answer, dictionary, top) = aside(move || {
        let request: ReadRequest = read(&body)?;
        let prompt =
            request.prompt.as_deref().ok_or_else(|| Problem::field("prompt", "there is no prompt; give a text"))?;
        let (dictionary, _) = here.book(request.dictionary.as_deref())?;
        let losses = request.losses == Some(true);
        let texts = tokens(&here, &[prompt], "prompt", losses)?;
        let (question, answer) = ask(dictionary, texts, losses);
        Ok((question, answer, dictionary, request.top()?))
    })
    .await?;
    let mut readings = asked(&shared, question, answer).await?;
    let reading = readings.pop().ok_or_else(Problem::closing)?;
    aside(move || told(&shared, dictionary, reading, top)).await
}

/// A reading with what is known of its features.
fn told(shared: &Shared, dictionary: usize, mut reading: Reading, top: usize) -> Result<Response, Problem> {
    let book = &shared.books[dictionary];
    reading.tokens.iter_mut().for_each(|token| token.features.truncate(top));
    let fires: BTreeSet<usize> =
        reading.tokens.iter().flat_map(|token| token.features.iter().map(|active| active.feature)).collect();
    let features = book.lines(&fires.into_iter().collect::<Vec<_>>())?;
    let Reading { tokens, mean_loss, mean_spliced_loss, missing } = reading;
    let dictionary = book.info.name.clone();
    Ok(json(&ReadAnswer { dictionary, tokens, mean_loss, mean_spliced_loss, missing, features }))
}

async fn read_one_feature(shared: Arc<Shared>, request: Request) -> Result<Response, Problem> {
    let body = body::read(request).await?;
    let here = Arc::clone(&shared);
    let (question, answer, dictionary, feature) = aside(move || {
        let request: ActivationsRequest = read(&body)?;
        let (dictionary, book) = here.book(request.dictionary.as_deref())?;
        let feature = number(request.feature, book.info.features)?;
        let texts: Vec<&str> = request.texts()?.iter().map(String::as_str).collect();
        let (question, answer) = ask(dictionary, tokens(&here, &texts, "texts", false)?, false);
        Ok((question, answer, book.info.name.clone(), feature))
    })
    .await?;
    let readings = asked(&shared, question, answer).await?;
    let fired = |reading: Reading| {
        let of = |token: &untangle_interpret::read::ReadToken| {
            token.features.iter().find(|active| active.feature == feature).map_or(0.0, |active| active.activation)
        };
        let activations = reading.tokens.iter().map(of).collect();
        FiredText { tokens: reading.tokens.into_iter().map(|token| token.text).collect(), activations }
    };
    let texts = readings.into_iter().map(fired).collect();
    Ok(json(&ActivationsAnswer { dictionary, feature, texts }))
}

fn ask(dictionary: usize, texts: Vec<Vec<u32>>, losses: bool) -> (Question, Answer) {
    let (answer, waits) = oneshot::channel();
    (Question { dictionary, texts, losses, answer }, waits)
}

/// The engine's answer. Where whoever asks leaves, the receiver goes with them, and nothing more is computed.
async fn asked(shared: &Shared, question: Question, answer: Answer) -> Result<Vec<Reading>, Problem> {
    shared.desk.ask(question)?;
    answer.await.unwrap_or_else(|_| Err(Problem::closing()))
}

/// Texts as tokens, as many as may be read at once.
fn tokens(shared: &Shared, texts: &[&str], field: &'static str, losses: bool) -> Result<Vec<Vec<u32>>, Problem> {
    let of_logits = if losses { READ_LOGITS / shared.vocabulary.max(1) } else { READ_TOKENS };
    let longest = shared.card.context_length.min(of_logits).min(READ_TOKENS);
    let (mut all, mut n) = (Vec::with_capacity(texts.len()), 0);
    for text in texts {
        let tokens = shared.tokenizer.encode_with_bos(text, shared.bos);
        let tokens = tokens.map_err(|error| Problem::from(&error).at(field))?;
        n += tokens.len();
        match tokens.len() {
            0 => return Err(Problem::field(field, "there is nothing to read; write a word at least")),
            len if len > longest => {
                let message = format!("the text has {len} tokens, and at most {longest} are read at once; shorten it");
                return Err(Problem::field(field, message).with_code("context_length_exceeded"));
            }
            _ if n > READ_TOKENS => {
                let message =
                    format!("the texts have more than {READ_TOKENS} tokens together; send them in several requests");
                return Err(Problem::field(field, message).with_code("context_length_exceeded"));
            }
            _ => all.push(tokens),
        }
    }
    Ok(all)
}
