//! From what a user writes to things that are loaded: the words MODEL, SAE and TEXT of the command line, which every other
//! caller can use too.
//!
//! - [`models`]: `organism`, a directory, `owner/name` of the hub
//! - [`text`]: files, standard input, data sets of the hub, documents of the organism's world
//! - [`dictionary`]: a dictionary's directory, with what its training recorded
//! - [`judges`]: the rows of a store that may judge it
//! - [`world`]: documents of the world as text
//! - [`subject`]: when a text is about something
//! - [`recipe`]: what is steered, of which model, in a file
//! - [`scratch`]: folders for the length of a command

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod dictionary;
pub mod error;
pub mod judges;
pub mod models;
pub mod recipe;
pub mod scratch;
mod standard_input;
pub mod subject;
mod surroundings;
pub mod text;
pub mod world;

pub use dictionary::{Dictionary, Origin};
pub use error::SourceError;
pub use judges::{JudgingRows, Rows};
pub use models::NamedModel;
pub use recipe::Recipe;
pub use scratch::Scratch;
pub use subject::Subject;
pub use surroundings::Surroundings;
pub use text::{Text, TextReading};
