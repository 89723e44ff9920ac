//! Verb 2: activation store to dictionaries.
//!
//! [`train()`] takes checked [`TrainPlan`]s and any row source, and leaves directories of dictionaries that SAELens loads.
//! Dictionaries that are trained together share what is read and nothing else. One step ([`step`]) is an encoder product, a
//! selection, and sparse algebra on what was selected: forward ([`forward`]), gradients gathered latent by latent
//! ([`gather`]), what revives the dead ([`aux_k`]), and Adam ([`adam`]) in the pass that gathers. What is selected and what
//! the loss is belongs to the architecture ([`arch`]). What a batch is read from and what is predicted of it are two things
//! ([`forward::Batch`]), and the same rows in all but transcoders.

pub mod adam;
pub mod arch;
pub mod architecture;
mod artefact;
pub mod aux_k;
mod aux_k_int8;
mod average;
pub mod calibrate;
mod checkpoint;
pub mod config;
pub mod crosscoder;
pub mod dense;
pub mod error;
mod feed;
pub mod finish;
pub mod fold;
pub mod footprint;
pub mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gather;
pub mod grid;
pub mod init;
pub mod log;
mod pareto;
pub mod penalty;
mod place;
pub mod prefixes;
mod products;
mod rehearse;
mod report;
mod run;
pub mod schedule;
pub mod state;
pub mod step;
mod tensorboard;
pub mod widths;

pub use adam::Optimiser;
pub use architecture::{Architecture, Kind};
pub use artefact::{DICTIONARY, GRID, GridRecord};
pub use config::{TrainConfig, TrainPlan, Width, check_memory_of};
pub use error::TrainError;
pub use finish::{DataProvenance, PartOrigin, TrainingRecord};
pub use init::Centre;
pub use penalty::{Penalty, PenaltyKind, Sparsity};
pub use prefixes::Prefixes;
pub use rehearse::{Rehearsal, RowsAtTheEnd, rehearse};
pub use run::{CalibrationRows, Finished, Job, ReadRows, Run, Shown, train};
pub use widths::Widths;
