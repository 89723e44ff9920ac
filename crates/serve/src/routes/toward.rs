//! `/api/v1/toward`: features that may be about something are tried one after another, as texts among those of others.

use super::asking::aside;
use super::body;
use super::here::Here;
use super::lines::stream;
use super::pieces::data;
use crate::desk::{Event, Job};
use crate::fresh::random;
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::read;
use crate::wire::toward::{CandidateInfo, Candidates, IsAbout, TowardRequest, Tried};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use untangle_interpret::Spec;
use untangle_interpret::steer::grammar::{Operation, Selector, What};
use untangle_interpret::toward::{Candidate, Topic, find};
use untangle_model::{GenerateOptions, Wanted, repeated_runs};

/// How every candidate is tried: what the model would hold if the topic held.
const FIRST: &str = "set=1x";
/// How those that serve best are tried as well, and how many these are.
const ALSO: [&str; 4] = ["set=0.6x", "set=1.5x", "add=0.5x", "add=1x"];
const LEADING: usize = 2;
/// What repeats itself so many times as often as the model by itself, and a little that any text may, is no text any more.
const MAX_REPETITION: f64 = 1.5;
const REPEATED: f64 = 0.05;
/// How long to wait for room on the desk, and how often (chosen: half a minute).
const PAUSE: Duration = Duration::from_millis(500);
const PAUSES: usize = 60;

