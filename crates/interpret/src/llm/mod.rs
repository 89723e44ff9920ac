//! Labels by a language model that answers over HTTP, tested on texts of its own, and judged on documents that it never saw.
//!
//! ```text
//! excerpts -> label -> texts that test it -> the studied model reads them -> label, kept or changed
//!                                                                  |
//!       sensitivity, detection, fuzzing, simulation, intervention <--+
//! ```
//!
//! Labels of any other source can be judged in the same way.
//!
//! In reading order:
//!
//! - [`material`]: what is shown of a feature, and what its label is judged on; the two share no document
//! - [`prompts`]: the words of every request; [`answers`] and [`verdicts`]: what is taken of the answers
//! - [`measures`]: intervals of balanced accuracy and of areas; [`judge`]: verdicts on texts; `sheet`: detection, fuzzing, and whether
//!   both labels agree; `simulate`: how strongly on every token; `others`: the labels that are controls;
//!   `scored`: who is asked for which of them
//! - `round`: the second round, and sensitivity, both on texts that the studied model reads; `say`: texts that it writes with the feature
//!   turned up
//! - [`run`]: features in blocks (`blocks`), each written to the database when it is complete; [`report`]: what is told of them

pub mod answers;
mod blocks;
pub mod judge;
pub mod material;
pub mod measures;
mod others;
pub mod prompts;
pub mod report;
mod round;
pub mod run;
mod say;
mod scored;
mod sheet;
mod simulate;
pub mod verdicts;
mod work;

pub use report::{LabelReport, Labelled, source_of};
pub use run::{LabelPlan, Task, label_features};
