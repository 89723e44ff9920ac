//! Verb 1: text to an activation store.
//!
//! ```text
//! text files -> documents -> token ids -> contexts (spooled) -> forward passes -> activation file
//!    corpus                   encode       pack, spool           recorder, run     untangle-store
//! ```
//!
//! [`CapturePlan::new`] checks what is asked for against the model, [`Corpus::open`] finds the text, [`capture`] does
//! it. An interrupted capture is continued by the same call, and the finished file is the same to the byte.

pub mod corpus;
mod encode;
pub mod error;
mod pack;
pub mod plan;
pub mod recorder;
mod run;
mod spool;

pub use corpus::Corpus;
pub use error::CaptureError;
pub use plan::{CaptureConfig, CapturePlan};
pub use recorder::Recorder;
pub use run::{Captured, capture};
