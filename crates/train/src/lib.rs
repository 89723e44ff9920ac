//! Verb 2: activation store to dictionaries.
//!
//! [`train()`] takes checked [`TrainPlan`]s and any row source, and leaves directories of dictionaries that SAELens loads.
//! Dictionaries that are trained together share what is read and nothing else. One step ([`step`]) is an encoder product, a
//! selection, and sparse algebra on what was selected: forward ([`forward`]), gradients gathered latent by latent
//! ([`gather`]), what revives the dead ([`aux_k`]), and Adam ([`adam`]) in the pass that gathers ([`update`]). What is selected
//! and what the loss is belongs to the architecture ([`arch`]). What a batch is read from and what is predicted of it are two
//! things ([`activity::Batch`]), and the same rows in all but transcoders.
//!
//! Modules from below: what is asked for and planned ([`config`], [`plan`]) and what training changes ([`state`]); the
//! architectures; the step and the engines that do it; the run, with what it reads, keeps and writes.

pub mod activity;
pub mod adam;
pub mod arch;
mod artefact;
pub mod aux_k;
mod aux_k_int8;
mod average;
mod begin;
pub mod calibrate;
mod checkpoint;
pub mod config;
pub mod constraint;
pub mod crosscoder;
pub mod dense;
mod density;
mod engine;
pub mod error;
mod feed;
pub mod finish;
pub mod fold;
pub mod footprint;
pub mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gather;
pub mod gradients;
pub mod grid;
pub mod init;
pub mod job;
pub mod log;
mod native;
pub mod norms;
mod pareto;
pub mod penalty;
mod place;
pub mod plan;
pub mod prefixes;
mod products;
pub mod provenance;
pub mod record;
mod rehearse;
mod report;
mod room;
mod run;
pub mod scale;
pub mod schedule;
mod settle;
mod skip;
pub mod state;
pub mod step;
mod tensor_engine;
mod tensorboard;
mod together;
mod trained;
pub mod update;
mod usual;
pub mod widths;

pub use adam::Optimiser;
pub use arch::{Architecture, Kind};
pub use artefact::{DICTIONARY, GRID, GridRecord};
pub use config::{TrainConfig, Width};
pub use constraint::Freeze;
pub use error::TrainError;
pub use footprint::RowsAtTheEnd;
pub use job::{CalibrationRows, EngineKind, Finished, Job, ReadRows, Run, Shown};
pub use penalty::{Penalty, PenaltyKind, Sparsity};
pub use plan::TrainPlan;
pub use prefixes::Prefixes;
pub use provenance::{DataProvenance, PartOrigin, TrainingRecord};
pub use rehearse::{Rehearsal, rehearse};
pub use room::check_memory_of;
pub use run::train;
pub use scale::Centre;
pub use settle::{is_continued, settle};
pub use usual::{SHUFFLE_BYTES, train_on_store};
pub use widths::Widths;
