//! Labels and their scores. A [`Labeller`] says what a feature is called, a [`Scorer`] how well that holds.
//!
//! The first of each need no language model: which simple rule says best where a feature fires, and how well it says it.
//! In reading order:
//!
//! - [`labeller`]: who gives labels, and who measures them
//! - [`facts`]: what can be said about a row: its token, its neighbours, the word so far, its place in the sentence
//! - [`counts`]: how often each fact holds, overall and where a feature fires, in bounded memory
//! - [`sample`], [`passage`]: rows with the words before them, and what these tell of a feature; `name`: what its passages are about
//! - [`rule`]: a fact or a set of facts that names rows, and its wording
//! - [`propose`]: the best rule on the rows that the labeller may see
//! - [`confusion`], [`score`]: precision, recall and F1 of the rules on rows that it never saw, beside a floor and a shuffled control

pub mod confusion;
pub mod counts;
pub mod facts;
pub mod labeller;
mod name;
pub mod passage;
pub mod propose;
pub mod rule;
pub mod sample;
pub mod score;

pub use confusion::Confusion;
pub use facts::Reader;
pub use labeller::{Labeller, SOURCE, Scorer, add_label};
pub use propose::{Proposal, RuleLabeller};
pub use rule::Rule;
pub use score::RuleScorer;
