//! `/v1/completions`: prompts are continued.

use super::asking::{Accepted, accepted, aside, job, tokens};
use super::gathering::{Gathered, gather};
use super::here::{Here, json};
use super::pieces::{Pieces, data, stream};
use super::{body, scores};
use crate::desk::Placed;
use crate::fresh::{name, now};
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::completions::{Completion, CompletionChoice, CompletionLogprobs, CompletionRequest, OnePrompt};
use crate::wire::writing::{FinishReason, Usage, WritingRequest};
use crate::wire::{check_steering_is_spelt, read};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use untangle_model::{Scored, Wanted};

/// Tokens where no number is said, as OpenAI has it.
const USUAL: usize = 16;

/// What an answer is made with.
struct Answer {
    shared: Arc<Shared>,
    head: Completion,
    prompts: Vec<Vec<u32>>,
    /// The prompts' texts, where they are part of the answer.
    echoed: Option<Vec<String>>,
    /// Whether tokens come with their scores.
    scored: bool,
    /// Continuations of every prompt.
    n: usize,
    /// Whether the number of tokens comes last.
    streams_usage: bool,
    /// The texts so far, where they come in pieces, and tokens of all.
    so_far: Vec<String>,
    n_tokens: usize,
}

pub(super) async fn answer(State(shared): Here, request: Request) -> Response {
    respond(shared, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn respond(shared: Arc<Shared>, request: Request) -> Result<Response, Problem> {
    let body = body::read(request).await?;
    let here = Arc::clone(&shared);
    let (mut answer, streams, job, events) = aside(move || {
        let (writing, own): (WritingRequest, CompletionRequest) = (read(&body)?, read(&body)?);
        check_steering_is_spelt(&body)?;
        here.steering_of(writing.model.as_deref())?;
        writing.check()?;
        let n = writing.choices()?;
        own.check(n)?;
        let asked = own.prompts()?;
        let prompts = asked.iter().map(|prompt| tokens_of(&here, prompt)).collect::<Result<Vec<_>, Problem>>()?;
        let alternatives = own.logprobs.map(|n| n as usize);
        let wanted = Wanted { prompt: own.echo == Some(true), alternatives };
        let (job, events) = job(&here, &writing, prompts.clone(), wanted, tokens(writing.max_tokens, USUAL))?;
        let texts = || asked.iter().zip(&prompts).map(|(prompt, tokens)| text_of(&here, prompt, tokens));
        let echoed = (own.echo == Some(true)).then(|| texts().collect::<Result<Vec<_>, Problem>>()).transpose()?;
        let answer = Answer {
            head: head(&here, writing.model.as_deref()),
            shared: here,
            so_far: vec![String::new(); prompts.len() * n],
            prompts,
            echoed,
            scored: alternatives.is_some(),
            n,
            streams_usage: writing.streams_usage(),
            n_tokens: 0,
        };
        Ok((answer, writing.streams(), job, events))
    })
    .await?;
    let texts = job.texts();
    let Accepted { mut events, steering, before } = accepted(&shared, job, events).await?;
    answer.head.steering = steering;
    let response = match streams {
        true => stream(answer, events, texts, before),
        false => json(&answer.whole(&gather(&mut events, texts).await?)?),
    };
    Ok(([("x-texts-before", before.to_string())], response).into_response())
}

fn tokens_of(shared: &Shared, prompt: &OnePrompt) -> Result<Vec<u32>, Problem> {
    match prompt {
        OnePrompt::Tokens(tokens) => Ok(tokens.clone()),
        OnePrompt::Text(text) => {
            let tokens = shared.tokenizer.encode_with_bos(text, shared.bos);
            tokens.map_err(|error| Problem::from(&error).at("prompt"))
        }
    }
}

fn text_of(shared: &Shared, prompt: &OnePrompt, tokens: &[u32]) -> Result<String, Problem> {
    match prompt {
        OnePrompt::Text(text) => Ok(text.clone()),
        OnePrompt::Tokens(_) => shared.tokenizer.decode(tokens).map_err(|error| Problem::from(&error)),
    }
}

fn head(shared: &Shared, asked: Option<&str>) -> Completion {
    Completion {
        id: name("cmpl"),
        object: "text_completion",
        created: now(),
        model: asked.unwrap_or(&shared.card.id).to_owned(),
        system_fingerprint: shared.fingerprint.clone(),
        choices: Vec::new(),
        usage: None,
        steering: Vec::new(),
    }
}

impl Answer {
    /// All of it.
    fn whole(&self, texts: &[Gathered]) -> Result<Completion, Problem> {
        let choice = |(index, text): (usize, &Gathered)| {
            let echoed = self.echo(index);
            let logprobs = match self.scored {
                false => None,
                true => {
                    let mut all = self.prompt_scores(index, &text.prompt)?;
                    scores::join(&mut all, self.scores(index, &text.text, &text.tokens));
                    Some(all)
                }
            };
            let finish_reason = Some(text.reason());
            Ok(CompletionChoice { index, text: format!("{echoed}{}", text.text), logprobs, finish_reason })
        };
        let choices = texts.iter().enumerate().map(choice).collect::<Result<_, Problem>>()?;
        let usage = Some(self.usage(texts.iter().map(|text| text.n_tokens).sum()));
        Ok(Completion { choices, usage, ..self.head.clone() })
    }

    fn usage(&self, n_tokens: usize) -> Usage {
        Usage::new(self.prompts.iter().map(Vec::len).sum(), n_tokens)
    }

    /// The text of a choice before its continuation.
    fn echo(&self, index: usize) -> &str {
        self.echoed.as_ref().map_or("", |echoed| &echoed[index / self.n])
    }

    /// Scores of the prompt of a choice, where it is part of the answer.
    fn prompt_scores(&self, index: usize, of_prompt: &[Scored]) -> Result<CompletionLogprobs, Problem> {
        match self.echoed {
            None => Ok(CompletionLogprobs::default()),
            Some(_) => scores::of_prompt(&self.shared.tokenizer, &self.prompts[index / self.n], of_prompt)
                .map_err(|error| Problem::from(&error)),
        }
    }

    /// Scores of tokens of a continuation, of which `text` is there.
    fn scores(&self, index: usize, text: &str, tokens: &[Placed]) -> CompletionLogprobs {
        let base = self.echo(index).chars().count();
        scores::of_tokens(&self.shared.tokenizer, text, base, tokens)
    }

    /// A piece of one choice.
    fn chunk(
        &self,
        index: usize,
        text: String,
        logprobs: Option<CompletionLogprobs>,
        finish_reason: Option<FinishReason>,
    ) -> String {
        let choices = vec![CompletionChoice { index, text, logprobs, finish_reason }];
        data(&Completion { choices, ..self.head.clone() })
    }
}

impl Pieces for Answer {
    fn begin(&mut self) -> Vec<String> {
        // With scores, prompts come when these are known.
        if self.scored || self.echoed.is_none() {
            return Vec::new();
        }
        (0..self.so_far.len()).map(|index| self.chunk(index, self.echo(index).to_owned(), None, None)).collect()
    }

    fn prompt(&mut self, text: usize, of_prompt: Vec<Scored>) -> Vec<String> {
        let scores = self.prompt_scores(text, &of_prompt).ok();
        vec![self.chunk(text, self.echo(text).to_owned(), scores, None)]
    }

    fn piece(&mut self, text: usize, piece: String, tokens: Vec<Placed>) -> String {
        self.so_far[text] += &piece;
        let scores = self.scored.then(|| self.scores(text, &self.so_far[text], &tokens));
        self.chunk(text, piece, scores, None)
    }

    fn ended(&mut self, text: usize, reason: FinishReason, tokens: usize) -> String {
        self.n_tokens += tokens;
        self.chunk(text, String::new(), None, Some(reason))
    }

    fn end(&mut self) -> Option<String> {
        let usage = Some(self.usage(self.n_tokens));
        self.streams_usage.then(|| data(&Completion { usage, ..self.head.clone() }))
    }
}
