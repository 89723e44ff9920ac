//! A steered model behind OpenAI's API: completions and replies, streamed or whole, each steered in its own way.
//!
//! ```text
//!   connections          routes                    desk                engine (the calling thread)
//!   accept, limit  ──►   gate, read, tokens  ──►   bounded queue ──►   steps, prompts, one batch
//!                        answers, streams    ◄──────── events ◄──────  pieces, scores, ends
//! ```
//!
//! - [`wire`]: the words of the API; `openapi.json`, which is served, says the same
//! - `gate`: who may ask; [`limits`]: how much
//! - `routes`: a file for each group of paths
//! - `books`: what is known of the dictionaries' features; `page`: the workbench, a page that asks all of this
//! - `desk`, `engine`: from a request to its text. Texts join and leave between two tokens, and each is what it is alone
//! - [`server`]: connections, and the end of it all

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod books;
mod desk;
mod engine;
pub mod error;
mod fresh;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gate;
pub mod limits;
mod listing;
mod page;
mod problem;
mod routes;
pub mod server;
mod shared;
#[cfg(test)]
mod tests;
pub mod wire;
#[cfg(test)]
mod workbench_tests;

pub use engine::Served;
pub use error::ServeError;
pub use gate::Token;
pub use limits::{Limits, PROMPTS_AT_ONCE};
pub use server::{Listener, ServeOptions, Server};
