//! Untangle's crates, used as libraries: `cargo run --release --package untangle-examples --example capture_train_steer`.
