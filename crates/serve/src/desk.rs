//! Between those who take requests and the one who writes: what has arrived, and how much of it waits.

use crate::problem::Problem;
use crate::wire::writing::FinishReason;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use untangle_interpret::{Reading, Spec};
use untangle_model::{GenerateOptions, Scored, Wanted};

/// Texts that are asked for together: every prompt, each with `options.len()` continuations.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) prompts: Vec<Vec<u32>>,
    /// How each continuation of a prompt is drawn.
    pub(crate) options: Vec<GenerateOptions>,
    pub(crate) stop: Vec<String>,
    pub(crate) wanted: Wanted,
    pub(crate) steering: Vec<Spec>,
    /// So many of these, the first, are those of the model's name; the others were asked for on top of them.
    pub(crate) of_name: usize,
    /// Who asks is told here; where nobody listens any more, the texts are given up.
    pub(crate) told: UnboundedSender<Event>,
}

/// Texts that are to be read with a dictionary: which features fire where. Where nobody waits for the answer any more, none is
/// sought.
#[derive(Debug)]
pub(crate) struct Question {
    /// Number of the dictionary.
    pub(crate) dictionary: usize,
    pub(crate) texts: Vec<Vec<u32>>,
    /// Whether losses and predictions are asked for beside features, which takes several times as long.
    pub(crate) losses: bool,
    pub(crate) answer: oneshot::Sender<Result<Vec<Reading>, Problem>>,
}

/// What is told of a job. Texts are numbered prompt by prompt.
#[derive(Debug)]
pub(crate) enum Event {
    /// It has been understood: its interventions in full, and the number of texts that wait before it.
    Accepted { steering: Vec<String>, before: usize },
    /// So many texts wait before it now.
    Place { before: usize },
    /// Scores of all tokens of a prompt but the first.
    Prompt { text: usize, scores: Vec<Scored> },
    /// A text goes on.
    Piece { text: usize, piece: String, tokens: Vec<Placed> },
    /// A text has ended; the number of tokens that were chosen for it.
    Ended { text: usize, reason: FinishReason, tokens: usize },
    /// Nothing more comes.
    Failed(Problem),
}

/// A scored token, and where its text begins: bytes from the beginning of the continuation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub(crate) scored: Scored,
    pub(crate) at: usize,
}

impl Job {
    /// The number of its texts.
    pub(crate) fn texts(&self) -> usize {
        self.prompts.len() * self.options.len()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    arrival: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    arrived: VecDeque<Job>,
    questions: VecDeque<Question>,
    /// Texts of jobs that were taken and are not begun.
    waiting: usize,
    writing: usize,
    closed: bool,
}

/// How much is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) waiting: usize,
    pub(crate) writing: usize,
    /// Questions that wait.
    pub(crate) questions: usize,
    pub(crate) limit: usize,
    pub(crate) closed: bool,
}

impl State {
    fn waiting(&self) -> usize {
        self.waiting + self.arrived.iter().map(Job::texts).sum::<usize>()
    }
}

impl Desk {
    /// A desk at which `limit` texts may wait.
    pub(crate) fn new(limit: usize) -> Self {
        Desk { state: Mutex::default(), arrival: Condvar::new(), limit }
    }

    /// Nothing is left half done where a thread panics, so that what is there is right all the same.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job in.
    pub(crate) fn put(&self, job: Job) -> Result<(), Problem> {
        let texts = job.texts();
        if texts > self.limit {
            let message = format!("{texts} texts are asked for at once, and {} may wait; ask for fewer", self.limit);
            return Err(Problem::invalid(message).at("prompt"));
        }
        let mut state = self.state();
        match (state.closed, state.waiting()) {
            (true, _) => return Err(Problem::closing()),
            (_, waiting) if waiting + texts > self.limit => return Err(Problem::queue_full(waiting, self.limit)),
            _ => state.arrived.push_back(job),
        }
        self.arrival.notify_one();
        Ok(())
    }

