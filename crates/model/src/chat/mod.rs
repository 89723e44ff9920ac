//! How does a conversation become the text that a model was tuned on?
//!
//! By the Jinja template that lies beside its tokenizer. It is rendered as transformers' `apply_chat_template` renders
//! it, but for the clock: `strftime_now` tells the date of `date.rs`, so that the same conversation is the same text on
//! every day.

mod beside;
mod conversation;
mod data;
mod date;
mod jinja;
mod sources;

pub use beside::Beside;
pub use conversation::Conversation;
pub(crate) use sources::Sources;

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
    /// The one that stands in its place where a conversation has tools.
    with_tools: Option<Arc<Template>>,
    /// Names that it asks for beside the messages, as far as the words in it say.
    words: Words,
    /// Where it stands.
    path: PathBuf,
    /// Texts of special tokens by name: `bos_token`, `eos_token` and others.
    special: BTreeMap<String, String>,
    sha256: String,
}

/// Which words a template has.
#[derive(Clone, Copy, Debug)]
struct Words {
    beside: [bool; 2],
    date: bool,
}

impl Words {
    fn of(sources: &[&str], always_tools: bool) -> Self {
        let has = |word: &str| sources.iter().any(|source| source.contains(word));
        let [tools, documents] = Beside::NAMES.map(has);
        Words { beside: [tools || always_tools, documents], date: has("strftime_now") }
    }
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
        Self::of_both(path, source, None, special)
    }

    /// The same with a template of its own for conversations with tools, where there is one.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub(crate) fn of_both(
        path: &Path,
        source: &str,
        with_tools: Option<&str>,
        special: &BTreeMap<String, String>,
    ) -> Result<Self, ModelError> {
        let failed = |failure| error(path, &failure, |path, reason| ModelError::ChatTemplate { path, reason });
        let parse = |source| Template::parse(source).map(Arc::new).map_err(failed);
        let mut digest = Sha256::new_with_prefix(source);
        with_tools.into_iter().for_each(|source| digest.update(format!("\0{source}")));
        let sources: Vec<&str> = with_tools.into_iter().chain([source]).collect();
        Ok(ChatTemplate {
            template: parse(source)?,
            with_tools: with_tools.map(parse).transpose()?,
            // Of two, the other one is taken because there are tools.
            words: Words::of(&sources, with_tools.is_some()),
            path: path.to_owned(),
            special: special.clone(),
            sha256: format!("{:x}", digest.finalize()),
        })
    }

    /// Whether it makes something of the list of this name in [`Beside::NAMES`].
    pub fn asks_for(&self, name: &str) -> bool {
        Beside::NAMES.into_iter().zip(self.words.beside).any(|(known, asked)| known == name && asked)
    }

    /// What a user should know of it.
    pub fn note(&self) -> Option<String> {
        let note = format!(
            "{}: the chat template asks for the date and is told 26 July 2024 on every day, so that the same conversation \
             is the same text",
            self.path.display()
        );
        self.words.date.then_some(note)
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
        let mut given = vec![("messages", &messages), ("add_generation_prompt", &prompt)];
        conversation.beside().for_each(|(name, list)| given.push((name, list)));
        let has_tools = conversation.beside().any(|(name, list)| name == Beside::NAMES[0] && *list != Data::None);
        let template = self.with_tools.as_ref().filter(|_| has_tools).unwrap_or(&self.template);
        given.extend(special.iter().map(|(name, text)| (*name, text)));
        let refused = |path, reason| ModelError::Conversation { path, reason };
        template.render(&given, observer).map_err(|failure| error(&self.path, &failure, refused))
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
