//! Sparse autoencoders: maths, sparse codes, kernels, formats, metrics.
//!
//! A dictionary untangles a model's dense activations into features of which few are active at a time. This crate knows
//! what a dictionary computes ([`Sae`]), what it is in whatever file ([`Description`] and [`Parts`]), how it lies on disk (SAELens' form;
//! others are read, see [`Sae::load`]), and how to do the computation fast without changing its result ([`kernels`]). It does not know where activations come from.
//!
//! Sizes in shapes: `n` rows, `d_in` width of an activation, `d_sae` features, `k` active features per row.

mod asked;
pub mod codes;
pub mod crosscoder;
pub mod description;
pub mod error;
mod few;
mod formats;
mod io;
pub mod judge;
pub mod kernels;
pub mod metrics;
mod parts;
pub mod precision;
mod reconstruct;
mod rows;
pub mod sae;

pub use codes::Codes;
pub use crosscoder::Crosscoder;
pub use description::{Description, Kept, Place, Provenance, RowScaling};
pub use error::SaeError;
pub use formats::{Written, is_saved_at};
pub use judge::Judge;
pub use parts::{Activation, Parts};
pub use precision::Precision;
pub use sae::Sae;
