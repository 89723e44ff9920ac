//! What a page draws of features, whichever page it is: a folder that opens from disk, or one that a program serves.
//!
//! [`PARTS`] makes elements of a feature's data: examples with shaded tokens, histograms, tokens raised and lowered, scores,
//! neighbours; [`PARTS_STYLE`] says how they look, in the colours of [`untangle_schema::html::LOOK`]. They know neither where
//! data comes from nor which page they are on. Text becomes text nodes and nothing else, whatever is in it, and what would act
//! on a reader (control characters, changes of direction) is spelled out. The data has the form of [`compact`].

pub mod compact;
mod tallies;

pub use tallies::Tallies;

/// The parts, a script that adds them to the object `untangle`.
pub const PARTS: &str = include_str!("assets/parts.js");
/// Their style sheet.
pub const PARTS_STYLE: &str = include_str!("assets/parts.css");
