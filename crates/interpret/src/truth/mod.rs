//! Which concepts does a dictionary hold? Measured on text whose concepts are known.
//!
//! Everything is measured token by token. Train documents fit, validation documents choose (a feature, a threshold, a
//! strength), test documents report, so that no number is read where it was chosen. A token that is part of a concept's
//! place before a reader can know it is neither a positive nor a negative of that concept.
//!
//! In reading order:
//!
//! - [`problem`], [`corpus`], `read`: annotated text and what can be wrong with it, as data or as a file
//! - [`labels`], [`tokens`], [`record`]: the concepts of every token, and the activations of every token
//! - [`detectors`]: features, neurons and directions as columns of numbers that a threshold cuts
//! - [`sweep`], [`auroc`]: the best threshold, and how well a column ranks
//! - [`matching`], [`union`]: for every concept the best column, and the best few together
//! - [`principal`], `lbfgs`, `fits`, [`probe`]: principal directions, and the linear probe that is the ceiling
//! - `identity`: what tokens tell without any model
//! - [`evaluate`](mod@evaluate), `best`, `baselines`, [`report`], [`summary`]: all of it together

pub mod corpus;
pub mod problem;
mod read;

pub mod labels;
pub mod record;
pub mod tokens;

pub mod auroc;
pub mod detectors;
pub mod matching;
pub mod sweep;
pub mod union;

mod fits;
mod lbfgs;
pub mod principal;
pub mod probe;

mod baselines;
mod best;
pub mod evaluate;
mod identity;
pub mod report;
pub mod summary;

pub use corpus::{AnnotatedCorpus, Splits};
pub use evaluate::{Judged, evaluate_truth};
pub use problem::AnnotationProblem;
pub use report::{ConceptReport, Criteria, TruthReport};
