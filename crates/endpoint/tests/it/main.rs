//! Asking an endpoint on this machine that does what endpoints do.

#![allow(clippy::unwrap_used, reason = "tests")]

mod asking;
#[allow(dead_code, reason = "the tests of the binary have their own use for some of it")]
mod chat_server;
