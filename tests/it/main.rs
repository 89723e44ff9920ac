//! Tests of the whole: what no single crate can promise.

mod support;

// The shape of the workspace.
mod edges;
mod live;
mod tidy;

// The binary, end to end.
mod bad_input;
mod belonging;
mod command_line;
mod demo;
mod full_disk;
mod kills;
mod memory;
mod organism;
mod pipeline;
mod resume;
mod stores;
