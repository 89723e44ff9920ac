//! A door for the fuzz target and the test of invented inputs: what is read of a request before the model sees it.

use crate::wire::chat::ChatRequest;
use crate::wire::completions::CompletionRequest;
use crate::wire::tokens::{DetokenizeRequest, TokenizeRequest};
use crate::wire::writing::WritingRequest;
use crate::wire::{read, steering};

/// Reads the body of a request in every way in which bodies are read.
pub fn request(body: &[u8]) {
    if let Ok(writing) = read::<WritingRequest>(body) {
        let _ = (writing.check(), writing.choices(), writing.stops(), writing.options(3, 4));
        let _ = steering::read(writing.steering.as_ref(), &["deep/calm.gguf".into()]);
    }
    if let Ok(request) = read::<CompletionRequest>(body) {
        let _ = (request.prompts(), request.check(1));
    }
    if let Ok(request) = read::<ChatRequest>(body) {
        let _ = (request.check(), request.alternatives(), request.conversation());
    }
    let _ = (read::<TokenizeRequest>(body), read::<DetokenizeRequest>(body));
}
