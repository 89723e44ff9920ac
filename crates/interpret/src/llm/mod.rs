//! Labels by a language model that answers over HTTP, tested on texts of its own, and judged on documents that it never saw.
//!
//! ```text
//! excerpts -> label -> texts that test it -> the studied model reads them -> label, kept or changed
//!                                                                  |
//!                     sensitivity, detection, fuzzing <-----------+
//! ```
//!
//! In reading order:
//!
//! - [`material`]: what is shown of a feature, and what its label is judged on; the two share no document
//! - [`prompts`]: the words of every request; [`answers`]: what is taken of the answers
//! - [`measures`]: intervals of balanced accuracy and of areas; [`judge`]: detection and fuzzing
//! - `round`: the second round, and sensitivity, both on texts that the studied model reads
//! - [`run`]: features in blocks, each written to the database when it is complete; [`report`]: what is told of them

pub mod answers;
pub mod judge;
pub mod material;
pub mod measures;
pub mod prompts;
pub mod report;
mod round;
pub mod run;
mod work;

pub use report::{LabelReport, Labelled, source_of};
pub use run::{LabelPlan, label_features};
