//! A door for the fuzz target and the test of invented inputs: what is read of a request before the model sees it.

use crate::wire::chat::ChatRequest;
use crate::wire::completions::CompletionRequest;
use crate::wire::dictionaries::OverviewRequest;
use crate::wire::features::{FeatureRequest, SearchRequest};
use crate::wire::reading::{ActivationsRequest, ReadRequest};
use crate::wire::tokens::{DetokenizeRequest, TokenizeRequest};
use crate::wire::toward::TowardRequest;
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
    if let Ok(request) = read::<SearchRequest>(body) {
        let _ = request.query();
    }
    if let Ok(request) = read::<ReadRequest>(body) {
        let _ = request.top();
    }
    if let Ok(request) = read::<ActivationsRequest>(body) {
        let _ = request.texts();
    }
    if let Ok(request) = read::<TowardRequest>(body) {
        let _ = (request.concept(), request.prompt(), request.texts(), request.max_tokens(), request.sampling());
    }
    let _ = (read::<OverviewRequest>(body), read::<FeatureRequest>(body));
    let _ = (read::<TokenizeRequest>(body), read::<DetokenizeRequest>(body));
}
