//! From what is asked for to a job that has been accepted.

use crate::desk::{Event, Job};
use crate::fresh::random;
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::steering;
use crate::wire::writing::WritingRequest;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use untangle_model::{GenerateOptions, Wanted};

/// Where events of a job arrive.
pub(super) type Events = UnboundedReceiver<Event>;

/// What was accepted.
pub(super) struct Accepted {
    pub(super) events: Events,
    /// Interventions in full.
    pub(super) steering: Vec<String>,
    /// Texts that wait before.
    pub(super) before: usize,
}

/// Checks what is asked for, as far as that can be said without the model.
pub(super) fn job(
    shared: &Shared,
    request: &WritingRequest,
    prompts: Vec<Vec<u32>>,
    wanted: Wanted,
    max_tokens: usize,
) -> Result<(Job, Events), Problem> {
    let context = shared.card.context_length;
    for prompt in &prompts {
        if prompt.is_empty() {
            let message = "the prompt has no token, and none was put before it; give a word at least";
            return Err(Problem::field("prompt", message));
        }
        if prompt.len() > context {
            let message =
                format!("the prompt has {} tokens, and the model's context is {context}; shorten it", prompt.len());
            return Err(Problem::field("prompt", message).with_code("context_length_exceeded"));
        }
        if let Some(id) = prompt.iter().find(|id| **id as usize >= shared.vocabulary) {
            let message = format!("there is no token {id}; ids go from 0 to {}", shared.vocabulary - 1);
            return Err(Problem::field("prompt", message));
        }
    }
    // A text ends where the context does, however many more are asked for.
    let max_tokens = max_tokens.min(shared.limits.max_tokens.unwrap_or(usize::MAX)).min(context + 1);
    let options = request.options(max_tokens, random())?;
    // The n-th continuation has a seed of its own, whatever other prompts there are.
    let seeded = |choice: usize| GenerateOptions { seed: options.seed.wrapping_add(choice as u64), ..options };
    let mut steered = shared.steering_of(request.model.as_deref())?;
    let of_name = steered.len();
    steered.extend(steering::read(request.steering.as_ref(), &shared.vectors)?);
    let (told, events) = unbounded_channel();
    let job = Job {
        prompts,
        options: (0..request.choices()?).map(seeded).collect(),
        stop: request.stops()?,
        wanted,
        steering: steered,
        of_name,
        told,
    };
    Ok((job, events))
}

/// The number of tokens that a request asks for, as this machine counts.
pub(super) fn tokens(asked: Option<u64>, usual: usize) -> usize {
    asked.map_or(usual, |asked| usize::try_from(asked).unwrap_or(usize::MAX))
}

/// Hands a job in, and waits until it has been understood.
pub(super) async fn accepted(shared: &Shared, job: Job, mut events: Events) -> Result<Accepted, Problem> {
    shared.desk.put(job)?;
    match events.recv().await {
        Some(Event::Accepted { steering, before }) => Ok(Accepted { events, steering, before }),
        Some(Event::Failed(problem)) => Err(problem),
        _ => Err(Problem::closing()),
    }
}

/// Does work that takes a while, such as cutting a long text into tokens, where it holds nobody up.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Problem::internal("the request could not be read, which is a defect of the program")))
}
