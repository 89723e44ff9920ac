//! One text that is being written: whether it can be, what was added, and whether it has ended.

use super::request::{Continuation, GenerateOptions, Request, StopReason};
use crate::error::ModelError;
use crate::hook::Hook;
use crate::language_model::LanguageModel;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One text that is being written.
pub(super) struct Row {
    pub(super) options: GenerateOptions,
    pub(super) rng: ChaCha8Rng,
    tokens: Vec<u32>,
    pub(super) stop: Option<StopReason>,
}

impl Row {
    pub(super) fn new(request: &Request) -> Self {
        let options = request.options;
        let stop = (options.max_new_tokens == 0).then_some(StopReason::MaxNewTokens);
        Self { options, rng: ChaCha8Rng::seed_from_u64(options.seed), tokens: Vec::new(), stop }
    }

    /// Takes a chosen token and decides whether the text ends; whether the token is part of it. `seen` tokens of this
    /// row have gone through the model.
    pub(super) fn accept(&mut self, token: u32, model: &LanguageModel, seen: usize) -> bool {
        if self.options.stop_at_eos && model.is_eos(token) {
            self.stop = Some(StopReason::EndOfSequence);
            return false;
        }
        self.tokens.push(token);
        if self.tokens.len() == self.options.max_new_tokens {
            self.stop = Some(StopReason::MaxNewTokens);
        } else if seen == model.max_context() {
            self.stop = Some(StopReason::ContextFull);
        }
        true
    }

    pub(super) fn finish(self) -> Continuation {
        Continuation { tokens: self.tokens, stop: self.stop.unwrap_or(StopReason::MaxNewTokens) }
    }
}

/// Whether a text can be written so, with a hook.
pub(super) fn check(model: &LanguageModel, request: &Request, hook: &dyn Hook) -> Result<(), ModelError> {
    if let Some((what, found, expected)) = request.options.sampling.problem() {
        return Err(ModelError::Input { what, found, expected: expected.into() });
    }
    if let Some(last) = hook.last() {
        return Err(ModelError::NoLogits { last });
    }
    let (tokens, max_context) = (request.prompt.len(), model.max_context());
    if tokens == 0 {
        let (found, expected) = ("empty".into(), "at least one token; a beginning-of-sequence token will do".into());
        return Err(ModelError::Input { what: "prompt", found, expected });
    }
    if tokens > max_context {
        return Err(ModelError::ContextExceeded { tokens, max_context });
    }
    Ok(())
}
