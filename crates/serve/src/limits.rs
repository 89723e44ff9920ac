//! How much may be asked at a time?

use std::time::Duration;

/// Bytes of a request's body (chosen: the tokens of some hundred long prompts).
pub(crate) const BODY: u64 = 2 << 20;
/// Bytes of a longer body that are read and thrown away, so that its sender gets to read why it is refused (chosen).
pub(crate) const THROWN_AWAY: u64 = 256 << 20;
/// How long a body may take (chosen).
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);
/// How long the head of a request may take, and how long a connection may wait for one (chosen).
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(30);
/// Connections at a time (chosen: well below the number of files that systems give a process).
pub(crate) const CONNECTIONS: usize = 256;
/// How long a connection may wait for room among the others (chosen).
pub(crate) const ROOM_TIME: Duration = Duration::from_secs(2);
/// How long the answer to a connection that there is no room for may take (chosen).
pub(crate) const TURNED_AWAY: Duration = Duration::from_secs(2);
/// Continuations of one prompt (chosen; OpenAI's is 128).
pub(crate) const CHOICES: usize = 128;
/// Words that end a text (chosen; OpenAI's is 4).
pub(crate) const STOPS: usize = 16;
/// Interventions of one request (chosen).
pub(crate) const INTERVENTIONS: usize = 64;
/// Likeliest tokens that are named at a place, as OpenAI has it for conversations.
pub(crate) const ALTERNATIVES: usize = 20;
/// Texts that are read at once, tokens of all of them, and places times words of the vocabulary of one whose losses are asked for
/// (chosen: the last is half a gigabyte of logits).
pub(crate) const READ_TEXTS: usize = 64;
pub(crate) const READ_TOKENS: usize = 4096;
pub(crate) const READ_LOGITS: usize = 1 << 27;
/// Features of a list, and features told of a token (chosen).
pub(crate) const LISTED: usize = 500;
pub(crate) const TOLD: usize = 1000;
/// Tokens of prompts, padding counted, that pass at a time while others wait for their next token (chosen).
pub const PROMPTS_AT_ONCE: usize = 4096;
/// How long texts may still be written when the server has been asked to stop (chosen).
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// How long answers may take to get out afterwards (chosen).
pub(crate) const CLOSING: Duration = Duration::from_secs(2);

/// What whoever starts the server decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Texts that are written side by side.
    pub batch: usize,
    /// Texts that may wait.
    pub queue: usize,
    /// Tokens of one continuation; none for as many as the context has room for.
    pub max_tokens: Option<usize>,
}

impl Default for Limits {
    /// Chosen: more texts side by side gain little on a CPU, and their keys and values take memory.
    fn default() -> Self {
        Limits { batch: 16, queue: 256, max_tokens: None }
    }
}
