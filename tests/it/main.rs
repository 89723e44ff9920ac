//! Tests of the whole: what no single crate can promise.

mod support;

// The shape of the workspace.
mod edges;
mod tidy;

// The binary, end to end.
mod bad_input;
mod belonging;
mod command_line;
mod memory;
mod pipeline;
mod resume;
