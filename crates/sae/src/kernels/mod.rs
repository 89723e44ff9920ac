//! The numerical kernels: what is dense goes to libtorch in cache-sized tiles, what is sparse runs here.
//!
//! - [`buffer`]: memory that libtorch may view, and matrix products on slices
//! - [`vector`]: dot products and scaled sums over rows
//! - [`int8`]: rows and weights in bytes, and their product, which is several times faster where the CPU has instructions
//! - [`int8_error`]: how wrong such a product can be
//! - [`int8_matrix`]: whole matrix products in bytes, from rows or columns
//! - `magnitude`: the largest of a row by size, whatever their sign
//! - [`margin`]: how far from its bound a latent is recomputed because of that
//! - [`narrow`]: the encoder's weights in the arithmetic that proposes
//! - [`select`]: the largest entries of a row, without a sort
//! - [`encode`]: encoder product, selection and exact recomputation of what was selected, a tile of rows at a time
//! - [`few`]: every pre-activation of a few rows
//! - [`above`]: the same where all latents above a bound are wanted, however many a row has
//! - [`decide`]: exact recomputation of what a product proposed
//! - [`bounds`]: what latents have to exceed
//! - [`order`]: the order in which a tile's entries meet the rows of latents
//! - [`largest`]: the same where the largest of many rows together are wanted

pub mod above;
#[cfg(target_arch = "x86_64")]
mod avx2;
pub mod bounds;
pub mod buffer;
pub mod decide;
pub mod encode;
pub mod few;
mod instructions;
pub mod int8;
pub mod int8_error;
mod int8_layout;
pub mod int8_matrix;
pub mod largest;
mod magnitude;
pub mod margin;
pub mod narrow;
pub mod order;
pub mod select;
pub mod vector;
#[cfg(target_arch = "x86_64")]
mod vnni;
