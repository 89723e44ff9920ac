//! How is one request answered: from what was kept, or by asking as often as that makes sense?

use crate::address::Address;
use crate::connect;
use crate::error::EndpointError;
use crate::kept::Kept;
use crate::manner::{Manner, Request};
use crate::options::{Budget, EndpointOptions};
use crate::patience::{Failure, LOOK, Patience, asked_wait};
use crate::purse::{Purse, Spent, Taken};
use crate::reply::{Reply, excerpt, understood};
use crate::wire::{self, Came, Silence};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use untangle_schema::Observer;
use ureq::Agent;

/// An endpoint that can be asked.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) options: EndpointOptions,
    url: String,
    agent: Agent,
    manner: Mutex<Manner>,
    patience: Patience,
    purse: Purse,
    kept: Kept,
}

/// What became of an attempt that did not fail.
enum Heard {
    Reply(Reply),
    /// It is asked again at once, in another form.
    Otherwise(Manner),
}

impl Endpoint {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// When a setting is wrong, or the file of answers cannot be used.
    pub fn new(options: EndpointOptions) -> Result<Self, EndpointError> {
        let address = Address::of(&options.url)?;
        if options.model.trim().is_empty() {
            let (given, reason) = (options.model.clone(), "it has no name".to_owned());
            return Err(EndpointError::Setting { what: "the endpoint's model", given, reason });
        }
        Ok(Endpoint {
            agent: connect::agent(&options, &address)?,
            url: address.url,
            manner: Mutex::default(),
            patience: Patience::new(options.retry),
            purse: Purse::new(options.budget),
            kept: options.answers.as_deref().map_or_else(|| Ok(Kept::nowhere()), Kept::open)?,
            options,
        })
    }

    /// The model that answers.
    pub fn model(&self) -> &str {
        &self.options.model
    }

    /// Requests under way at a time.
    pub fn parallel(&self) -> usize {
        self.options.parallel.max(1)
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.purse.spent()
    }

    /// What may be spent in all.
    pub fn budget(&self) -> Budget {
        self.options.budget
    }

    /// Answers of earlier runs that could not be believed.
    pub fn damaged_answers(&self) -> usize {
        self.kept.damaged()
    }

    pub(crate) fn name(&self, request: &Request) -> String {
        request.key(&self.url, &self.options.model)
    }

    /// Why a request of so many tokens is not sent any more.
    pub(crate) fn refusal(&self, prompt_tokens: u64) -> EndpointError {
        self.purse.refusal(prompt_tokens)
    }

    /// Lets an answer go that was kept and `says_nothing`, so that the request is sent again.
    ///
    /// # Errors
    /// When answers are kept in a file that cannot be written.
    pub fn forget_where(&self, request: &Request, says_nothing: fn(&Reply) -> bool) -> Result<(), EndpointError> {
        let name = self.name(request);
        match self.kept.find(&name, self.options.answer_tokens).is_some_and(|reply| says_nothing(&reply)) {
            true => self.kept.forget(name),
            false => Ok(()),
        }
    }

    /// Asks until there is an answer or no hope of one; none where the asking is to `stop` before this is sent. `tell` hears why it takes
    /// longer.
    pub(crate) fn ask(
        &self,
        request: &Request,
        observer: &dyn Observer,
        stop: &AtomicBool,
        tell: &dyn Fn(String),
    ) -> Result<Option<Reply>, EndpointError> {
        let name = self.name(request);
        if let Some(reply) = self.kept.find(&name, self.options.answer_tokens) {
            self.purse.found();
            return Ok(Some(reply));
        }
        if self.options.offline {
            return Err(EndpointError::Offline);
        }
        let (mut manner, mut attempts) = (*self.manner.lock().unwrap_or_else(PoisonError::into_inner), 0);
        loop {
            self.patience.wait(observer)?;
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Some(taken) = self.purse.take(request.tokens())? else {
                // Requests under way may cost all that is left, so their answers come first. Until then others may stop the asking, and
                // the endpoint may ask for a pause.
                self.purse.wait(LOOK);
                continue;
            };
            match self.attempt(request, manner, taken, observer)? {
                Ok(Heard::Reply(reply)) => {
                    *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
                    self.kept.put(name, reply.clone())?;
                    return Ok(Some(reply));
                }
                Ok(Heard::Otherwise(next)) => manner = next,
                Err(failure) => {
                    attempts += 1;
                    if let Some(note) = self.patience.again(&self.url, failure, attempts)? {
                        tell(note);
                    }
                }
            }
        }
    }

    /// Sends the request once. The outer error ends everything.
    fn attempt(
        &self,
        request: &Request,
        manner: Manner,
        taken: Taken<'_>,
        observer: &dyn Observer,
    ) -> Result<Result<Heard, Failure>, EndpointError> {
        let authorization = self.options.key.as_ref().map(|key| format!("Bearer {}", key.secret()));
        let body = manner.body(&self.options, request);
        let came = wire::post(&self.agent, &self.url, authorization, body, observer);
        let heard = match came {
            Ok(came) => self.heard(&came, manner, request),
            Err(Silence::Broken(reason)) => Err(Failure::Broken(reason)),
            Err(Silence::Odd(what)) => Err(Failure::Final(EndpointError::NoAnswer { url: self.url.clone(), what })),
            Err(Silence::Interrupted) => return Err(EndpointError::Interrupted),
        };
        taken.settle(if let Ok(Heard::Reply(reply)) = &heard { Some(reply) } else { None });
        Ok(heard)
    }

    /// What an answer's status and body mean.
    fn heard(&self, came: &Came, manner: Manner, request: &Request) -> Result<Heard, Failure> {
        let (status, url) = (came.status, self.url.clone());
        if (200..300).contains(&status) {
            let reply = understood(&came.body, request.tokens(), self.options.answer_tokens);
            return reply.map(Heard::Reply).map_err(|what| Failure::NoAnswer(self.without_key(&what)));
        }
        let all = String::from_utf8_lossy(&came.body);
        if let Some(next) = manner.conceding(status, &all, request.odds) {
            return Ok(Heard::Otherwise(next));
        }
        let said = if came.body.is_empty() { String::new() } else { self.without_key(&excerpt(&came.body)) };
        Err(match status {
            408 | 409 | 425 | 429 | 500..=599 => {
                Failure::Busy { status, wait: asked_wait(&came.headers, SystemTime::now()), said }
            }
            401 | 403 => Failure::Final(EndpointError::Refused { url, status, said, key: self.options.key.is_some() }),
            404 => Failure::Final(EndpointError::Absent { url, model: self.options.model.clone(), said }),
            300..=399 => {
                let to = came.headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
                let reason = format!("it redirects to {to}; name that URL, if it is the endpoint's");
                Failure::Final(EndpointError::Setting { what: "the endpoint", given: url, reason })
            }
            _ => Failure::Final(EndpointError::NotTaken { url, status, said }),
        })
    }

    /// Some endpoints quote the key that they refuse.
    fn without_key(&self, said: &str) -> String {
        match &self.options.key {
            Some(key) => said.replace(key.secret(), "(the key)"),
            None => said.to_owned(),
        }
    }
}
