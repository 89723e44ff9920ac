//! Tests of the whole: what no single crate can promise.

mod support;

// A hub on this machine, which the model's own tests use, too.
#[path = "../../crates/model/tests/it/hub_server.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "it is written for tests, and every test binary uses its own part")]
mod hub_server;

// A chat endpoint on this machine, which the client's own tests use, too.
#[path = "../../crates/endpoint/tests/it/chat_server.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "it is written for tests, and every test binary uses its own part")]
mod chat_server;

// The shape of the workspace.
mod edges;
mod figures;
mod live;
mod modules;
mod notebooks;
mod tidy;
mod transcoders;
mod vectors;

// The binary, end to end.
mod bad_input;
mod belonging;
mod command_line;
mod concepts;
mod crosscoders;
mod dashboard;
mod demo;
mod exchange;
mod exports;
mod full_disk;
mod hub;
mod hub_astray;
mod judging;
mod kept;
mod kills;
mod labelling;
mod labelling_astray;
mod memory;
mod organism;
mod outputs;
mod pipeline;
mod plan;
mod reading;
mod resume;
mod same_everywhere;
mod serve;
mod serve_strain;
mod sources;
mod steering;
mod stores;
mod terminal;
mod toward;
mod workbench;
