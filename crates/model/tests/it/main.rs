//! What the hooked language model promises, from outside.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

mod faults; // damaged files and impossible requests are named
mod laws; // caches, padding, batches, early stops and hooks change only what they should
mod parity; // every hook point equals transformers'
mod real;
mod text; // tokenizers and generation
mod training; // the pass is differentiable from random weights // the models beside the project
