//! Options that say which endpoint is asked, and what that may cost.

use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use std::env;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use untangle_endpoint::{Address, Budget, Endpoint, EndpointError, EndpointOptions, Key};
use untangle_schema::whole::with_suffix;

/// The variable that tools of this form take the key from.
const KEY: &str = "OPENAI_API_KEY";

/// The language model that is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Endpoint")]
pub(super) struct LlmArgs {
    /// URL of an API in OpenAI's form, such as http://localhost:8000/v1
    #[arg(long, value_name = "URL")]
    llm: String,
    /// The model that is asked there; its labels have the source llm:NAME
    #[arg(long, value_name = "NAME")]
    llm_model: String,
    /// Variable of the environment that holds the key [default: OPENAI_API_KEY, where it is set]
    #[arg(long, value_name = "VARIABLE")]
    key_env: Option<String>,
    /// Requests under way at a time
    #[arg(long, value_name = "N", default_value = "4")]
    parallel: NonZeroUsize,
    /// Tokens to spend at most, of prompts and answers; answers that are kept cost nothing
    #[arg(long, value_name = "TOKENS")]
    budget: Option<NonZeroU64>,
    /// Requests to send at most, repeated ones included
    #[arg(long, value_name = "N")]
    max_requests: Option<NonZeroU64>,
    /// Tokens of an answer at most, reasoning included
    #[arg(long, value_name = "N", default_value = "2048")]
    answer_tokens: NonZeroU32,
    /// Seconds within which an answer has to come
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    timeout: NonZeroU32,
    /// File that answers are kept in, so that none is paid for twice [default: FEATURES.db.answers]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

impl LlmArgs {
    /// Where it is.
    pub(super) fn address(&self) -> Result<Address, EndpointError> {
        Address::of(&self.llm)
    }

    /// The endpoint; nothing is sent yet.
    pub(super) fn endpoint(&self, address: &Address, database: &Path, context: &Context) -> anyhow::Result<Endpoint> {
        let options = EndpointOptions::new(&self.llm, &self.llm_model).with_environment(|name| env::var_os(name));
        Ok(Endpoint::new(EndpointOptions {
            key: self.key(address, context)?,
            parallel: self.parallel.get(),
            budget: Budget {
                tokens: self.budget.map(NonZeroU64::get),
                requests: self.max_requests.map(NonZeroU64::get),
            },
            answer_tokens: self.answer_tokens.get(),
            timeout: Duration::from_secs(self.timeout.get().into()),
            offline: context.is_offline(),
            answers: Some(self.answers.clone().unwrap_or_else(|| with_suffix(database, ".answers"))),
            ..options
        })?)
    }

    /// The key. One that nobody named goes nowhere where others could read it on the way.
    fn key(&self, address: &Address, context: &Context) -> anyhow::Result<Option<Key>> {
        let name = self.key_env.as_deref().unwrap_or(KEY);
        let refuse = |problem: &str| Complaint::usage(format!("--key-env {name}: {problem}"));
        let value = env::var_os(name).filter(|value| !value.is_empty());
        let Some(value) = value else {
            return if self.key_env.is_some() { Err(refuse("this variable is not set")) } else { Ok(None) };
        };
        if self.key_env.is_none() && !address.is_private() {
            context.progress.warning(&format!(
                "{KEY} is not sent over an unencrypted connection to another machine; name it with --key-env if it shall be"
            ));
            return Ok(None);
        }
        let key = value.to_str().and_then(Key::new);
        key.map(Some).ok_or_else(|| refuse("what it holds is no key: it has blanks or letters that cannot be sent"))
    }
}
