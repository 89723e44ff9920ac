//! How does the id of a model or data set on a hub become files in a folder?
//!
//! ```text
//! hub id, revision -> commit, list of files -> files in the cache -> folder of the commit
//!    repository           client, answer           transfer, cache
//! ```
//!
//! The cache is the one of Python's `huggingface_hub`, whose settings [`HubOptions::from_environment`] reads. Transfers
//! are resumed, repeated ([`Retry`]) and compared with what the hub announced. The `hf-hub` crate does none of the
//! three: it takes a second answer of a resumed transfer for the rest of the file even where the hub sends the whole,
//! waits the same for every failure, and knows neither HF_HUB_OFFLINE, HF_HUB_CACHE nor HF_TOKEN.

mod answer;
mod asked;
mod cache;
mod client;
mod connect;
mod dataset;
pub mod error;
mod expand;
mod model;
pub mod options;
mod origin;
mod patience;
pub mod repository;
mod source;
mod transfer;
mod wire;

pub use dataset::{DatasetFile, DatasetSpec, fetch_dataset_file, list_dataset};
pub use error::HubError;
pub use model::{Snapshot, fetch_config, fetch_model};
pub use options::{HubOptions, Retry, Token};
pub use repository::{Repository, RepositoryKind};
pub use source::{ModelSource, ResolvedModel};
