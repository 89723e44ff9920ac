//! What is read of a record, a line of JSON or a row of a table?

use super::place::Place;
use crate::error::CaptureError;
use untangle_model::{ChatTemplate, Conversation, ModelError};
use untangle_schema::Observer;

/// One record.
pub(super) struct Record {
    /// The bytes of its text; none where there is none.
    pub(super) text: Option<Vec<u8>>,
    /// Byte sequences that were replaced already.
    pub(super) replaced: u64,
    /// Where it is, for people.
    pub(super) at: String,
    /// Where it begins.
    pub(super) start: Place,
    /// Where the next one does.
    pub(super) end: Place,
}

/// The text that the template makes of a conversation; `wrong` makes the error of what is wrong with the record.
pub(super) fn rendered(
    template: &ChatTemplate,
    conversation: &Conversation,
    observer: &dyn Observer,
    wrong: impl FnOnce(String) -> CaptureError,
) -> Result<Vec<u8>, CaptureError> {
    // No text, and no reason to refuse a file: tables of conversations have such rows.
    if conversation.is_empty() {
        return Ok(Vec::new());
    }
    match template.render(conversation, false, observer) {
        Ok(text) => Ok(text.into_bytes()),
        Err(ModelError::Conversation { reason, .. }) => {
            Err(wrong(format!("is a conversation that the chat template refuses: {reason}")))
        }
        Err(error) => Err(error.into()),
    }
}