pub(super) async fn answer(State(shared): Here, request: Request) -> Response {
    respond(shared, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn respond(shared: Arc<Shared>, request: Request) -> Result<Response, Problem> {
    let body = body::read(request).await?;
    let here = Arc::clone(&shared);
    let (search, candidates) = aside(move || prepare(here, &read(&body)?)).await?;
    let (told, lines) = unbounded_channel();
    tokio::spawn(async move {
        if let Err(Left::Failed(problem)) = search.run(&candidates, &told).await {
            let _ = told.send(data(&problem.body()));
        }
    });
    Ok(stream(lines))
}

/// Why a search ends before its end.
enum Left {
    /// Nobody listens any more.
    Alone,
    Failed(Problem),
}

/// What is tried, and how.
struct Search {
    shared: Arc<Shared>,
    /// Name of the dictionary, where there are several.
    dictionary: Option<String>,
    prompt: Vec<u32>,
    options: Vec<GenerateOptions>,
    /// Which texts count as about it, in words, and whether one does.
    sign: String,
    about: IsAbout,
}

fn prepare(shared: Arc<Shared>, request: &TowardRequest) -> Result<(Search, Vec<Candidate>), Problem> {
    let concept = request.concept()?.to_owned();
    let (_, book) = shared.book(request.dictionary.as_deref())?;
    let prompt = shared.tokenizer.encode_with_bos(request.prompt()?, shared.bos);
    let prompt = prompt.map_err(|error| Problem::from(&error).at("prompt"))?;
    let (n, context) = (prompt.len(), shared.card.context_length);
    if n >= context {
        let message = format!("the prompt has {n} tokens, and the model's context is {context}; shorten it");
        return Err(Problem::field("prompt", message).with_code("context_length_exceeded"));
    }
    let max_new_tokens = request.max_tokens()?.min(shared.limits.max_tokens.unwrap_or(usize::MAX));
    let (sampling, seed) = (request.sampling()?, request.seed.map_or_else(random, |seed| seed.0));
    let seeded = |choice: usize| {
        let seed = seed.wrapping_add(choice as u64);
        GenerateOptions { max_new_tokens, sampling, seed, stop_at_eos: true }
    };
    let options = (0..request.texts()?.min(shared.limits.queue)).map(seeded).collect();
    let found = book.ask(|database| find(database, Some(&concept)))?;
    if !found.is_sought {
        return Err(Problem::nothing_found(&concept));
    }
    let dictionary = (shared.books.len() > 1).then(|| book.info.name.clone());
    let named = || {
        let topic = Topic::of_name(&concept);
        let sign = format!("with {}", topic.text());
        (sign, Box::new(move |text: &str| topic.appears(text)) as IsAbout)
    };
    let (sign, about) = shared.subjects.as_ref().map_or_else(named, |subjects| subjects.of(&concept));
    Ok((Search { dictionary, prompt, options, sign, about, shared }, found.candidates))
}

impl Search {
    async fn run(&self, candidates: &[Candidate], told: &UnboundedSender<String>) -> Result<(), Left> {
        let Some(topic) = candidates.first().map(|candidate| candidate.topic.clone()) else { return Ok(()) };
        let about = &self.about;
        tell(
            told,
            data(&Candidates {
                stage: "candidates",
                topic: topic.text(),
                sign: self.sign.clone(),
                candidates: candidates.iter().map(info).collect(),
            }),
        )?;
        let itself = self.attempt(None, about, told).await?;
        let mut tried = Vec::new();
        for candidate in candidates {
            let found = self.attempt(Some((candidate.card.feature, FIRST)), about, told).await?;
            tried.extend(found.filter(|found| is_text(found, itself.as_ref())));
        }
        // What was found first stays first where nothing tells the two apart.
        tried.sort_by_key(|tried| std::cmp::Reverse(tried.hits));
        let leading: Vec<usize> = tried.iter().take(LEADING).filter_map(|tried| tried.feature).collect();
        for feature in leading {
            for way in ALSO {
                let found = self.attempt(Some((feature, way)), about, told).await?;
                tried.extend(found.filter(|found| is_text(found, itself.as_ref())));
            }
        }
        tried.sort_by_key(|tried| std::cmp::Reverse(tried.hits));
        let by_itself = itself.map_or(0, |itself| itself.hits);
        if let Some(best) = tried.into_iter().next().filter(|best| best.hits > by_itself) {
            tell(told, data(&Tried { stage: "best", ..best }))?;
        }
        tell(told, "data: [DONE]\n\n".to_owned())
    }

    /// Writes the texts with a feature turned, or with none, and tells what came of it; nothing where the model cannot be
    /// steered so.
    async fn attempt(
        &self,
        turned: Option<(usize, &str)>,
        about: &(impl Fn(&str) -> bool + Sync),
        told: &UnboundedSender<String>,
    ) -> Result<Option<Tried>, Left> {
        let steering: Vec<Spec> =
            turned.map(|turned| self.spec(turned)).transpose().map_err(Left::Failed)?.into_iter().collect();
        let words = steering.iter().map(ToString::to_string).collect();
        let Some(texts) = self.write(steering, told).await? else { return Ok(None) };
        let (mut repeated, mut runs) = (0, 0);
        for text in &texts {
            let (again, all) = repeated_runs(&text.split_whitespace().collect::<Vec<_>>());
            (repeated, runs) = (repeated + again, runs + all);
        }
        let judged: Vec<(String, bool)> =
            texts.into_iter().map(|text| (about(&text), text)).map(|(is, text)| (text, is)).collect();
        let tried = Tried::of(turned.map(|turned| turned.0), words, &judged, repeated as f64 / runs.max(1) as f64);
        tell(told, data(&tried))?;
        Ok(Some(tried))
    }

    fn spec(&self, (feature, way): (usize, &str)) -> Result<Spec, Problem> {
        let what = What::Feature { dictionary: self.dictionary.clone(), selector: Selector::Id(feature) };
        let operation: Operation = way.parse().map_err(Problem::internal)?;
        Spec::new(what, operation).map_err(Problem::internal)
    }

    /// The texts; none where a strength leaves no number.
    async fn write(&self, steering: Vec<Spec>, told: &UnboundedSender<String>) -> Result<Option<Vec<String>>, Left> {
        let mut pauses = 0;
        let mut events = loop {
            let (told, events) = unbounded_channel();
            let job = Job {
                prompts: vec![self.prompt.clone()],
                options: self.options.clone(),
                stop: Vec::new(),
                wanted: Wanted::default(),
                steering: steering.clone(),
                of_name: 0,
                told,
            };
            match self.shared.desk.put(job) {
                Ok(()) => break events,
                Err(problem) if problem.is_of_load() && pauses < PAUSES => pauses += 1,
                Err(problem) => return Err(Left::Failed(problem)),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let (mut texts, mut left) = (vec![String::new(); self.options.len()], self.options.len());
        while left > 0 {
            // Texts that nobody waits for are given up with the receiver.
            if told.is_closed() {
                return Err(Left::Alone);
            }
            match events.recv().await {
                Some(Event::Piece { text, piece, .. }) => texts[text] += &piece,
                Some(Event::Ended { .. }) => left -= 1,
                Some(Event::Accepted { .. } | Event::Place { .. } | Event::Prompt { .. }) => {}
                Some(Event::Failed(problem)) if problem.is_of_steering() => return Ok(None),
                Some(Event::Failed(problem)) => return Err(Left::Failed(problem)),
                None => return Err(Left::Failed(Problem::closing())),
            }
        }
        Ok(Some(texts))
    }
}

fn info(candidate: &Candidate) -> CandidateInfo {
    CandidateInfo {
        feature: candidate.card.feature,
        label: candidate.card.label_text().map(str::to_owned),
        raises: candidate.raised().map(|effect| effect.token.clone()),
        density: candidate.card.density,
    }
}

/// Whether what was written is text still.
fn is_text(tried: &Tried, itself: Option<&Tried>) -> bool {
    tried.repetition <= MAX_REPETITION * itself.map_or(0.0, |itself| itself.repetition) + REPEATED
}

fn tell(told: &UnboundedSender<String>, line: String) -> Result<(), Left> {
    told.send(line).map_err(|_| Left::Alone)
}
