//! Verb 1: text to an activation store.
//!
//! ```text
//! text files -> documents -> token ids -> contexts (spooled) -> forward passes     -> activation file
//!    corpus                   encode       pack, spool           batches, passes,       untangle-store
//!                                          contexts              recorder, run
//! ```
//!
//! [`CapturePlan::new`] checks what is asked for against the model, [`Corpus::open`] finds the text, [`capture`] does
//! it. An interrupted capture is continued by the same call, and the finished file is the same to the byte.
//!
//! [`LiveRows`] serves the same rows to a trainer, straight from the model.

mod batches;
mod contexts;
pub mod corpus;
mod encode;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod live;
mod pack;
mod passed;
mod passes;
pub mod plan;
pub mod rounding;
mod run;
mod spool;

pub use corpus::Corpus;
pub use error::CaptureError;
pub use live::{LiveConfig, LiveRows};
pub use plan::{CaptureConfig, CapturePlan};
pub use rounding::Rounding;
pub use run::{Captured, capture, capture_compared};
