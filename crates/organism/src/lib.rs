//! A tiny world whose concepts are known: the ground truth that features and labels are judged by.
//!
//! The world is a stochastic grammar with state. Rules make text from choices; registers hold who and what a story is
//! about; a document comes with the place of every concept, the facts of its story, and the price of every choice, so
//! that the entropy of the text is known. Reading order:
//!
//! - [`world`], `tell`: the files that describe the world, and from a seed and an index to a [`Document`]
//! - `template`, `parse`, `grammar`, `lexicon`, [`concepts`]: what the files in `world/` say
//! - `teller`, `refer`, `verbs`, `writer`, [`choice`]: how a text is made of it
//! - [`document`], [`statistics`]: what comes out, and how often which concept occurs
//! - [`question`], [`judge`], [`dialogue`]: what can be asked about a story, whether a reply is right, and what the
//!   later stages of training learn from
//! - [`stories`]: what is sought in the world, and beginnings of stories that may go anywhere
//! - [`tokenizer`]: how the organism reads text
//! - [`hold`]: what lasts in a document, and what a reader believes of it
//! - [`stage`], `amounts`: which models there are, what each is known to do, and how much of it its training shows
//! - [`recipe`], `rows`, `adam`, `checkpoint`, [`train`]: from random weights to a model
//! - [`inject`], [`thought`]: topics that are injected into a model, and what it is asked about them
//! - [`narration`], [`notice`]: whom a model writes as, and whether it notices what is injected
//! - [`gate`]: whether a model holds what lasts
//!
//! **What counts.** A concept is annotated where the text mentions it (a surface form, a synonym, `it`) or where it
//! governs a stretch (a language, speech, a falsehood). Each annotation says from which byte on a reader of the prefix
//! can tell; tokens before that are neither positives nor negatives. Two uses of a word that only later text tells
//! apart are marked as undecidable by the rule that writes them.
//!
//! **The price of a text.** The choices' probability is at most the text's, so their sum of -ln p bounds -ln p(text)
//! from above. It is nearly tight, because no choice is silent: a test changes single choices and finds the text
//! changed. What remains are texts that two derivations share, such as a name where a pronoun was possible.
//!
//! **Learnable.** A small transformer is to come within a tenth of the entropy, so sentences are short, words few, and
//! what a sentence needs from earlier ones is who, what and where.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod amounts;
pub mod choice;
pub mod concepts;
pub mod dialogue;
pub mod document;
pub mod error;
mod future;
pub mod gate;
mod grammar;
pub mod hold;
pub mod inject;
pub mod judge;
pub mod lexicon;
mod parse;
pub mod question;
mod refer;
mod relation;
pub mod statistics;
pub mod stories;
mod tell;
mod teller;
mod template;
pub mod thought;
pub mod tokenizer;

mod adam;
pub mod bundled;
mod checkpoint;
pub mod measure;
mod muon;
pub mod narration;
pub mod notice;
mod objective;
mod parts;
pub mod recipe;
mod rows;
pub mod stage;
pub mod train;
mod verbs;
mod words;
pub mod world;
mod writer;

#[cfg(test)]
mod laws;

pub use choice::Choice;
pub use concepts::Concepts;
pub use dialogue::{Exchange, Preference, TRAIT};
pub use document::{Document, Fact, Relation, Split};
pub use error::OrganismError;
pub use judge::Verdict;
pub use lexicon::{Entity, EntityId};
pub use question::{Question, Telling};
pub use stage::{Behaviour, Change, Stage};
pub use statistics::{Occurrence, Statistics};
pub use world::World;
