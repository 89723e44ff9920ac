//! What the hooked language model promises, from outside.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

mod batches; // generation of several texts at once
mod chat;
mod chat_idioms; // conversations as text
mod families; // config.json family by family
mod faults; // damaged files and impossible requests are named
mod fuzz; // damaged and invented files
mod fuzz_text; // the same of tokenizers, templates and what a hub says
mod heads;
mod hub; // models and data sets of a hub that misbehaves
mod hub_patience; // what an unsteady hub is told to be, and what an incomplete cache leads to
#[allow(dead_code, reason = "the tests of the binary have their own use for some of it")]
mod hub_server;
mod joining; // texts that join others and leave, and how likely their tokens are
mod laws; // caches, padding, batches, early stops and hooks change only what they should
mod parity; // every hook point equals transformers'
mod points; // the points within norms and before the MLP
mod real; // the models beside the project
mod room; // a cache takes the memory that was said beforehand
mod text;
mod tokenizers; // tokenizers and generation
mod training; // the pass is differentiable from random weights
mod written; // generated tokens as text
