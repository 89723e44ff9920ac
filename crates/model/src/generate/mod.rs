//! Continuing prompts, token by token, with a hook looking on or interfering.
//!
//! - [`request`]: what is asked for and what comes of it
//! - [`generate`]: one prompt; [`generate_rows`]: one prompt, several seeds; [`generate_batch`]: any prompts and settings
//! - [`batch`]: the same where texts join others and leave them between two tokens; [`scores`]: how likely tokens were
//! - [`written`]: the same as text, which may end at given words and is told of piece by piece

pub mod batch;
pub mod request;
mod row;
pub mod scores;
mod texts;
pub mod written;

use crate::error::ModelError;
use crate::hook::Hook;
use crate::language_model::LanguageModel;
pub use batch::{Batch, Entry, Told};
pub use request::{Continuation, GenerateOptions, Request, StopReason};
use row::{Row, check};
pub use scores::{Scored, Wanted};
use std::ops::ControlFlow;
pub use texts::LOGITS_AT_ONCE;
use texts::Texts;

/// Continues `prompt`. `on_token` receives every new token as it is chosen.
///
/// The hook sees the prompt in one pass of [`Phase::Prompt`](crate::hook::Phase::Prompt) and then each new token but the last
/// in a pass of [`Phase::Generated`](crate::hook::Phase::Generated).
///
/// # Errors
/// The prompt is empty or does not fit the context, the settings are out of range, the hook fails or ends passes
/// early, or the logits stop being finite.
pub fn generate(
    model: &LanguageModel,
    prompt: &[u32],
    options: &GenerateOptions,
    hook: &mut dyn Hook,
    on_token: &mut dyn FnMut(u32),
) -> Result<Continuation, ModelError> {
    let mut rows = generate_rows(model, prompt, options, &[options.seed], hook, &mut |_, token| on_token(token))?;
    Ok(rows.remove(0)) // one row per seed
}

/// Continues `prompt` once for each of `seeds`, all in one batch; `options.seed` is not used. `on_token` receives the
/// row and its new token. A row that has ended stays in the batch until all have, and is not listened to.
///
/// # Errors
/// As [`generate`].
pub fn generate_rows(
    model: &LanguageModel,
    prompt: &[u32],
    options: &GenerateOptions,
    seeds: &[u64],
    hook: &mut dyn Hook,
    on_token: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Continuation>, ModelError> {
    let request =
        |seed: &u64| Request { prompt: prompt.to_vec(), options: GenerateOptions { seed: *seed, ..*options } };
    let requests: Vec<Request> = seeds.iter().map(request).collect();
    generate_batch(model, &requests, hook, &mut |row, token| {
        on_token(row, token);
        ControlFlow::Continue(())
    })
}

/// Continues prompts, which may be of different lengths and have settings of their own, in one batch: row i of the batch is
/// request i, and every row is what it would be alone. `on_token` receives the row and its new token; a break ends that row.
/// A row that has ended stays in the batch until all have, and is not listened to.
///
/// Shorter prompts are padded at the left; padding is never seen by real tokens and takes no position. Prompts of one length
/// pass as they are.
///
/// # Errors
/// As [`generate`], and where texts of different lengths would outgrow the angles of short ones (LongRoPE).
pub fn generate_batch(
    model: &LanguageModel,
    requests: &[Request],
    hook: &mut dyn Hook,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Result<Vec<Continuation>, ModelError> {
    requests.iter().try_for_each(|request| check(model, request, hook))?;
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<Row> = requests.iter().map(Row::new).collect();
    let mut texts = Texts::new(model, requests)?;
    while rows.iter().any(|row| row.stop.is_none()) {
        let logits = tch::no_grad(|| texts.last_logits(hook))?;
        let mut chosen = vec![None; rows.len()];
        for (index, row) in rows.iter_mut().enumerate().filter(|(_, row)| row.stop.is_none()) {
            let (text, n_tokens) = (texts.text(index), texts.text(index).len());
            let sampling = row.options.sampling;
            let token = sampling.choose(&logits[index], text, &mut row.rng);
            let token = token.ok_or(ModelError::NotFinite { n_tokens })? as u32;
            if row.accept(token, model, n_tokens) && on_token(index, token).is_break() {
                row.stop.get_or_insert(StopReason::Cancelled);
            }
            // What ended a text is not read any more; its context may be full.
            chosen[index] = row.stop.is_none().then_some(token);
        }
        texts.push(&chosen);
    }
    Ok(rows.into_iter().map(Row::finish).collect())
}
