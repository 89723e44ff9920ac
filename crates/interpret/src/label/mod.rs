//! Labels without a language model: which simple rule says best where a feature fires, and how well it says it.
//!
//! In reading order:
//!
//! - [`facts`]: what can be said about a row: its token, its neighbours, the word so far, its place in the sentence
//! - [`counts`]: how often each fact holds, overall and where a feature fires, in bounded memory
//! - [`rule`]: a fact or a set of facts that names rows, and its wording
//! - [`propose`]: the best rule on the rows that the labeller may see
//! - [`score`]: precision, recall and F1 of the rules on rows that it never saw, beside a floor and a shuffled control
//! - [`rank`]: the features whose labels hold best

pub mod counts;
pub mod facts;
pub mod propose;
pub mod rank;
pub mod rule;
pub mod score;

pub use facts::Reader;
pub use propose::Proposal;
pub use rank::most_interpretable;
pub use rule::Rule;
pub use score::Confusion;

/// What `label_source` says of these labels.
pub const SOURCE: &str = "tokens";
