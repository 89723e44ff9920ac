//! How are many requests answered at a time?

use crate::ask::Endpoint;
use crate::error::EndpointError;
use crate::manner::Request;
use crate::purse::Spent;
use crate::reply::Reply;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use untangle_schema::{Event, Observer};

/// What became of requests.
#[derive(Debug, Default)]
pub struct Answered {
    /// The answers, in the order of the requests; none where there is none.
    pub replies: Vec<Option<Reply>>,
    /// Requests that were not taken, or whose answer is none, with the reason.
    pub refused: Vec<(usize, EndpointError)>,
    /// What ended the asking, if anything did.
    pub stopped: Option<EndpointError>,
}

enum News {
    Reply(usize, Reply),
    Refused(usize, EndpointError),
    Stopped(EndpointError),
    Note(String),
}

impl Endpoint {
    /// Asks all, some at a time; `heard` is told after every answer what was spent so far. The same request is asked once.
    pub fn ask_all(&self, requests: &[Request], observer: &dyn Observer, mut heard: impl FnMut(&Spent)) -> Answered {
        let mut answered = Answered { replies: vec![None; requests.len()], ..Answered::default() };
        // Where each name comes first, and where else.
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, request) in requests.iter().enumerate() {
            places.entry(self.name(request)).or_default().push(at);
        }
        let mut asked: Vec<Vec<usize>> = places.into_values().collect();
        asked.sort_unstable();
        let (next, stop, (tell, news)) = (AtomicUsize::new(0), AtomicBool::new(false), channel());
        std::thread::scope(|scope| {
            for _ in 0..self.parallel().min(asked.len()) {
                let (asked, next, stop, tell) = (&asked, &next, &stop, tell.clone());
                scope.spawn(move || self.work(requests, asked, next, stop, &tell, observer));
            }
            // So that the news end when the last thread does.
            drop(tell);
            for news in news {
                match news {
                    News::Reply(at, reply) => {
                        asked[at].iter().for_each(|place| answered.replies[*place] = Some(reply.clone()));
                        heard(&self.spent());
                    }
                    News::Refused(at, error) => answered.refused.push((asked[at][0], error)),
                    News::Stopped(error) => drop(answered.stopped.get_or_insert(error)),
                    News::Note(text) => observer.event(Event::Note(&text)),
                }
            }
        });
        if let Some(EndpointError::Spent { prompt_tokens, .. }) = answered.stopped {
            // What was under way when the budget ended counts as well.
            answered.stopped = Some(self.refusal(prompt_tokens));
        }
        answered
    }

    /// Asks what comes next until nothing is left or one of the threads has to stop.
    fn work(
        &self,
        requests: &[Request],
        asked: &[Vec<usize>],
        next: &AtomicUsize,
        stop: &AtomicBool,
        tell: &Sender<News>,
        observer: &dyn Observer,
    ) {
        // Whoever listens stays until all have ended.
        let say = |news: News| drop(tell.send(news));
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = asked.get(at).and_then(|places| places.first()) else { return };
            match self.ask(&requests[*place], observer, stop, &|note| say(News::Note(note))) {
                Ok(Some(reply)) => say(News::Reply(at, reply)),
                Ok(None) => return,
                Err(error) if error.is_of_one_request() => say(News::Refused(at, error)),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    say(News::Stopped(error));
                }
            }
        }
    }
}
