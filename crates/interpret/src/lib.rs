//! Verb 3: dictionaries to examples, labels, evaluation and steering.
//!
//! What a dictionary is worth, and what its features mean:
//!
//! - [`evaluate`](mod@evaluate): FVU, L0, dead and dense features on held-out rows, with intervals
//! - [`ce`]: the model's loss with the reconstruction spliced in, beside zero and mean ablation
//! - [`features`](mod@features): examples, statistics, logit effects and labels of every feature, in one pass, into a
//!   [`database`]
//! - [`mod@dashboard`]: a database as a folder of pages; [`page`]: the parts that pages are drawn of
//! - [`label`]: labels that need no language model, scored on text that the labeller never saw
//! - [`llm`]: labels by a language model that answers over HTTP, tested and judged
//! - [`saying`]: what turning a feature up makes the model say
//! - [`read`]: a prompt, token by token: what fires, what it costs, and what hangs on a feature
//! - [`steer`](mod@steer): features turned up, set or taken out while the model writes
//! - [`vectors`]: directions found by contrast, in the files of other tools
//! - [`exchange`]: features for other tools, and explanations of theirs
//! - [`mod@toward`]: the features that have a model write about a topic, found by trying
//!
//! [`intervene`] is how all of them change a running model. SQLite lives here and nowhere else.

pub mod error;
mod fault;
mod hash;
pub mod point;
pub mod progress;

pub mod bands;
pub mod bootstrap;
pub mod intervene;
pub mod logits;
pub mod splice;
pub mod vocabulary;

pub mod ce;
pub mod contexts;
pub mod corpus;
pub mod crosscoder;
pub mod evaluate;
pub mod sharing;

pub mod excerpts;
pub mod extremes;
pub mod features;
pub mod kept;
pub mod label;
pub mod moments;
pub mod neighbours;
mod passes;
pub mod saying;
pub mod windows;

pub mod truth;

pub mod dashboard;
pub mod database;
pub mod exchange;
pub mod llm;
pub mod page;
pub mod read;
pub mod steer;
pub mod toward;
pub mod vectors;

pub use bootstrap::Interval;
pub use ce::{CeBaselines, CeRecovered, Context, Guess, ce_recovered};
pub use contexts::contexts_of;
pub use corpus::Corpus;
pub use crosscoder::{CrosscoderEvaluation, evaluate_crosscoder};
pub use dashboard::{DASHBOARD, dashboard};
pub use database::{DATABASE, Database, DatabaseEditor, DatabaseWriter, Run, Summary};
pub use error::InterpretError;
pub use evaluate::{Evaluation, evaluate};
pub use features::{FeaturesPlan, FeaturesReport, features};
pub use intervene::Scope;
pub use point::{check_model, column_of, point_of};
pub use read::{Ablation, Contrast, Reader, Reading, contrast};
pub use sharing::{Sharing, sharing};
pub use steer::{
    Dictionary, Edit, Effect, Operator, Spec, SteerOptions, SteerProblem, SteerResult, Steering, Step, feature_of,
    resolve, steer, sweep, swept,
};
pub use truth::{AnnotatedCorpus, Criteria, Judged, TruthReport, evaluate_truth};
pub use vocabulary::Vocabulary;
