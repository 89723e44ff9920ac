//! Verb 2: activation store to dictionaries.
pub mod adam;
pub mod aux_k;
pub mod error;
pub mod forward;
pub mod gather;
pub mod init;
pub mod schedule;
pub mod state;
pub mod step;

pub use error::TrainError;
