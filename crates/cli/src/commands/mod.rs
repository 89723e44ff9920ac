//! One file per verb: its arguments, and what it does with them.

mod arms;
mod crosscoder;
mod dictionaries;
mod figures;
mod interventions;
mod numbers;
mod options;
mod outputs;
mod select;
mod text_store;
mod toward;
mod words;

pub(crate) mod capture;
pub(crate) mod dashboard;
pub(crate) mod demo;
pub(crate) mod encode;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod features;
pub(crate) mod import;
pub(crate) mod inspect;
mod inspect_store;
pub(crate) mod label;
mod live;
pub(crate) mod organism;
pub(crate) mod plan;
pub(crate) mod read;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod steer;
pub(crate) mod study;
pub(crate) mod train;
mod truth;
pub(crate) mod vector;