    /// Takes a question in. As many may wait as texts.
    pub(crate) fn ask(&self, question: Question) -> Result<(), Problem> {
        let mut state = self.state();
        // Whoever has left makes room.
        if state.questions.len() >= self.limit {
            state.questions.retain(|question| !question.answer.is_closed());
        }
        match (state.closed, state.questions.len()) {
            (true, _) => return Err(Problem::closing()),
            (_, waiting) if waiting >= self.limit => return Err(Problem::queue_full(waiting, self.limit)),
            _ => state.questions.push_back(question),
        }
        self.arrival.notify_one();
        Ok(())
    }

    /// The question that is next, of those whose answer somebody waits for.
    pub(crate) fn question(&self) -> Option<Question> {
        let mut state = self.state();
        while let Some(question) = state.questions.pop_front() {
            if !question.answer.is_closed() {
                return Some(question);
            }
        }
        None
    }

    /// The jobs that have arrived; where nothing has, no question either, and `patience` is given, waits for it so long.
    pub(crate) fn take(&self, patience: Option<Duration>) -> Vec<Job> {
        let mut state = self.state();
        if let Some(patience) = patience.filter(|_| state.arrived.is_empty() && state.questions.is_empty()) {
            let woken = self.arrival.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = woken.0;
        }
        // Counted as waiting until it is said how many of them still do.
        let texts: usize = state.arrived.iter().map(Job::texts).sum();
        state.waiting += texts;
        state.arrived.drain(..).collect()
    }

    /// Says how many texts wait of those that were taken, and how many are being written.
    pub(crate) fn say(&self, waiting: usize, writing: usize) {
        let mut state = self.state();
        (state.waiting, state.writing) = (waiting, writing);
    }

    /// Takes nothing more in.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    /// How much is being done.
    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        Load {
            waiting: state.waiting(),
            writing: state.writing,
            questions: state.questions.len(),
            limit: self.limit,
            closed: state.closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    fn job(prompts: usize, n: usize) -> Job {
        let (told, _) = unbounded_channel();
        Job {
            prompts: vec![vec![1]; prompts],
            options: vec![GenerateOptions::default(); n],
            stop: Vec::new(),
            wanted: Wanted::default(),
            steering: Vec::new(),
            of_name: 0,
            told,
        }
    }

    fn status(done: Result<(), Problem>) -> u16 {
        done.map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn as_many_wait_as_may() {
        let desk = Desk::new(4);
        assert_eq!(status(desk.put(job(5, 1))), 400, "never");
        assert_eq!(
            (status(desk.put(job(1, 3))), status(desk.put(job(2, 1))), status(desk.put(job(1, 1)))),
            (200, 429, 200)
        );
        assert_eq!(desk.take(None).len(), 2);
        assert_eq!(desk.load(), Load { waiting: 4, writing: 0, questions: 0, limit: 4, closed: false });
        assert_eq!(status(desk.put(job(1, 1))), 429, "what was taken waits until it is begun");
        desk.say(1, 3);
        assert_eq!((status(desk.put(job(3, 1))), desk.load().waiting, desk.load().writing), (200, 4, 3));
    }

    #[test]
    fn questions_of_those_who_left_are_not_asked_and_make_room() {
        let desk = Desk::new(2);
        let ask = |dictionary: usize| {
            let (answer, waits) = oneshot::channel();
            (status(desk.ask(Question { dictionary, texts: Vec::new(), losses: false, answer })), waits)
        };
        let (first, second) = (ask(0), ask(1));
        assert_eq!((first.0, second.0, ask(2).0, desk.load().questions), (200, 200, 429, 2));
        drop(first);
        let third = ask(3);
        assert_eq!(third.0, 200, "the first has left");
        assert_eq!(desk.question().map(|question| question.dictionary), Some(1));
        drop(third);
        assert!(desk.question().is_none());
        desk.close();
        assert_eq!(ask(4).0, 503);
    }

    #[test]
    fn a_closed_desk_takes_nothing() {
        let desk = Desk::new(4);
        desk.close();
        assert_eq!(status(desk.put(job(1, 1))), 503);
        assert!(desk.take(Some(Duration::from_millis(1))).is_empty());
    }
}
