//! `/v1/chat/completions`: the model replies to a conversation.

use super::asking::{Accepted, accepted, aside, job, tokens};
use super::gathering::{Gathered, gather};
use super::here::{Here, json};
use super::pieces::{Pieces, data, stream};
use super::{body, scores};
use crate::desk::Placed;
use crate::fresh::{name, now};
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::chat::{ChatChoice, ChatChunk, ChatCompletion, ChatLogprobs, ChatRequest, ChunkChoice, Delta, Reply};
use crate::wire::writing::{FinishReason, Usage, WritingRequest};
use crate::wire::{check_steering_is_spelt, read};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use untangle_model::{Scored, Wanted};
use untangle_schema::event::Silent;

/// What an answer is made with.
struct Answer {
    shared: Arc<Shared>,
    id: String,
    created: u64,
    /// The name by which the model was asked.
    model: String,
    steering: Vec<String>,
    /// Tokens of the conversation.
    prompt: usize,
    scored: bool,
    /// The number of replies.
    n: usize,
    streams_usage: bool,
    n_tokens: usize,
}

pub(super) async fn answer(State(shared): Here, request: Request) -> Response {
    respond(shared, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn respond(shared: Arc<Shared>, request: Request) -> Result<Response, Problem> {
    let body = body::read(request).await?;
    let here = Arc::clone(&shared);
    let (mut answer, streams, job, events) = aside(move || {
        let (writing, own): (WritingRequest, ChatRequest) = (read(&body)?, read(&body)?);
        check_steering_is_spelt(&body)?;
        here.steering_of(writing.model.as_deref())?;
        writing.check()?;
        own.check()?;
        let prompt = prompt(&here, &own)?;
        let alternatives = own.alternatives();
        let most = tokens(own.max_completion_tokens.or(writing.max_tokens), usize::MAX);
        let n_prompt = prompt.len();
        let (job, events) = job(&here, &writing, vec![prompt], Wanted { prompt: false, alternatives }, most)?;
        let answer = Answer {
            id: name("chatcmpl"),
            created: now(),
            model: writing.model.clone().unwrap_or_else(|| here.card.id.clone()),
            shared: here,
            steering: Vec::new(),
            prompt: n_prompt,
            scored: alternatives.is_some(),
            n: job.options.len(),
            streams_usage: writing.streams_usage(),
            n_tokens: 0,
        };
        Ok((answer, writing.streams(), job, events))
    })
    .await?;
    let texts = job.texts();
    let Accepted { mut events, steering, before } = accepted(&shared, job, events).await?;
    answer.steering = steering;
    let response = match streams {
        true => stream(answer, events, texts, before),
        false => json(&answer.whole(&gather(&mut events, texts).await?)),
    };
    Ok(([("x-texts-before", before.to_string())], response).into_response())
}

/// The tokens of a conversation, up to where the model's turn begins.
fn prompt(shared: &Shared, request: &ChatRequest) -> Result<Vec<u32>, Problem> {
    let conversation = request.conversation()?;
    let template = shared.template.as_ref().map_err(|why| Problem::invalid(why.clone()).at("model"))?;
    let told = |error| Problem::from(&error).at("messages");
    let text = template.render(&conversation, true, &Silent).map_err(told)?;
    shared.tokenizer.encode_with_bos(&text, shared.bos).map_err(told)
}

impl Answer {
    /// All of it.
    fn whole(&self, texts: &[Gathered]) -> ChatCompletion {
        let choice = |(index, text): (usize, &Gathered)| ChatChoice {
            index,
            message: Reply { role: "assistant", content: text.text.clone(), refusal: None },
            logprobs: self.scores(&text.tokens),
            finish_reason: text.reason(),
        };
        ChatCompletion {
            id: self.id.clone(),
            object: "chat.completion",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.shared.fingerprint.clone(),
            choices: texts.iter().enumerate().map(choice).collect(),
            usage: Usage::new(self.prompt, texts.iter().map(|text| text.n_tokens).sum()),
            steering: self.steering.clone(),
        }
    }

    fn scores(&self, tokens: &[Placed]) -> Option<ChatLogprobs> {
        self.scored.then(|| scores::of_reply(&self.shared.tokenizer, tokens))
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> String {
        data(&ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.shared.fingerprint.clone(),
            choices,
            usage,
            steering: self.steering.clone(),
        })
    }

    /// A piece of one reply.
    fn piece_of(
        &self,
        index: usize,
        delta: Delta,
        logprobs: Option<ChatLogprobs>,
        finish_reason: Option<FinishReason>,
    ) -> String {
        self.chunk(vec![ChunkChoice { index, delta, logprobs, finish_reason }], None)
    }
}

impl Pieces for Answer {
    fn begin(&mut self) -> Vec<String> {
        let delta = || Delta { role: Some("assistant"), content: Some(String::new()) };
        (0..self.n).map(|index| self.piece_of(index, delta(), None, None)).collect()
    }

    fn prompt(&mut self, _: usize, _: Vec<Scored>) -> Vec<String> {
        Vec::new()
    }

    fn piece(&mut self, text: usize, piece: String, tokens: Vec<Placed>) -> String {
        self.piece_of(text, Delta { role: None, content: Some(piece) }, self.scores(&tokens), None)
    }

    fn ended(&mut self, text: usize, reason: FinishReason, tokens: usize) -> String {
        self.n_tokens += tokens;
        self.piece_of(text, Delta::default(), None, Some(reason))
    }

    fn end(&mut self) -> Option<String> {
        self.streams_usage.then(|| self.chunk(Vec::new(), Some(Usage::new(self.prompt, self.n_tokens))))
    }
}
