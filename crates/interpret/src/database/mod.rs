//! What is known about the features of a dictionary, in one SQLite file.
//!
//! | table | a row per | holds |
//! |---|---|---|
//! | `run` | field of [`Run`] | how the file was made, as JSON |
//! | `features` | feature | density, activations, histogram |
//! | `labels` | feature, kind and source | a label |
//! | `scores` | label and scorer | how well it holds |
//! | `examples` | feature, kind and rank | a window of tokens with the activation at each |
//! | `sharing` | feature of a crosscoder | its share of every part |
//! | `logits` | feature, side and rank | a token that the feature raises or lowers |
//! | `neighbours` | feature, kind and rank | a feature that is near |
//! | `excerpts` | place | a window of tokens, drawn whatever fires there |
//! | `firings` | feature and excerpt | the feature's activation at each of its tokens |
//! | `words` | feature | label, example and logit text, indexed by FTS5 |

mod edit;
mod excerpts;
mod foreign;
mod format;
mod labels;
mod query;
mod rank;
mod read;
mod search;
mod write;

pub use edit::DatabaseEditor;
pub use format::{DATABASE, Frozen, Run, sae_sha256};
pub(crate) use query::singular;
pub use query::{Only, Query, Sort};
pub use rank::most_interpretable;
pub use read::{Database, Summary};
pub use write::DatabaseWriter;
pub(crate) use write::Ready;
