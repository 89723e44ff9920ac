//! The hooked language model: from a Hugging Face directory or from memory to logits, with every activation within
//! reach of a [`Hook`].
//!
//! There is one decoder, [`ModelConfig`] says which. Reading order:
//!
//! - [`hook`]: the one seam of the workspace, through which everything sees or changes activations
//! - `decoder`, `surroundings`, `block`, `attention`, `mlp`, `norm`, `rotary`: the pass, in the order in which it runs
//! - [`config`], `validate` and `families`: what a decoder can be, and what `config.json` says of it
//! - `checkpoint`, `names`, `parameters`, `assembly`: from weight files to a decoder
//! - [`language_model`]: all of it together; [`tokenizer`], [`chat`] and [`mod@generate`]: text in, text out
//!
//! Shapes: `batch` rows of `seq` tokens; `keys` is `seq` and what a cache holds; `d_model`, `d_head`, `d_mlp`, `vocab`
//! are the model's.

pub mod hook;

mod attention;
mod block;
mod decoder;
mod few_rows;
mod linear;
mod merges;
mod mlp;
mod norm;
mod room;
mod rotary;
mod surroundings;
mod tap;

pub mod config;
mod families;
mod fields;
mod validate;
mod wording;

mod assembly;
mod checkpoint;
mod heads;
mod names;
mod optional_file;
mod parameters;
mod shared_weights;

mod backend;
mod backend_class;
pub mod cache;
pub mod chat;
pub mod error;
pub mod generate;
mod growth;
pub mod guard;
pub mod input;
pub mod language_model;
pub mod load_options;
mod order;
pub mod recorder;
pub mod repetition;
pub mod sampling;
mod special_tokens;
pub mod threads;
mod token_text;
pub mod tokenizer;
mod tokenizer_files;
mod tokenizer_identity;

pub mod hub;

pub use cache::KvCache;
pub use chat::{Beside, ChatTemplate, Conversation};
pub use config::ModelConfig;
pub use error::ModelError;
pub use generate::written::{TextRequest, TextStream, Written, generate_texts};
pub use generate::{
    Batch, Continuation, Entry, GenerateOptions, Request, Scored, StopReason, Told, Wanted, generate, generate_batch,
    generate_rows,
};
pub use hook::{Hook, Hooks, NoHook, Pass, Phase};
pub use hub::{HubError, HubOptions, ModelSource};
pub use input::{Input, Logits};
pub use language_model::LanguageModel;
pub use load_options::{LoadOptions, ModelFiles};
pub use recorder::Recorder;
pub use repetition::repeated_runs;
pub use sampling::Sampling;
pub use tokenizer::Tokenizer;
pub use tokenizer_files::TokenizerFiles;
