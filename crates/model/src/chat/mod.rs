//! How does a conversation become the text that a model was tuned on?
//!
//! By the Jinja template that lies beside its tokenizer. It is rendered as transformers' `apply_chat_template` renders
//! it, but for the clock: `strftime_now` tells the date of `date.rs`, so that the same conversation is the same text on
//! every day.

mod conversation;
mod date;
mod json;
mod tags;

pub use conversation::Conversation;

use crate::error::ModelError;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, Output, State, context};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The template's name inside the library; without an ending, so that nothing is escaped.
const NAME: &str = "chat";

/// A tokenizer's template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
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
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(python_text);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: &str| date::strftime(format));
        let added = environment.add_template_owned(NAME, tags::without_generation(source));
        added.map_err(|error| ModelError::ChatTemplate { path: path.to_owned(), reason: reason(&error) })?;
        let sha256 = format!("{:x}", Sha256::digest(source));
        Ok(ChatTemplate { environment: Arc::new(environment), path: path.to_owned(), special: special.clone(), sha256 })
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the model's next turn begins.
    ///
    /// # Errors
    /// [`ModelError::Conversation`] where the template refuses it: an unknown role, turns in another order.
    pub fn render(&self, conversation: &Conversation, add_generation_prompt: bool) -> Result<String, ModelError> {
        let failed = |error: Error| ModelError::Conversation { path: self.path.clone(), reason: reason(&error) };
        let messages = conversation.messages();
        let none = Value::from(());
        let fixed = context! { messages, add_generation_prompt, tools => none, documents => none };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        template.render(context! { ..fixed, ..Value::from_iter(self.special.clone()) }).map_err(failed)
    }

    /// SHA-256 of the template, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// What templates call to refuse a conversation.
fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// What went wrong, without the library's own words around what a template says.
fn reason(error: &Error) -> String {
    let said = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let said = said.replace('\n', " ");
    match error.line() {
        Some(line) if error.kind() != ErrorKind::InvalidOperation => format!("{said}, line {line} of the template"),
        _ => said,
    }
}

/// Values as Python writes them, where the two differ.
fn python_text(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        minijinja::value::ValueKind::None => "None",
        minijinja::value::ValueKind::Bool if value.is_true() => "True",
        minijinja::value::ValueKind::Bool => "False",
        _ => return minijinja::escape_formatter(out, state, value),
    };
    out.write_str(text).map_err(Error::from)
}
