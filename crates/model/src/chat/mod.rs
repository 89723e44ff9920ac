//! How does a conversation become the text that a model was tuned on?
//!
//! By the Jinja template that lies beside its tokenizer. It is rendered as transformers' `apply_chat_template` renders
//! it, but for the clock: `strftime_now` tells the date of `date.rs`, so that the same conversation is the same text on
//! every day.

mod conversation;
mod data;
mod date;
mod jinja;

pub use conversation::Conversation;

use crate::error::ModelError;
use data::Data;
use jinja::{Cause, Failure, Template};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_schema::Observer;

/// A tokenizer's template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    template: Arc<Template>,
    /// Where it stands.
    path: PathBuf,
    /// Texts of special tokens by name: `bos_token`, `eos_token` and others.
    special: BTreeMap<String, String>,
    sha256: String,
}

impl PartialEq for ChatTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.special == other.special
    }
}

impl Eq for ChatTemplate {}

impl ChatTemplate {
    /// Reads a template, which stands in the file at `path`.
    ///
    /// # Errors
    /// [`ModelError::ChatTemplate`] where it is no template.
    pub fn new(path: &Path, source: &str, special: &BTreeMap<String, String>) -> Result<Self, ModelError> {
        let failed = |failure| error(path, &failure, |path, reason| ModelError::ChatTemplate { path, reason });
        let template = Arc::new(Template::parse(source).map_err(failed)?);
        let sha256 = format!("{:x}", Sha256::digest(source));
        Ok(ChatTemplate { template, path: path.to_owned(), special: special.clone(), sha256 })
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the model's next turn begins.
    ///
    /// # Errors
    /// [`ModelError::Conversation`] where the template refuses it: an unknown role, turns in another order; or where it
    /// would take more than one conversation may. [`ModelError::Interrupted`] where the observer asks to stop meanwhile.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
        observer: &dyn Observer,
    ) -> Result<String, ModelError> {
        let messages = conversation.messages();
        if matches!(&messages, Data::List(messages) if messages.is_empty()) {
            return Err(ModelError::Conversation { path: self.path.clone(), reason: "it has no message".to_owned() });
        }
        let special: Vec<_> = self.special.iter().map(|(name, text)| (name.as_str(), Data::text(text))).collect();
        let prompt = Data::Bool(add_generation_prompt);
        let mut given = vec![
            ("messages", &messages),
            ("add_generation_prompt", &prompt),
            ("tools", &Data::None),
            ("documents", &Data::None),
        ];
        given.extend(special.iter().map(|(name, text)| (*name, text)));
        let refused = |path, reason| ModelError::Conversation { path, reason };
        self.template.render(&given, observer).map_err(|failure| error(&self.path, &failure, refused))
    }

    /// SHA-256 of the template, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The error of a failure, which `of_template` makes where the template or the conversation is to blame.
fn error(path: &Path, failure: &Failure, of_template: impl FnOnce(PathBuf, String) -> ModelError) -> ModelError {
    match failure.cause {
        Cause::Template | Cause::Raised => of_template(path.to_owned(), reason(failure)),
        Cause::Interrupted => ModelError::Interrupted,
        Cause::System(kind) => {
            let said =
                format!("the chat template gets no thread ({}); free memory or allow more threads", failure.message);
            ModelError::Io { path: path.to_owned(), source: std::io::Error::new(kind, said) }
        }
    }
}

/// What went wrong, and where; what a template itself says stays alone.
fn reason(failure: &Failure) -> String {
    let said = failure.message.replace('\n', " ");
    match failure.line {
        Some(line) => format!("{said}, line {line} of the template"),
        None => said,
    }
}
