//! A language model that answers over HTTP: any chat endpoint that speaks OpenAI's form.
//!
//! ```text
//! Request -> kept before? -> budget -> POST -> Reply -> kept
//!            kept            purse     wire     reply
//! ```
//!
//! What endpoints do in practice is met here and nowhere else: refused roles and settings (`manner`), reasoning before the
//! answer and missing probabilities ([`reply`]), busy servers and broken connections (`patience`), answers that are none.
//! Whoever asks sees a [`Request`], a [`Reply`] and one error.

mod address;
mod ask;
mod connect;
mod error;
mod kept;
mod manner;
mod options;
mod patience;
mod purse;
pub mod reply;
mod together;
mod wire;

pub use address::Address;
pub use ask::Endpoint;
pub use error::EndpointError;
pub use manner::Request;
pub use options::{Budget, EndpointOptions, Key, Retry};
pub use purse::Spent;
pub use reply::{Odds, Reply};
pub use together::Answered;
