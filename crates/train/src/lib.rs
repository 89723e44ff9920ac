//! Verb 2: activation store to dictionaries.
//!
//! [`train()`] takes a checked [`TrainPlan`] and any row source, and leaves a dictionary's directory that SAELens loads. One
//! step ([`step`]) is an encoder product, a selection, and sparse algebra on what was selected: forward ([`forward`]),
//! gradients gathered latent by latent ([`gather`]), what revives the dead ([`aux_k`]), and Adam ([`adam`]) in the pass
//! that gathers.

pub mod adam;
pub mod aux_k;
mod aux_k_int8;
mod checkpoint;
pub mod config;
pub mod error;
mod feed;
pub mod finish;
pub mod forward;
pub mod gather;
pub mod init;
pub mod log;
mod run;
pub mod schedule;
pub mod state;
pub mod step;

pub use config::{TrainConfig, TrainPlan, Width};
pub use error::TrainError;
pub use finish::{DataProvenance, TrainingRecord};
pub use run::{Job, train};
