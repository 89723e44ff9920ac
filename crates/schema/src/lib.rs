//! The words that Untangle serialises, and the few that its crates exchange.
//!
//! Everything here is plain data: no tensors, no files of activations, no terminal. A name that appears in a file
//! (a hook point, a tensor, a row flag) is defined once, in this crate, and imported everywhere else; but for the keys of `cfg.json`,
//! which belong to the formats of `untangle-sae` and are known nowhere else.
//!
//! - [`hook_point`]: where in a model an activation is read or changed, in TransformerLens names
//! - [`hook_pattern`]: which hook points of a model `blocks.*.hook_resid_post` means
//! - [`capture`]: the manifest of an activation file, and the flags of its rows
//! - [`sae`]: the names of a dictionary's files and tensors
//! - [`feature`]: what is known about one feature of a dictionary
//! - [`label`]: what a feature is called, by whom, and how far that can be believed
//! - [`concept`]: known concepts of a text, and from which byte on a reader can know them
//! - [`shard`]: which part of a capture a job of an array makes
//! - [`share`]: how many of so many, with its interval; [`shortest`]: f32 in JSON without its rounding
//! - [`annotated`]: what a file of texts with known concepts holds
//! - [`python`]: JSON as Python writes it
//! - [`numpy`] and [`npz`]: what stands before an array of NumPy, and where it lies in an archive of several
//! - [`html`]: text that stands for itself in a page; [`chart`]: charts of a page
//! - [`git_lfs`]: what Git leaves in the place of a large file
//! - [`event`]: how a running engine reports, and how it is asked to stop
//! - [`fault`]: what kind of failure an error is, which decides the exit code
//! - [`whole`]: how a file is written so that nobody ever sees half of it
//! - [`memory`]: how much can still be had
//! - [`mix`](mod@mix): the hash that decides over samples and splits

pub mod annotated;
pub mod capture;
pub mod chart;
pub mod concept;
pub mod event;
pub mod fault;
pub mod feature;
pub mod git_lfs;
pub mod hook_pattern;
pub mod hook_point;
pub mod html;
pub mod label;
pub mod memory;
pub mod mix;
pub mod npz;
pub mod numpy;
pub mod python;
pub mod sae;
pub mod shard;
pub mod share;
pub mod shortest;
pub mod whole;

pub use annotated::{AnnotatedDocument, AnnotatedHeader, AnnotatedSplit};
pub use capture::{BosPolicy, CaptureManifest, CorpusFile, ModelIdentity, StoreDtype};
pub use concept::{Annotation, Concept, ConceptId, ConceptKind, Coverage};
pub use event::{Event, Observer, Silent, Unit};
pub use fault::{Classify, Fault};
pub use feature::{Example, FeatureCard, Histogram, LogitEffect, NearMiss, Nearness, Neighbour, PartShares};
pub use hook_point::{HookPoint, Site, UnknownHookPoint};
pub use label::{Label, LabelKind, Score};
pub use shard::ShardId;
pub use share::Share;

/// Version of the tool, written into every artefact.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");
